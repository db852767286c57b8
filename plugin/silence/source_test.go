package silence_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/silence"
	"mooring/plugin/store"
	server "mooring/test/zookeeper"
)

// beating is a place where hosts write their heartbeats.
type beating interface {
	Beat(lease.Heartbeat) (lease.Heartbeat, error)
	Create(after, next lease.Lease) (lease.Lease, error)
	Current(volume string) (lease.Lease, error)
}

// dies has host a, whose lease says something of takeovers, stand still and b go on, and checks that a is called silent by one who
// watches the source, and what it keeps.
func dies(t *testing.T, source silence.Source, place beating, says, kept string) {
	t.Helper()
	before, err := place.Current("v")
	require.NoError(t, err)
	next := before.Next("v", identity("a"))
	next.Takeover = says
	_, err = place.Create(before, next)
	require.NoError(t, err)
	_, err = place.Beat(lease.Heartbeat{Identity: identity("a"), Sequence: 1})
	require.NoError(t, err)
	now := time.Hour
	o := silence.New(source, after, func() time.Duration { return now })
	for i := range uint64(after/beat) + 2 {
		_, err := place.Beat(lease.Heartbeat{Identity: identity("b"), Sequence: i + 1})
		require.NoError(t, err)
		sights, err := o.Look(t.Context(), map[string][]string{"a": {"v"}, "c": nil})
		require.NoError(t, err)
		require.Equal(t, now-time.Hour >= after, sights["a"].Silent)
		require.NotContains(t, sights, "c")
		if sights["a"].Silent {
			assert.Equal(t, kept != "", sights["a"].Kept["v"] != "")
			assert.Contains(t, sights["a"].Kept["v"], kept)
		}
		now += beat
	}
}

func made(t *testing.T, takeover string) (dir string, s *store.Store) {
	t.Helper()
	dir = t.TempDir()
	s, err := store.Open(dir, "")
	require.NoError(t, err)
	require.NoError(t, s.Announce(store.Volume{Format: 1, ID: store.NewID(), Name: "v", Takeover: takeover}))
	return dir, s
}

func TestHeartbeatsInFiles(t *testing.T) {
	dir, s := made(t, "")
	dies(t, silence.InFiles(dir), s.Leases(), "", "")
	dir, s = made(t, "manual")
	dies(t, silence.InFiles(dir), s.Leases(), "", "takeover=manual")
}

func TestAStoreThatIsNotThereIsLookedForAndNeverMade(t *testing.T) {
	dir := t.TempDir()
	source := silence.InFiles(filepath.Join(dir, "mnt"))
	_, err := source.Leases()
	require.ErrorContains(t, err, "no such file or directory")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "mnt"), 0o755))
	_, err = source.Leases()
	require.ErrorContains(t, err, "there is no store in "+filepath.Join(dir, "mnt"))
	assert.NoDirExists(t, filepath.Join(dir, "mnt/mooring"))

	real, _ := made(t, "")
	require.NoError(t, os.Rename(filepath.Join(real, "mooring"), filepath.Join(dir, "mnt/mooring")))
	_, err = source.Leases()
	require.NoError(t, err, "it was mounted meanwhile")

	other, _ := made(t, "")
	require.NoError(t, os.Rename(filepath.Join(dir, "mnt"), filepath.Join(dir, "gone")))
	_, err = source.Leases()
	require.ErrorContains(t, err, "is missing")
	require.NoError(t, os.Rename(other, filepath.Join(dir, "mnt")))
	_, err = source.Leases()
	require.ErrorContains(t, err, "is another one")
}

// elsewhere is a place for leases outside the store.
type elsewhere struct{}

func (elsewhere) Kind() string         { return "zookeeper" }
func (elsewhere) Prepare(string) error { return nil }

func TestAStoreWhoseLeasesAreElsewhereSaysSo(t *testing.T) {
	dir := t.TempDir()
	_, err := store.OpenAt(dir, "", elsewhere{})
	require.NoError(t, err)
	_, err = silence.InFiles(dir).Leases()
	require.ErrorContains(t, err, "its leases are kept elsewhere, in zookeeper: give their address, zk://…, instead of the directory")
}

func TestHeartbeatsInZooKeeper(t *testing.T) {
	t.Parallel()
	address, err := ensemble.Parse("zk://me:secret@" + server.Run(t).Address + "/mooring")
	require.NoError(t, err)
	e := zookeeper.New(address, nil)
	t.Cleanup(e.Close)
	source := silence.InZooKeeper(e, lease.Manual)
	_, err = source.Leases()
	require.ErrorContains(t, err, "there are no leases in ZooKeeper at zk://")

	id := store.NewID()
	require.NoError(t, e.Prepare(id))
	_, err = source.Leases()
	require.ErrorContains(t, err, "no host has beaten yet")
	dies(t, source, e.Leases(id), "", "takeover=manual")
	for said, kept := range map[string]string{"auto": "", "manual": "takeover=manual", "never": "takeover=never"} {
		source := silence.InZooKeeper(e, lease.Manual)
		dies(t, source, e.Leases(id), said, kept)
	}
	_, err = source.Policy(lease.Lease{Volume: "v", Epoch: 7, Takeover: "soon"})
	require.ErrorContains(t, err, `lease of volume v, epoch 7: takeover "soon" is unknown`)

	other := store.NewID()
	require.NoError(t, e.Prepare(other))
	anew := silence.InZooKeeper(e, lease.Auto)
	_, err = anew.Leases()
	require.NoError(t, err, "the other one was never used: hosts that make a store at once leave such")
	_, err = e.Leases(other).Beat(lease.Heartbeat{Identity: identity("a"), Sequence: 1})
	require.NoError(t, err)
	for _, known := range []silence.Source{source, anew} {
		_, err = known.Leases()
		require.NoError(t, err, "it knows its store by now")
	}
	_, err = silence.InZooKeeper(e, lease.Auto).Leases()
	require.ErrorContains(t, err, "there are leases of 2 stores")
	one, err := ensemble.Parse("zk://me:secret@" + address.String()[len("zk://"):] + "/" + id)
	require.NoError(t, err)
	exact := zookeeper.New(one, nil)
	t.Cleanup(exact.Close)
	found, err := silence.InZooKeeper(exact, lease.Auto).Leases()
	require.NoError(t, err)
	last, err := found.ReadBeat("b")
	require.NoError(t, err)
	assert.Equal(t, "b", last.Host)
}
