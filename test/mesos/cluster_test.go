package mesos_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	programs        = "/var/cache/mooring/mesos"
	masterPort      = "5050"
	agentPort       = "5051"
	environmentFile = "environment"

	// hide runs an agent where control groups of version 2 are not seen, which Mesos 1.11 cannot bear, and with the boot ID in a
	// file, so that a test can let its host boot.
	hide = `if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; mount --bind "$1" /proc/sys/kernel/random/boot_id; shift; exec "$@"`
)

// quick has a master give up an agent after 3 s.
var quick = []string{"--agent_ping_timeout=1secs", "--max_agent_ping_timeouts=3"}

// cluster is one master, or several, and its agents.
type cluster struct {
	t       *testing.T
	network string
	master  *daemon
	Master  string // where the first master listens, host:port
}

func newCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, network: network()}
	c.master, c.Master = c.addMaster(1, append([]string{"--quorum=1"}, flags...)...)
	c.startMaster()
	return c
}

// addMaster prepares a master. Several need ZooKeeper.
func (c *cluster) addMaster(number int, flags ...string) (master *daemon, address string) {
	ip := fmt.Sprintf("%s.%d", c.network, 100+number)
	args := []string{
		filepath.Join(programs, "mesos-master"), "--ip=" + ip, "--port=" + masterPort, "--hostname=" + ip,
		"--work_dir=" + c.t.TempDir(), "--allocation_interval=200ms",
	}
	return newDaemon(c.t, fmt.Sprintf("master%d", number), append(args, flags...)...), ip + ":" + masterPort
}

// startMasters starts three masters, which elect one of themselves in ZooKeeper, and waits until each is one that the others can do without.
func (c *cluster) startMasters(place string, flags ...string) (masters []*daemon, addresses []string) {
	c.t.Helper()
	flags = slices.Concat([]string{"--quorum=2", "--zk=" + place}, flags, quick)
	for n := range 3 {
		m, address := c.addMaster(n+1, flags...)
		m.start()
		masters, addresses = append(masters, m), append(addresses, address)
	}
	for _, address := range addresses {
		awaitPort(c.t, address)
		eventually(c.t, "master "+address+" has its copy of the registry", func() error { return inQuorum(address) })
	}
	return masters, addresses
}

// inQuorum checks that a master votes on the registry. Two of which one does not yet recover from nothing, if the third dies.
func inQuorum(master string) error {
	const recovered = "registrar/log/recovered"
	var metrics map[string]float64
	err := ask("http://"+master+"/metrics/snapshot?timeout=1secs", &metrics)
	if err == nil && metrics[recovered] != 1 {
		err = fmt.Errorf("%s is %v", recovered, metrics[recovered])
	}
	return err
}

func (c *cluster) startMaster() {
	c.t.Helper()
	c.master.start()
	awaitPort(c.t, c.Master)
}

// agent is one Mesos agent, and the host under it.
type agent struct {
	*daemon
	cluster *cluster
	Host    string // its address
	work    string
	boot    string
	flags   []string
}

// agent starts an agent and waits until it is registered.
func (c *cluster) agent(number int, flags ...string) *agent {
	c.t.Helper()
	return c.agentOf(number, c.Master, flags...)
}

func (c *cluster) agentOf(number int, master string, flags ...string) *agent {
	c.t.Helper()
	a := &agent{cluster: c, Host: fmt.Sprintf("%s.%d", c.network, number), boot: filepath.Join(c.t.TempDir(), "boot_id")}
	a.flags = append([]string{"--master=" + master}, flags...)
	a.daemon = newDaemon(c.t, fmt.Sprintf("agent%d", number))
	c.t.Cleanup(func() { killAll(c.t, a.started) })
	c.t.Cleanup(a.kill) // first, or it starts others
	a.asNew()
	a.start()
	a.registered()
	return a
}

