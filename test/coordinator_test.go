package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/scheduler/client"
	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const (
	schedulerPort      = "31100"
	coordinatorsKeeper = "127.0.1.254:2181"
	coordinatorsUser   = "mooring:secret" // and password
)

// coordinators brings up a cell of its own whose plugins are coordinators, and returns their options file. Nothing of Mooring's is on
// its hosts but the plugin.
func coordinators(t *testing.T, options string) (c *cell.Cell, file string) {
	t.Helper()
	config := t.TempDir()
	file = filepath.Join(config, "mooring", "scheduler.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(options), 0o600))
	masters := "zk://" + coordinatorsUser + "@" + coordinatorsKeeper + "/mesos"

	dir := cellDir + "-coordinators"
	require.NoError(t, cell.Down(within(t), dir)) // what an interrupted run left
	t.Cleanup(func() {
		if t.Failed() {
			assert.NoError(t, cell.KeepLogs(dir, "../build/coordinators-logs"))
		}
		require.NoError(t, cell.Down(context.Background(), dir))
	})
	c, err := cell.Up(within(t), dir, cell.Options{
		Hosts: 4, Plugin: "../build/plugin", Fast: true, Settings: []string{"config.source=" + config, "MESOS_MASTER=" + masters},
		Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
	})
	require.NoError(t, err)
	startKeeper(t, c, coordinatorsKeeper) // the plugins are up before it is
	require.NoError(t, c.AnnounceMaster(within(t), masters))
	return c, file
}

// placedProgram is where the plugins' program is on each host, under the same name everywhere, as with state.source=/var/lib.
const placedProgram = "/run/lib/" + plugin.BinaryPath

// nameState gives each host's state directory the name that it has on all others.
func nameState(t *testing.T, h *cell.Host) {
	t.Helper()
	command, err := h.Command(within(t), "ln", "-sfn", filepath.Join(h.Dir, "state"), "/run/lib")
	require.NoError(t, err)
	require.NoError(t, command.Run())
}

// reread changes the options file and waits until each host's scheduler has been started anew.
func reread(t *testing.T, c *cell.Cell, file, options string) {
	t.Helper()
	before := map[*cell.Host]int{}
	for _, h := range c.Hosts {
		before[h] = h.SchedulerPID()
	}
	require.NoError(t, os.WriteFile(file, []byte(options), 0o600))
	for h, pid := range before {
		awaitScheduler(t, h, pid)
	}
}

// leader asks a host's scheduler on which host the one that leads is.
func leader(t *testing.T, c *cell.Cell, ask *cell.Host) (*cell.Host, error) {
	t.Helper()
	asked, err := client.New(net.JoinHostPort(ask.Address, schedulerPort), c.HTTPClient().Transport)
	require.NoError(t, err)
	cluster, err := asked.Cluster(within(t))
	if err != nil {
		return nil, err
	}
	address, _, err := net.SplitHostPort(cluster.Leader)
	if err != nil {
		return nil, fmt.Errorf("nobody leads: %w", err)
	}
	return c.At(address)
}

// next waits until a scheduler on another host leads.
func next(t *testing.T, c *cell.Cell, ask, before *cell.Host) (h *cell.Host) {
	t.Helper()
	begin := time.Now()
	await(t, "another leader", func() (err error) {
		if h, err = leader(t, c, ask); err == nil && h == before {
			err = fmt.Errorf("%s leads still", h.Name)
		}
		return err
	})
	t.Logf("%s leads instead of %s after %.1f s", h.Name, before.Name, time.Since(begin).Seconds())
	return h
}

// status is what an operator reads on a host, with the program that the plugin has placed there.
func status(t *testing.T, h *cell.Host) (string, error) {
	t.Helper()
	command, err := h.Command(within(t), placedProgram, "status")
	require.NoError(t, err)
	said, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("on %s: %w: %s", h.Name, err, said)
	}
	return string(said), err
}

// stopPlugin disables the plugin whose scheduler leads, as an operator does before an upgrade, and returns the host of the next one. Then
// the plugin is enabled again. A node of the host goes on meanwhile.
func stopPlugin(t *testing.T, v *votes, leads *cell.Host) *cell.Host {
	t.Helper()
	other := v.succession(leads, givenBack, func() { docker(t, leads, "plugin", "disable", "--force", cell.PluginName) })
	require.Zero(t, leads.SchedulerPID(), "the scheduler ends with its plugin")
	docker(t, leads, "plugin", "enable", cell.PluginName)
	awaitScheduler(t, leads, 0)
	return other
}

// killPlugin kills the plugin whose scheduler leads, and returns the host of the next one. The scheduler does not outlive its plugin,
// which comes back with another one.
func killPlugin(t *testing.T, v *votes, leads *cell.Host) *cell.Host {
	t.Helper()
	scheduler, driver := leads.SchedulerPID(), leads.PluginPID()
	require.NotZero(t, driver)
	other := v.succession(leads, expired, func() { require.NoError(t, unix.Kill(driver, unix.SIGKILL)) })
	awaitScheduler(t, leads, scheduler)
	return other
}

