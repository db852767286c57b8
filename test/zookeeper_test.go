package test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/zookeeper"
)

const keeper = "zk://mooring:secret@127.0.1.254:2181/mooring"

// zooKeeperCell brings up a cell of its own, whose hosts keep leases in a ZooKeeper that is reached by the network only.
func zooKeeperCell(t *testing.T, o cell.Options) *cell.Cell {
	t.Helper()
	dir := cellDir + "-zookeeper"
	require.NoError(t, cell.Down(within(t), dir)) // what an interrupted run left
	t.Cleanup(func() { require.NoError(t, cell.Down(context.Background(), dir)) })
	o.Plugin, o.Leases, o.Images = "../build/plugin", keeper, []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")}
	c, err := cell.Up(within(t), dir, o)
	require.NoError(t, err)
	startKeeper(t, c, "127.0.1.254:2181")
	return c
}

// startKeeper starts a ZooKeeper in the network of a cell, which runs until the test ends, and returns its directory.
func startKeeper(t *testing.T, c *cell.Cell, address string) string {
	t.Helper()
	dir := t.TempDir()
	server, err := zookeeper.New(zookeeper.Options{Dir: dir, Address: address, Prefix: []string{"nsenter", "--net=" + c.Switch}})
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() { require.NoError(t, server.Kill()) })
	return dir
}

// Leases are in ZooKeeper, the data is elsewhere. A host that is cut off from ZooKeeper still reaches the data, so it must be
// stopped: its guard ends the container that writes the volume, another host takes over with every line there, and nothing is
// written by the first host any more, not even when it is back.
func TestStoryLeasesInZooKeeper(t *testing.T) {
	hosts := zooKeeperCell(t, cell.Options{Hosts: 2, Fast: true}).Hosts
	one, two := hosts[0], hosts[1]
	await(t, "ZooKeeper", func() error { // the plugins are up before it is
		_, err := one.Docker(within(t), shell("keeperdata", "true", "--rm")...)
		return err
	})
	docker(t, one, shell("keeperdata", appendNumbers, "--detach", "--name", "writer")...)
	await(t, "some lines", func() error {
		_, err := one.Docker(within(t), "exec", "writer", "bash", "-c", "test $(wc -l </data/log) -gt 20")
		return err
	})
	_, err := two.Docker(within(t), shell("keeperdata", "true", "--rm")...)
	require.ErrorContains(t, err, "held by host "+one.Name)

	require.NoError(t, one.Cut(within(t)))
	await(t, "the volume on the other host", func() error {
		_, err := two.Docker(within(t), shell("keeperdata", inOrder+"; wc -l </data/log >/data/lines", "--rm")...)
		return err
	})
	assert.Empty(t, docker(t, one, "ps", "--quiet"), "the writer was ended before the other host could take its volume")
	require.NoError(t, one.Join(within(t)))
	await(t, "the volume on the first host again", func() error {
		_, err := one.Docker(within(t), shell("keeperdata", inOrder+" && test $(wc -l </data/log) = $(cat /data/lines)", "--rm")...)
		return err
	})
	docker(t, one, "rm", "writer")
	docker(t, one, "volume", "rm", "keeperdata")
	for _, h := range hosts {
		found, err := filepath.Glob(filepath.Join(h.Store(), "mooring/hosts/*"))
		require.NoError(t, err)
		assert.Empty(t, found, "no heartbeat lies in the store")
	}
}

const orderedGroup = `
groups:
- name: ordered
  nodes: 1
  roles: [data]
  volume-options: {takeover: manual}
`

// Heartbeats are in ZooKeeper, too, and Mesos takes its default 75 s and more. Two hosts die in the same moment. The scheduler sees it by
// their heartbeats: the node of one comes back elsewhere; that of the other is left there, because its volumes' leases say that nobody takes
// them by time. When their hosts are back, all nodes run, and everything acknowledged is there.
func TestStorySilentHostsAreFoundByHeartbeatsInZooKeeper(t *testing.T) {
	ctx := within(t)
	c := zooKeeperCell(t, cell.Options{Hosts: 3})
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	require.NoError(t, os.WriteFile(groups, []byte(orderedGroup), 0o600))
	d := deployedIn(t, c, deploy.Options{Framework: "beats", Image: elasticsearch8, Nodes: 1, Flags: []string{"--heartbeats=" + keeper, "--groups=" + groups}})
	nodes, err := d.AwaitNodes(ctx, 2)
	require.NoError(t, err)
	require.NoError(t, d.AwaitCluster(ctx, 2, "green"))
	l := write(t, d, 2)
	hosts := hostsOf(t, c, nodes)

	for _, h := range hosts {
		require.NoError(t, h.Kill(ctx))
	}
	awaitStatus(t, d, "host "+hosts[0].Name+" is silent since", "Mesos still counts on its agent "+nodes[0].Place.Agent,
		"host "+hosts[1].Name+" is silent since", "and the node stays there: volume beats2data is not taken over by time (takeover=manual)")
	require.NoError(t, d.AwaitRelaunch(ctx, nodes[0]))

	for _, h := range hosts {
		require.NoError(t, h.Return(ctx))
	}
	awaitStatus(t, d, "\nall is well")
	require.NoError(t, d.AwaitCluster(ctx, 2, "green"))
	audit(t, l)
}