// asNew has the agent forget all that it knew. Its host boots.
func (a *agent) asNew() {
	a.t.Helper()
	a.reboot()
	a.work = a.t.TempDir()
	a.args = append([]string{
		"unshare", "--mount", "--propagation=private", "bash", "-c", hide, "agent", a.boot, filepath.Join(programs, "mesos-agent"),
		"--ip=" + a.Host, "--port=" + agentPort, "--hostname=" + a.Host, "--work_dir=" + a.work,
		"--launcher_dir=" + programs, "--containerizers=mesos", "--launcher=posix", "--isolation=posix/cpu,posix/mem,filesystem/posix",
		"--no-systemd_enable_support", "--registry=in_memory",
		"--executor_reregistration_timeout=2secs", "--registration_backoff_factor=200ms",
	}, a.flags...)
	if !slices.ContainsFunc(a.flags, func(f string) bool { return strings.HasPrefix(f, "--resources=") }) { // Mesos takes no flag twice
		a.args = append(a.args, "--resources=cpus:4;mem:4096;disk:10000;ports:[9200-9399]")
	}
}

func (a *agent) reboot() {
	a.t.Helper()
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(a.boot, id, 0o600))
}

func (a *agent) endpoint() string { return a.Host + ":" + agentPort }

// executors are the processes of executors on the agent.
func (a *agent) executors() []int { return processes("MESOS_AGENT_ENDPOINT=" + a.endpoint()) }

// started are the processes of executors, and those that are yet to become one: of a launch that was under way when the agent was killed.
func (a *agent) started() []int { return processes("LIBPROCESS_IP=" + a.Host) }

// powerCut ends the agent with all that it started. start is the host's return then, with its directory, unless it was asNew.
func (a *agent) powerCut() {
	a.t.Helper()
	a.kill()
	killAll(a.t, a.started)
	a.reboot()
}

func (a *agent) registered() {
	a.t.Helper()
	eventually(a.t, a.name+" is registered", func() error {
		var metrics map[string]float64
		if err := ask("http://"+a.endpoint()+"/metrics/snapshot?timeout=1secs", &metrics); err != nil {
			return err
		}
		if metrics["slave/registered"] != 1 { // it is if a master was found
			return fmt.Errorf("slave/registered is %v", metrics["slave/registered"])
		}
		var state struct{ ID string } // given by the master, which can offer the agent by then
		if err := ask("http://"+a.endpoint()+"/state", &state); err != nil || state.ID == "" {
			return errors.Join(err, errors.New("it has no ID"))
		}
		return nil
	})
}

// environment is what the executor of a task was given.
func (a *agent) environment(task string) map[string]string {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(a.work, "agents/0/work/slaves/*/frameworks/*/executors", task, "runs/latest", environmentFile))
	require.NoError(a.t, err)
	require.Len(a.t, files, 1)
	content, err := os.ReadFile(files[0])
	require.NoError(a.t, err)
	environment := map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		environment[name] = value
	}
	return environment
}

// order gives the master an order as its operator does, and returns the status of the answer.
func (c *cluster) order(path, body string) int {
	c.t.Helper()
	mediaType := "application/json"
	if !strings.HasPrefix(body, "{") {
		mediaType = "application/x-www-form-urlencoded"
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post("http://"+c.Master+path, mediaType, bytes.NewReader([]byte(body)))
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	c.t.Logf("POST %s: %s %s", path, response.Status, text)
	return response.StatusCode
}

// task is what the master says of one.
type task struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Agent string `json:"slave_id"`
}

// tasks are those that the master knows and that are not over for it, "ID STATE".
func (c *cluster) tasks() []string {
	c.t.Helper()
	var state struct {
		Frameworks []struct {
			Tasks       []task `json:"tasks"`
			Unreachable []task `json:"unreachable_tasks"`
		} `json:"frameworks"`
	}
	require.NoError(c.t, ask("http://"+c.Master+"/master/state", &state))
	var found []string
	for _, f := range state.Frameworks {
		for _, t := range append(f.Tasks, f.Unreachable...) {
			found = append(found, t.ID+" "+strings.TrimPrefix(t.State, "TASK_"))
		}
	}
	return found
}

func ask(url string, answer any) error {
	client := http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
