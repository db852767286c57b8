package scheduler_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/mesostest"
	"mooring/scheduler/store/storetest"
)

func TestMain(m *testing.M) {
	told, is := os.LookupEnv(processVariable)
	if !is {
		goleak.VerifyTestMain(m)
		return
	}
	if err := schedule(told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const patience = time.Minute // no test waits that long unless it fails

// rig is a scheduler, its store and a scripted master.
type rig struct {
	t         *testing.T
	master    *mesostest.Master
	store     *storetest.Memory
	between   func(scheduler.Store) scheduler.Store // the scheduler and the store; nil: nothing
	rules     coordinator.Rules
	options   scheduler.Options
	scheduler *scheduler.Scheduler
	stop      func() // ends the scheduler; no error is expected of it
	end       func() error
	result    chan error
}

func newRig(t *testing.T, target int) *rig {
	r := &rig{
		t: t, master: mesostest.New(t), store: storetest.NewMemory(coordinator.NewState("es", target)), rules: rules(),
		options: scheduler.Options{ExecutorPath: "/usr/bin/mooring", Roles: []string{"test"}, Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})},
	}
	r.master.AutoRun = true
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func rules() coordinator.Rules {
	return coordinator.Rules{
		CPUs: 1000, MemoryMB: 1024, Fencing: true,
		Settings: coordinator.Settings{
			Cluster: "es", Image: "elasticsearch:8.19.5", Driver: "mooring", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 30,
		},
	}
}

// start runs a scheduler on the rig's store.
func (r *rig) start() {
	r.t.Helper()
	r.startWith(r.master.Address())
}

func (r *rig) startWith(masters ...string) {
	r.t.Helper()
	var err error
	var store scheduler.Store = r.store
	if r.between != nil {
		store = r.between(r.store)
	}
	r.scheduler, err = scheduler.New(masters, r.rules, store, r.options)
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	r.result = result
	go func(s *scheduler.Scheduler) { result <- s.Run(ctx) }(r.scheduler)
	r.end = func() error {
		cancel()
		err := <-result
		result <- nil // for the cleanup
		return err
	}
	r.stop = func() {
		r.t.Helper()
		require.NoError(r.t, r.end())
	}
	r.t.Cleanup(func() {
		cancel()
		<-result
	})
}

// failure waits for a scheduler to end by itself.
func (r *rig) failure(result chan error) error {
	r.t.Helper()
	select {
	case err := <-result:
		result <- nil // for the cleanup
		return err
	case <-time.After(patience):
		require.Fail(r.t, "the scheduler runs on")
		return nil
	}
}

func (r *rig) eventually(condition func() bool, says string) {
	r.t.Helper()
	require.Eventually(r.t, condition, patience, 2*time.Millisecond, says)
}

func (r *rig) agents(from, to int) {
	for i := from; i <= to; i++ {
		r.master.AddAgent(agent(i))
	}
}

func agent(i int) mesostest.Agent {
	return mesostest.Agent{ID: fmt.Sprintf("agent-%d", i), Host: fmt.Sprintf("10.0.0.%d", i), CPUs: 4, MemoryMB: 4096, FirstPort: 9200, LastPort: 9400}
}

// running waits until the scheduler takes the given nodes for running.
func (r *rig) running(ids ...coordinator.NodeID) {
	r.t.Helper()
	r.eventually(func() bool {
		for _, id := range ids {
			if r.node(id).Phase != coordinator.Running {
				return false
			}
		}
		return true
	}, fmt.Sprintf("nodes %v run", ids))
}

// node is what the scheduler knows of a node, the zero Node if that is nothing yet.
func (r *rig) node(id coordinator.NodeID) coordinator.Node {
	nodes := r.scheduler.View().State.Nodes
	if int(id) > len(nodes) {
		return coordinator.Node{}
	}
	return nodes[id-1]
}

func (r *rig) subscribed(times int) {
	r.t.Helper()
	r.eventually(func() bool {
		n, now := r.master.Subscribed()
		return n >= times && now && r.scheduler.View().Subscribed != ""
	}, fmt.Sprintf("subscription %d", times))
}

// runningTasks are the IDs of the tasks that the master knows to run.
func (r *rig) runningTasks() []string {
	ids := []string{}
	for _, t := range r.master.Tasks(mesos.TASK_RUNNING) {
		ids = append(ids, t.TaskID.Value)
	}
	return ids
}

// captureLog lets the test read what is logged.
func (r *rig) captureLog() *buffer {
	b := &buffer{}
	r.options.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: b})
	return b
}

type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
