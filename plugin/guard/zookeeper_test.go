package guard_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/plugin/guard"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	server "mooring/test/zookeeper"
)

// The leases are in ZooKeeper, which does not answer for a while, although the store does: the host is
// fenced, its lease is given back when ZooKeeper answers again, and a new lease makes the volume usable.
func TestAHostWithoutZooKeeperIsFenced(t *testing.T) {
	running := server.Run(t)
	address := "zk://mooring:verysecret@" + running.Address + "/mooring"
	a, err := ensemble.Parse(address)
	require.NoError(t, err)
	ensemble := zookeeper.New(a, nil)
	t.Cleanup(ensemble.Close)
	c := newScene(t, t.TempDir())
	require.NoError(t, ensemble.Prepare(c.store.UUID()))
	c.host.Leases, c.client.Leases = ensemble.String(), address
	c.host.Heartbeat, c.host.FenceAfter = 200*time.Millisecond, fenceSoon
	c.leases = ensemble.Leases(c.store.UUID())

	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	require.NoError(t, running.Freeze())
	require.Eventually(t, func() bool { return dead(holder.Process.Pid) }, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool { return !mounted(t, c.target) }, patience, 50*time.Millisecond, "it comes after the kill")
	require.NoError(t, running.Thaw())
	status := c.eventually("settled", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.Equal(t, lease.Released, c.leaseState())
	v.Epoch, v.Lapses = 2, status.Pulse.Lapses
	c.takeNext(c.host.Identity)
	c.watch(v)

	shown, err := json.Marshal(c.attach())
	require.NoError(t, err)
	assert.Contains(t, string(shown), running.Address)
	log, err := os.ReadFile(filepath.Join(c.host.StateDir, "guard.log"))
	require.NoError(t, err)
	assert.NotContains(t, string(shown)+string(log), "verysecret")
	found, err := filepath.Glob(filepath.Join(c.host.StoreDir, "mooring/hosts/*"))
	require.NoError(t, err)
	assert.Empty(t, found, "no heartbeat in the store")
}
