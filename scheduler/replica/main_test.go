package replica_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/scheduler"
	"mooring/scheduler/api"
	"mooring/scheduler/mesostest"
	"mooring/scheduler/replica"
	"mooring/test/ports"
)

const (
	patience = time.Minute // no test waits that long unless it fails
	pause    = 20 * time.Millisecond
	variable = "MOORING_TEST_REPLICA" // has this program be a scheduler, so that it can be killed
)

// spec is what a scheduler in a process of its own is told.
type spec struct{ Master, ZooKeeper, Address string }

func TestMain(m *testing.M) {
	text, is := os.LookupEnv(variable)
	if !is {
		os.Exit(m.Run())
	}
	var s spec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s spec) run(ctx context.Context) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	defer r.Close()
	listener, err := net.Listen("tcp", s.Address)
	if err != nil {
		return err
	}
	handler, err := api.Handler(r, api.Options{})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return api.Serve(ctx, listener, handler) })
	group.Go(func() error { return r.Run(ctx) })
	return group.Wait()
}

func (s spec) open() (*replica.Replica, error) {
	address, err := ensemble.Parse(s.ZooKeeper)
	if err != nil {
		return nil, err
	}
	return replica.Open(address, replica.Settings{
		Masters: []string{s.Master}, Initial: coordinator.NewState("es", 2), Address: s.Address,
		Rules: coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true, Settings: coordinator.Settings{
			Cluster: "es", Image: "elasticsearch:8.19.5", Driver: "mooring", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 30,
		}},
		Options: scheduler.Options{
			ExecutorPath: "/usr/bin/mooring", Roles: []string{"test"}, Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr}),
		},
	})
}

// peer is a scheduler in a process of its own.
type peer struct {
	t    testing.TB
	spec spec
	cmd  *exec.Cmd
	log  string
}

// start starts a scheduler, which runs until the test ends.
func start(t testing.TB, master *mesostest.Master, zooKeeper string) *peer {
	t.Helper()
	p := &peer{t: t, spec: spec{Master: master.Address(), ZooKeeper: zooKeeper, Address: ports.Free(t)}, log: filepath.Join(t.TempDir(), "log")}
	told, err := json.Marshal(p.spec)
	require.NoError(t, err)
	log, err := os.Create(p.log)
	require.NoError(t, err)
	defer log.Close()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), variable+"="+string(told))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		_ = p.cmd.Wait() // killed, or waited for already
		content, _ := os.ReadFile(p.log)
		t.Logf("scheduler %s:\n%s", p.spec.Address, content)
	})
	return p
}

func (p *peer) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

// ask sends a request and returns status and body; status 0 is no answer.
func (p *peer) ask(method, path, body string) (int, string) {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequest(method, "http://"+p.spec.Address+path, strings.NewReader(body))
	require.NoError(p.t, err)
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

type cluster struct {
	Standby bool   `json:"standby"`
	Leader  string `json:"leader"`
	Master  string `json:"master"`
	Target  int    `json:"target"`
}

func (p *peer) cluster() (c cluster, ok bool) {
	status, text := p.ask(http.MethodGet, "/v1/cluster", "")
	return c, status == http.StatusOK && json.Unmarshal([]byte(text), &c) == nil
}

// awaitLead waits until a scheduler leads and has a subscription.
func (p *peer) awaitLead() {
	p.t.Helper()
	eventually(p.t, func() bool { c, ok := p.cluster(); return ok && !c.Standby && c.Master != "" }, "it leads")
}

// awaitStandby waits until a scheduler stands by and knows who leads.
func (p *peer) awaitStandby(leader *peer) {
	p.t.Helper()
	eventually(p.t, func() bool { c, ok := p.cluster(); return ok && c.Standby && c.Leader == leader.spec.Address }, "it stands by")
}

// nodes are what a scheduler shows.
func (p *peer) nodes() []coordinator.Node {
	var nodes []coordinator.Node
	if status, text := p.ask(http.MethodGet, "/v1/nodes", ""); status == http.StatusOK {
		require.NoError(p.t, json.Unmarshal([]byte(text), &nodes))
	}
	return nodes
}

func eventually(t testing.TB, condition func() bool, says string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(pause) {
		require.True(t, time.Now().Before(deadline), says)
	}
}

func newMaster(t testing.TB) *mesostest.Master {
	m := mesostest.New(t)
	m.AutoRun = true
	for i := 1; i <= 4; i++ {
		m.AddAgent(mesostest.Agent{ID: fmt.Sprintf("agent-%d", i), Host: fmt.Sprintf("10.0.0.%d", i), CPUs: 4, MemoryMB: 4096, FirstPort: 9200, LastPort: 9400})
	}
	return m
}

// running are the tasks that run, and settled tells whether it is one for each of some nodes.
func settled(m *mesostest.Master, count int) bool {
	tasks := m.Tasks(mesos.TASK_RUNNING)
	nodes := map[coordinator.NodeID]bool{}
	for _, task := range tasks {
		id, _, _ := coordinator.ParseTaskID("es", task.TaskID.Value)
		nodes[id] = true
	}
	return len(tasks) == count && len(nodes) == count && m.Unacknowledged() == 0
}

// shown tells whether a scheduler shows each node that runs in the epoch in which it runs.
func shown(m *mesostest.Master, p *peer) bool {
	nodes := p.nodes()
	return !slices.ContainsFunc(m.Tasks(mesos.TASK_RUNNING), func(task mesos.TaskInfo) bool {
		id, epoch, _ := coordinator.ParseTaskID("es", task.TaskID.Value)
		return int(id) > len(nodes) || nodes[id-1].Epoch != epoch
	})
}

// neverTwice checks that nothing was ever launched under a name twice, and no node at an epoch that the schedulers don't know.
func neverTwice(t testing.TB, m *mesostest.Master, p *peer) {
	t.Helper()
	epochs := map[string]bool{}
	for _, c := range m.Calls(v1.Call_ACCEPT) {
		for _, o := range c.Accept.Operations {
			for _, task := range o.Launch.TaskInfos {
				assert.False(t, epochs[task.TaskID.Value], "%s was launched twice", task.TaskID.Value)
				epochs[task.TaskID.Value] = true
			}
		}
	}
	nodes := p.nodes()
	for task := range epochs {
		id, epoch, ours := coordinator.ParseTaskID("es", task)
		if assert.True(t, ours && int(id) <= len(nodes), task) {
			assert.LessOrEqual(t, epoch, nodes[id-1].Epoch, "%s was launched, and nobody knows of it", task)
		}
	}
	for _, task := range m.Tasks(mesos.TASK_RUNNING) {
		id, epoch, _ := coordinator.ParseTaskID("es", task.TaskID.Value)
		assert.Equal(t, nodes[id-1].Epoch, epoch, "the task that runs is of the current epoch")
	}
}
