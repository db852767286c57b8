package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/faultfs"
)

// patientDir is where the cell of this story is made.
var patientDir = cellDir + "-patient"

// patientCell is a cell of its own, whose Mesos has its default time-outs: it takes 75 s and more to give up a host. Its hosts reach the
// store through a file system that fails on demand.
func patientCell(t *testing.T, hosts int) *cell.Cell {
	t.Helper()
	program := faultfsProgram(t)
	require.NoError(t, cell.Down(within(t), patientDir))                                  // what an interrupted run left
	t.Cleanup(func() { require.NoError(t, cell.Down(context.Background(), patientDir)) }) // t.Context has ended by then
	c, err := cell.Up(within(t), patientDir, cell.Options{
		Hosts: hosts, Plugin: "../build/plugin", Faults: program,
		Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
	})
	require.NoError(t, err)
	return c
}

// window is how a scheduler sees the store: as it is, until the test shows it something else.
type window struct {
	t     *testing.T
	dir   string
	store string
}

func openWindow(t *testing.T, c *cell.Cell) *window {
	w := &window{t: t, dir: t.TempDir(), store: filepath.Join(c.Store, "mooring")}
	require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "mooring", "hosts"), 0o755))
	for _, name := range []string{"store.json", "volumes"} {
		w.show(name)
	}
	for _, h := range c.Hosts {
		w.show(filepath.Join("hosts", h.Name))
	}
	return w
}

func (w *window) path(name string) string { return filepath.Join(w.dir, "mooring", name) }

// show shows what is there.
func (w *window) show(name string) {
	require.NoError(w.t, os.RemoveAll(w.path(name)))
	require.NoError(w.t, os.Symlink(filepath.Join(w.store, name), w.path(name)))
}

// stop shows a host's heartbeat as it is now, from now on.
func (w *window) stop(h *cell.Host) {
	name := filepath.Join("hosts", h.Name)
	last, err := os.ReadFile(filepath.Join(w.store, name, "heartbeat"))
	require.NoError(w.t, err)
	require.NoError(w.t, os.Remove(w.path(name)))
	require.NoError(w.t, os.Mkdir(w.path(name), 0o755))
	require.NoError(w.t, os.WriteFile(filepath.Join(w.path(name), "heartbeat"), last, 0o644))
}

// awaitStatus waits until an operator is told all of something, and returns what he is told.
func awaitStatus(t *testing.T, d *deploy.Deployment, says ...string) string {
	t.Helper()
	var told string
	await(t, fmt.Sprintf("status to say %q", says), func() error {
		out, err := d.Operate(within(t), "status")
		if err != nil {
			out = err.Error() // which is what is printed, when not all is well
		}
		told = out
		for _, text := range says {
			if !strings.Contains(out, text) {
				return fmt.Errorf("%q is not in: %s", text, out)
			}
		}
		return nil
	})
	t.Log(told)
	return told
}

// Mesos takes its default 75 s and more to notice a dead host; a scheduler that looks at heartbeats does not. While it cannot see any, and
// while a host is cut off from Mesos, nothing is moved. Then three hosts fall silent in the same moment: one is dead, one lives but
// has lost its store, and one goes on and is only seen to stand still. All three nodes come back elsewhere before Mesos notices anything,
// with everything acknowledged, and none has a second writer: the first two hosts' volumes are taken, those of the third are given
// back. An operator is told what is seen, and the hosts are used again when they beat.
func TestStorySilentHostsAreFoundBeforeMesosNotices(t *testing.T) {
	ctx := within(t)
	c := patientCell(t, 6)
	w := openWindow(t, c)
	d := deployedIn(t, c, deploy.Options{Framework: "silent", Image: elasticsearch8, Nodes: 3, Flags: []string{"--heartbeats=" + w.dir}})
	nodes, err := d.AwaitNodes(ctx, 3)
	require.NoError(t, err)
	require.NoError(t, d.AwaitCluster(ctx, 3, "green"))
	l := write(t, d, 3)
	hosts := hostsOf(t, c, nodes)
	dead, storeless, seen := hosts[0], hosts[1], hosts[2]

	require.NoError(t, os.Remove(w.path("store.json")))
	require.NoError(t, dead.Cut(ctx))
	awaitStatus(t, d, "hosts' heartbeats were not seen since", "is missing")
	require.NoError(t, dead.Join(ctx))
	w.show("store.json")
	awaitStatus(t, d, "\nall is well")
	requireEpochs(t, d, 1, "nothing was moved")

	w.stop(seen)
	require.NoError(t, storeless.Fault(ctx, faultfs.Fault{Kind: faultfs.Hang}))
	require.NoError(t, dead.Kill(ctx))
	died := time.Now()
	for i, h := range hosts {
		awaitStatus(t, d, "host "+h.Name+" is silent since", "Mesos still counts on its agent "+nodes[i].Place.Agent)
	}
	t.Logf("all are silent %.1f s after it", time.Since(died).Seconds())
	for _, n := range nodes {
		require.NoError(t, d.AwaitRelaunch(ctx, n))
	}
	require.NoError(t, storeless.Heal(ctx))
	require.NoError(t, dead.Return(ctx))
	w.show(filepath.Join("hosts", seen.Name))
	awaitStatus(t, d, "\nall is well")
	require.NoError(t, d.AwaitCluster(ctx, 3, "green"))
	audit(t, l)
	await(t, "one copy of each node", func() error { return d.OneCopyEach(ctx, 3) })

	for i, state := range []string{"held", "held", "released"} {
		for _, volume := range nodes[i].Volumes {
			assert.Equal(t, leaseFile{hosts[i].Name, state}, leaseIn(t, c, volume, 1), volume)
		}
	}
}

// requireEpochs checks that all nodes are in one epoch.
func requireEpochs(t *testing.T, d *deploy.Deployment, epoch int, says string) {
	t.Helper()
	nodes, err := d.Nodes(within(t))
	require.NoError(t, err)
	for _, n := range nodes {
		require.Equal(t, epoch, n.Epoch, "node %d: %s", n.ID, says)
	}
}
