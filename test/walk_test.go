package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
)

const pluginRegistry = "127.0.1.254:5000" // engines trust registries on addresses out of 127/8

// begin brings up what the page of the walk asks for: four hosts with Docker, Mesos and storage that all see, but nothing of
// Mooring's; a registry that has two versions of the plugin; and two versions of the program in the operator's directory.
func begin(t *testing.T) (w *walk, dir string) {
	t.Helper()
	at := cellDir + "-walk"
	require.NoError(t, cell.Down(within(t), at)) // what an interrupted run left
	t.Cleanup(func() {
		if t.Failed() {
			assert.NoError(t, cell.KeepLogs(at, "../build/walk-logs"))
		}
		require.NoError(t, cell.Down(context.Background(), at))
	})
	c, err := cell.Up(within(t), at, cell.Options{
		Hosts: 4, Fast: true, OwnPaths: true, Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
	})
	require.NoError(t, err)
	serveRegistry(t, pluginRegistry, c.Command)
	dir = filepath.Join(at, "operator")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, v := range []string{"1.0", "1.1"} {
		program := filepath.Join(dir, "mooring-"+v)
		version(t, program, v)
		publish(t, c.Hosts[0], pluginRegistry+"/mooring:"+v, pluginWith(t, program))
	}
	return &walk{t: t, cell: c, blocks: readBlocks(t, "../docs/walk.md"), shell: startShell(t, c, dir)}, dir
}

// An operator installs plugin and framework, makes it larger, loses a host, takes two down for maintenance, drains another and upgrades
// its plugin, upgrades the scheduler, uninstalls, and removes what is left: by the commands of docs/walk.md and no others. Every document
// is there at the end; volumes were handed over without waiting for a clock wherever a node left in order; and on no host is anything
// left.
func TestStoryAnOperatorsWalk(t *testing.T) {
	w, dir := begin(t)
	began := time.Now()
	w.does("Install the plugin")
	w.giveBootIDs()
	w.does("Install the plugin")

	d := deploy.New(w.cell, deploy.Options{Framework: "walk", Binary: filepath.Join(dir, "mooring")})
	assert.Equal(t, "1.0\n", w.does("Install the framework"))
	nodes := w.ready(d, 3)
	assert.Contains(t, w.does("Install the framework"), "3 of 3 nodes are ready")
	l := write(t, d, 3)
	w.does("Make it larger")
	nodes = w.leftAlone(nodes, w.ready(d, 5))
	w.does("Make it larger")

	nodes, lost := w.loseHost(d, nodes)
	nodes = w.takeTwoDown(d, nodes, filepath.Join(dir, "scheduler.log"))
	nodes = w.drain(d, nodes)
	w.upgradeScheduler(d, nodes)
	require.NoError(t, d.AwaitCluster(within(t), 5, "green"))
	audit(t, l)

	requireTraces(t, w.cell, "walk")
	w.refused("Uninstall")
	w.does("Uninstall")
	awaitNoTraces(t, w.cell, "walk", lost)
	w.host = w.cell.Hosts[1]
	segments, err := w.on(w.host, "docker run --rm --network none --user 0 --volume-driver mooring -v walk1data:/data --entrypoint find "+elasticsearch8+" /data -name 'segments_*'")
	require.NoError(t, err, segments)
	assert.NotEmpty(t, segments, "the data are where they were")
	w.removeWhatIsLeft()
	w.done()
	t.Logf("the walk took %s", time.Since(began).Round(time.Second))
}

// giveBootIDs tells the plugins apart what only simulated hosts share, their kernel.
func (w *walk) giveBootIDs() {
	for _, h := range w.cell.Hosts {
		docker(w.t, h, "plugin", "set", "mooring", "BOOT_ID="+h.BootID)
	}
}