// awaitScheduler waits until a host has a scheduler that is another process than before.
func awaitScheduler(t *testing.T, h *cell.Host, before int) {
	t.Helper()
	await(t, "another scheduler on "+h.Name, func() error {
		if now := h.SchedulerPID(); now == 0 || now == before {
			return fmt.Errorf("process %d is its scheduler", now)
		}
		return nil
	})
}

// leadWithNode kills the scheduler that leads until one leads whose host has a node, and returns that host and the node's index.
func leadWithNode(t *testing.T, c *cell.Cell, leads *cell.Host, nodes []deploy.Node) (*cell.Host, int) {
	t.Helper()
	for {
		pid := leads.SchedulerPID()
		require.NotZero(t, pid)
		require.NoError(t, unix.Kill(pid, unix.SIGKILL))
		leads = next(t, c, c.Hosts[leads.N%len(c.Hosts)], leads)
		if at := slices.IndexFunc(nodes, func(n deploy.Node) bool { return n.Place.Host == leads.Address }); at >= 0 {
			return leads, at
		}
	}
}

// runs tells whether a command line that matches a pattern runs on a host.
func runs(t *testing.T, h *cell.Host, pattern string) bool {
	t.Helper()
	command, err := h.Command(within(t), "pgrep", "-f", pattern)
	require.NoError(t, err)
	return command.Run() == nil
}

// The plugin is installed on four hosts, with MESOS_MASTER and a file that says which image: three nodes form a cluster. The file is
// changed, so that executors are no longer fetched, and all schedulers are started anew. The plugin of the one that leads is disabled, and
// another one leads at once, since the first one gave its place back; the plugin of that one is killed, and the next one leads when
// ZooKeeper has given it up. Schedulers are killed, too, and others go on. Then the host of the one that leads is killed, and with it a node: another one brings the
// node back elsewhere, with everything acknowledged. An operator on any host is told that all is well.
func TestStoryThePluginsAreTheWholeDeployment(t *testing.T) {
	const options = `
image: ` + elasticsearch8 + `
memory: 1024
heap: 256
cpus: 0.5
java-option: ["-XX:-UseG1GC", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch"]
`
	c, file := coordinators(t, options)
	for _, h := range c.Hosts {
		nameState(t, h)
	}
	on := func(h *cell.Host) *deploy.Deployment {
		return deploy.New(c, deploy.Options{Listen: net.JoinHostPort(h.Address, schedulerPort)})
	}
	d := on(c.Hosts[0])
	_, err := d.AwaitNodes(within(t), 3)
	require.NoError(t, err)
	require.NoError(t, d.AwaitCluster(within(t), 3, "green"))
	for _, h := range c.Hosts {
		await(t, "all to be well", func() error { _, err := status(t, h); return err })
	}
	l := ledger.New(d.Client(), func() []string { return d.HTTPAddresses() }, "single")
	require.NoError(t, l.Create(within(t), 3, 0)) // what one node loses is lost
	require.NoError(t, l.WriteAll(within(t), packages(t, someDocuments), 500))
	nodes, err := d.Nodes(within(t))
	require.NoError(t, err)

	reread(t, c, file, options+"executor-path: "+placedProgram+"\n")
	var first *cell.Host
	await(t, "a leader", func() (err error) { first, err = leader(t, c, c.Hosts[0]); return err })
	v := watchVotes(t, c)
	dead, lost := leadWithNode(t, c, killPlugin(t, v, stopPlugin(t, v, first)), nodes)
	after, err := on(dead).AwaitNodes(within(t), 3)
	require.NoError(t, err)
	for i, n := range after {
		assert.Equal(t, nodes[i].Epoch, n.Epoch, "node %d was left alone", n.ID)
	}

	require.NoError(t, dead.Kill(within(t)))
	other := c.Hosts[dead.N%len(c.Hosts)]
	d = on(other)
	next(t, c, other, dead)
	require.NoError(t, d.AwaitRelaunch(within(t), nodes[lost]))
	require.NoError(t, d.AwaitCluster(within(t), 3, "green"))
	audit(t, l)
	nodes, err = d.Nodes(within(t))
	require.NoError(t, err)
	moved, err := c.At(nodes[lost].Place.Host)
	require.NoError(t, err)
	assert.True(t, runs(t, moved, "^"+placedProgram+" executor"), "the executor was not fetched")
	require.NoError(t, dead.Return(within(t)))
	nameState(t, dead)
	await(t, "one copy of each node", func() error { return d.OneCopyEach(within(t), 3) })
	for _, h := range c.Hosts {
		await(t, "all to be well again", func() error { _, err := status(t, h); return err })
	}

	uninstallThePlugins(t, c, file, on(other), dead)
	audit(t, l)
}
