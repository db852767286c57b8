package test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/zookeeper"
)

// zooKeeperHosts brings up a cell of its own, whose hosts keep leases in a ZooKeeper that is reached by the network only.
func zooKeeperHosts(t *testing.T, hosts int) []*cell.Host {
	t.Helper()
	const address = "127.0.1.254:2181"
	dir := cellDir + "-zookeeper"
	require.NoError(t, cell.Down(within(t), dir)) // what an interrupted run left
	t.Cleanup(func() { require.NoError(t, cell.Down(context.Background(), dir)) })
	c, err := cell.Up(within(t), dir, cell.Options{
		Hosts: hosts, Plugin: "../build/plugin", Leases: "zk://mooring:secret@" + address + "/mooring", Fast: true,
		Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
	})
	require.NoError(t, err)
	keeper(t, c, address)
	return c.Hosts
}

// keeper starts a ZooKeeper in the network of a cell, which runs until the test ends, and returns its directory.
func keeper(t *testing.T, c *cell.Cell, address string) string {
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
	hosts := zooKeeperHosts(t, 2)
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
