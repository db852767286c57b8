package lease_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/lease"
)

func identity(host string) lease.Identity {
	return lease.Identity{Host: host, Boot: "boot", Instance: "run"}
}

func TestLeasesOnDisk(t *testing.T) {
	dir := t.TempDir()
	current, err := lease.Current(dir)
	require.NoError(t, err)
	require.Zero(t, current)

	for epoch := uint64(1); epoch <= 12; epoch++ { // past 9: epochs are numbers, not text
		next := current.Next("v", identity("a"))
		require.NoError(t, lease.Create(dir, next))
		current, err = lease.Current(dir)
		require.NoError(t, err)
		next.Format = 1
		require.Equal(t, next, current)
		require.Equal(t, epoch, current.Epoch)
	}
	current.State = lease.Released
	require.NoError(t, lease.Rewrite(dir, current))
	again, err := lease.Current(dir)
	require.NoError(t, err)
	assert.Equal(t, current, again)
	assert.Equal(t, []string{"lease.11", "lease.12"}, list(t, dir), "the current and the previous one stay")
}

func TestOneOfManyTakesAnEpoch(t *testing.T) {
	dir := t.TempDir()
	var wins, losses int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := lease.Create(dir, lease.Lease{}.Next("v", identity("a")))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case errors.Is(err, lease.ErrTaken):
				losses++
			}
		})
	}
	all.Wait()
	assert.Equal(t, []int{1, 19}, []int{wins, losses})
	assert.Equal(t, []string{"lease.1"}, list(t, dir), "no temporary files stay")
}

func TestAPrunedEpochCannotBeTaken(t *testing.T) {
	dir := t.TempDir()
	slow := lease.Lease{}.Next("v", identity("slow"))
	for current := slow; current.Epoch <= 3; current = current.Next("v", identity("b")) {
		require.NoError(t, lease.Create(dir, current))
	}
	require.ErrorIs(t, lease.Create(dir, slow), lease.ErrTaken)
	current, err := lease.Current(dir)
	require.NoError(t, err)
	assert.Equal(t, uint64(3), current.Epoch)
}

func TestUnreadableLeasesAreRefused(t *testing.T) {
	for content, message := range map[string]string{
		"":               "once no host uses the volume, delete that file",
		"{":              "once no host uses the volume, delete that file",
		`{"format":2}`:   "format 2, this plugin knows format 1",
		`{"epoch":"no"}`: "unreadable",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "lease.4")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := lease.Current(dir)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, message)
	}
}

func TestHeartbeat(t *testing.T) {
	hosts := t.TempDir()
	none, err := lease.ReadBeat(hosts, "a")
	require.NoError(t, err)
	require.Zero(t, none)

	first := lease.Heartbeat{Identity: identity("a"), Sequence: 1}
	previous, err := lease.Beat(hosts, first)
	require.NoError(t, err)
	require.Zero(t, previous)
	first.Format = 1
	second := lease.Heartbeat{Identity: identity("a"), Sequence: 2}
	previous, err = lease.Beat(hosts, second)
	require.NoError(t, err)
	require.Equal(t, first, previous)
	second.Format = 1
	got, err := lease.ReadBeat(hosts, "a")
	require.NoError(t, err)
	require.Equal(t, second, got)
}

func TestHeartbeatIsRewrittenInPlace(t *testing.T) {
	hosts := t.TempDir()
	path := filepath.Join(hosts, "a", "heartbeat")
	_, err := lease.Beat(hosts, lease.Heartbeat{Identity: identity("a"), Sequence: 9})
	require.NoError(t, err)
	before, err := os.Stat(path)
	require.NoError(t, err)
	_, err = lease.Beat(hosts, lease.Heartbeat{Identity: identity("a"), Sequence: 10})
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
	_, err := lease.Beat(hosts, lease.Heartbeat{Identity: identity("a"), Sequence: 1})
	require.NoError(t, err)
	require.ErrorIs(t, os.WriteFile(filepath.Join(hosts, "filler"), make([]byte, 1<<20), 0o600), unix.ENOSPC)
	_, err = lease.Beat(hosts, lease.Heartbeat{Identity: identity("a"), Sequence: 2})
	require.NoError(t, err)
	beat, err := lease.ReadBeat(hosts, "a")
	require.NoError(t, err)
	assert.Equal(t, uint64(2), beat.Sequence)
}

func TestATornHeartbeatSaysNothing(t *testing.T) {
	hosts := t.TempDir()
	_, err := lease.Beat(hosts, lease.Heartbeat{Identity: identity("a"), Sequence: 41})
	require.NoError(t, err)
	path := filepath.Join(hosts, "a", "heartbeat")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), "41", "51", 1)), 0o600))
	_, err = lease.ReadBeat(hosts, "a")
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
