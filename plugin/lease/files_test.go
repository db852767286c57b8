package lease_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/lease"
	"mooring/plugin/lease/leasetest"
)

// onDisk is a store's directories.
type onDisk struct {
	t *testing.T
	lease.Files
}

func newOnDisk(t *testing.T) *onDisk {
	root := t.TempDir()
	p := &onDisk{t, lease.Files{Volumes: filepath.Join(root, "volumes"), Beats: filepath.Join(root, "hosts")}}
	require.NoError(t, os.Mkdir(p.Volumes, 0o700))
	require.NoError(t, os.Mkdir(p.Beats, 0o700))
	return p
}

func (p *onDisk) Open() leasetest.Leases { return p.Files }
func (p *onDisk) dir() string            { return filepath.Join(p.Volumes, "v") }

func (p *onDisk) Make(volume string) {
	p.t.Helper()
	require.NoError(p.t, os.Mkdir(filepath.Join(p.Volumes, volume), 0o700))
}

func (p *onDisk) Discard(volume string) {
	p.t.Helper()
	require.NoError(p.t, os.Rename(filepath.Join(p.Volumes, volume), filepath.Join(p.t.TempDir(), "trash")))
}

func TestLeasesInFiles(t *testing.T) {
	leasetest.Contract(t, func(t *testing.T) leasetest.Place { return newOnDisk(t) })
}

func TestLittleIsLeftOfOldLeases(t *testing.T) {
	p := newOnDisk(t)
	p.Make("v")
	var current lease.Lease
	for range 12 {
		var err error
		current, err = p.Create(current, current.Next("v", leasetest.Identity("a")))
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"lease.11", "lease.12"}, list(t, p.dir()), "the current and the previous one stay, no temporary files")
}

// The lease of a plugin that gave leases no ID.
func TestLeasesWithoutIDAreTaken(t *testing.T) {
	p := newOnDisk(t)
	p.Make("v")
	line := `{"format":1,"volume":"v","epoch":4,"host":"a","boot":"boot","instance":"run","state":"released"}` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(p.dir(), "lease.4"), []byte(line), 0o600))
	current, err := p.Current("v")
	require.NoError(t, err)
	next, err := p.Create(current, current.Next("v", leasetest.Identity("b")))
	require.NoError(t, err)
	assert.Equal(t, uint64(5), next.Epoch)
}

func TestUnreadableLeasesAreRefused(t *testing.T) {
	for content, message := range map[string]string{
		"":               "once no host uses the volume, delete that file",
		"{":              "once no host uses the volume, delete that file",
		`{"format":2}`:   "format 2, this plugin knows format 1",
		`{"epoch":"no"}`: "unreadable",
	} {
		p := newOnDisk(t)
		p.Make("v")
		path := filepath.Join(p.dir(), "lease.4")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := p.Current("v")
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, message)
	}
}

func TestHeartbeatIsRewrittenInPlace(t *testing.T) {
	hosts := t.TempDir()
	path := filepath.Join(hosts, "a", "heartbeat")
	_, err := lease.Files{Beats: hosts}.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 9})
	require.NoError(t, err)
	before, err := os.Stat(path)
	require.NoError(t, err)
	_, err = lease.Files{Beats: hosts}.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 10})
	require.NoError(t, err)
	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after), "a new file would need free space")
	assert.Equal(t, int64(512), after.Size())
}

// A host on a full store is alive, and others must see that.
func TestAHeartbeatNeedsNoFreeSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a small tmpfs takes root")
	}
	hosts := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", hosts, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { unix.Unmount(hosts, unix.MNT_DETACH) })
	_, err := lease.Files{Beats: hosts}.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 1})
	require.NoError(t, err)
	require.ErrorIs(t, os.WriteFile(filepath.Join(hosts, "filler"), make([]byte, 1<<20), 0o600), unix.ENOSPC)
	_, err = lease.Files{Beats: hosts}.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 2})
	require.NoError(t, err)
	beat, err := lease.Files{Beats: hosts}.ReadBeat("a")
	require.NoError(t, err)
	assert.Equal(t, uint64(2), beat.Sequence)
}

func TestATornHeartbeatSaysNothing(t *testing.T) {
	hosts := t.TempDir()
	_, err := lease.Files{Beats: hosts}.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 41})
	require.NoError(t, err)
	path := filepath.Join(hosts, "a", "heartbeat")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), "41", "51", 1)), 0o600))
	_, err = lease.Files{Beats: hosts}.ReadBeat("a")
	assert.ErrorContains(t, err, "heartbeat of host a")
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