// ready waits until so many nodes are, in one cluster, and an operator is told that all is well.
func (w *walk) ready(d *deploy.Deployment, count int) []deploy.Node {
	w.t.Helper()
	nodes, err := d.AwaitNodes(within(w.t), count)
	require.NoError(w.t, err)
	require.NoError(w.t, d.AwaitCluster(within(w.t), count, "green"))
	await(w.t, "all to be well", func() error { _, err := d.Operate(within(w.t), "status"); return err })
	return nodes
}

// leftAlone checks that nodes were not launched again.
func (w *walk) leftAlone(before, after []deploy.Node) []deploy.Node {
	w.t.Helper()
	for i, n := range before {
		assert.Equal(w.t, n.Epoch, after[i].Epoch, "node %d was left alone", n.ID)
	}
	return after
}

// moved waits until all nodes of some hosts are ready on others, and checks that those of the other hosts were left alone.
func (w *walk) moved(d *deploy.Deployment, before []deploy.Node, hosts ...string) []deploy.Node {
	w.t.Helper()
	leave := func(n deploy.Node) bool { return strings.Contains(strings.Join(hosts, " ")+" ", n.Place.Host+" ") }
	for _, n := range before {
		if leave(n) {
			require.NoError(w.t, d.AwaitRelaunch(within(w.t), n))
		}
	}
	after := w.ready(d, len(before))
	for i, n := range before {
		if leave(n) {
			assert.NotContains(w.t, hosts, after[i].Place.Host, "node %d", n.ID)
		} else {
			assert.Equal(w.t, n.Epoch, after[i].Epoch, "node %d was left alone", n.ID)
		}
	}
	return after
}

// taken checks for all nodes that were launched again how the leases of the hosts that they left ended.
func (w *walk) taken(before, after []deploy.Node, left string) {
	w.t.Helper()
	some := false
	for i, n := range before {
		if n.Epoch != after[i].Epoch {
			assertTaken(w.t, w.cell, n, after[i], left)
			some = true
		}
	}
	assert.True(w.t, some, "no node has moved")
}

// loseHost ends a host as a power cut does, and later switches it on again.
func (w *walk) loseHost(d *deploy.Deployment, nodes []deploy.Node) (after []deploy.Node, dead *cell.Host) {
	dead = hostAt(w.t, w.cell, nodes[2].Place.Host)
	require.NoError(w.t, dead.Kill(within(w.t)))
	after = w.moved(d, nodes, dead.Address)
	w.taken(nodes, after, "held")
	w.does("Lose a host")
	require.NoError(w.t, dead.Return(within(w.t)))
	require.NoError(w.t, dead.SettleAgent(within(w.t)))
	await(w.t, "one copy of each node", func() error { return d.OneCopyEach(within(w.t), len(nodes)) })
	return after, dead
}

// takeTwoDown announces maintenance for two hosts at once. Their nodes leave one at a time.
func (w *walk) takeTwoDown(d *deploy.Deployment, before []deploy.Node, log string) []deploy.Node {
	const section = "Take two hosts down"
	from, err := os.Stat(log)
	require.NoError(w.t, err)
	said := strings.Fields(w.does(section)) // ADDRESS and ADDRESS go down
	after := w.moved(d, before, said[0], said[2])
	w.taken(before, after, "released")
	assertOneAtATime(w.t, log, from.Size())
	w.does(section)
	return after
}

// drain has Mesos empty a host, whose plugin is then upgraded.
func (w *walk) drain(d *deploy.Deployment, before []deploy.Node) []deploy.Node {
	const section = "Drain a host, and upgrade its plugin"
	w.host = hostAt(w.t, w.cell, before[1].Place.Host)
	// Docker shows under Settings the directories that were set, also when the plugin has others, those under Config.
	settings := []string{"plugin", "inspect", "--format", "{{json .Settings.Env}} {{json .Config.Mounts}}", "mooring"}
	was := docker(w.t, w.host, settings...)
	w.does(section)
	after := w.moved(d, before, w.host.Address)
	w.taken(before, after, "released")
	w.does(section)
	w.does(section)
	assert.Equal(w.t, was, docker(w.t, w.host, settings...))
	said, err := w.on(w.host, "/var/lib/mooring-host/bin/mooring --version")
	require.NoError(w.t, err)
	assert.Equal(w.t, "1.1\n", said)
	docker(w.t, w.host, "run", "--rm", "--network", "none", "--volume-driver", "mooring", "-v", "upgraded:/data", "--entrypoint", "true", elasticsearch8)
	assert.DirExists(w.t, filepath.Join(w.cell.Store, "mooring", "volumes", "upgraded"), "it has the store that all hosts have")
	docker(w.t, w.host, "volume", "rm", "upgraded")
	w.does(section)
	return after
}

// upgradeScheduler puts a newer one in the place of the old one, and lets it launch a node.
func (w *walk) upgradeScheduler(d *deploy.Deployment, nodes []deploy.Node) {
	const section = "Upgrade the scheduler"
	assert.Equal(w.t, "1.1\n", w.does(section))
	w.leftAlone(nodes, w.ready(d, len(nodes)))
	assert.Contains(w.t, w.does(section), "all is well")
	require.NoError(w.t, d.AwaitRelaunch(within(w.t), nodes[0]))
}

// removeWhatIsLeft removes volumes, plugins and what was remembered.
func (w *walk) removeWhatIsLeft() {
	const section = "Remove what is left"
	w.does(section)
	awaitNoTraces(w.t, w.cell, "walk")
	w.does(section)
	left, err := filepath.Glob(filepath.Join(w.cell.Store, "mooring", "volumes", "*"))
	require.NoError(w.t, err)
	assert.Empty(w.t, left, "volumes")
	w.does(section)
	for _, h := range w.cell.Hosts {
		assert.Empty(w.t, docker(w.t, h, "plugin", "ls", "--quiet"))
		await(w.t, "the guard to end", func() error {
			if pid := h.GuardPID(); pid != 0 {
				return fmt.Errorf("on %s process %d is the guard", h.Name, pid)
			}
			return nil
		})
		files, err := os.ReadDir(filepath.Join(h.Dir, "state"))
		require.NoError(w.t, err)
		assert.Empty(w.t, files, "on %s", h.Name)
	}
	w.does(section)
	w.does(section)
	files, err := os.ReadDir(w.cell.Store)
	require.NoError(w.t, err)
	assert.Empty(w.t, files)
}

// assertOneAtATime checks by a scheduler's log, read from an offset, that no node was stopped while another one that was stopped before it
// had not joined again.
func assertOneAtATime(t *testing.T, log string, from int64) {
	t.Helper()
	content, err := os.ReadFile(log)
	require.NoError(t, err)
	away, stopped := "", 0
	for line := range strings.Lines(string(content[from:])) {
		var l struct {
			Says    string `json:"@message"`
			Message string
			Task    string
			Node    int
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			continue
		}
		switch node := strconv.Itoa(l.Node); {
		case l.Says == "killing":
			node, _, _ = strings.Cut(strings.TrimPrefix(l.Task, "walk-"), "-")
			require.Contains(t, []string{"", node}, away, "of which one is away when node %s is stopped", node)
			away, stopped = node, stopped+1
		case l.Says == "status" && strings.HasPrefix(l.Message, "joined cluster ") && node == away:
			away = ""
		}
	}
	assert.GreaterOrEqual(t, stopped, 2, "both hosts had a node")
}

// orderMesos gives the Mesos master an order as its operator does.
func orderMesos(ctx context.Context, c *cell.Cell, path, order string) error {
	out, err := c.Command(ctx, "curl", "--fail-with-body", "--silent", "--show-error", "--header", "Content-Type: application/json",
		"--data", order, "http://"+c.Master+path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("curl --data '%s' http://%s%s: %w: %s", order, c.Master, path, err, out)
	}
	return nil
}
