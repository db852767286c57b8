package plugin_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
)

func (h *host) check(name string, repair bool) (backend.Check, error) {
	return h.Check(context.Background(), name, admin.CheckOrder{Repair: repair}, func(string) {})
}

func TestAnOperatorChecksAndRepairsAnImage(t *testing.T) {
	dir := t.TempDir()
	cfg := configure(t, "hostA", dir)
	cfg.Heartbeat = 100 * time.Millisecond
	h := start(t, cfg)
	h.createImage("v")
	_, err := h.check("v", false)
	assert.EqualError(t, err, "volume v was never mounted: it has no file system of Mooring's yet")
	require.NoError(t, os.WriteFile(filepath.Join(h.mount("v", "id1"), "f"), []byte("x"), 0o600))
	_, err = h.check("v", true)
	assert.EqualError(t, err, "volume v is in use on this host: stop its containers first")
	other := configure(t, "hostB", dir)
	other.BootID = "boot-2"
	b := start(t, other)
	_, err = b.check("v", true)
	assert.ErrorContains(t, err, "volume v is held by host hostA (epoch 2")
	h.unmount("v", "id1")

	out, err := exec.Command("debugfs", "-w", "-R", "set_inode_field /data/f links_count 9", filepath.Join(dir, "mooring/volumes/v/image")).CombinedOutput()
	require.NoError(t, err, string(out))
	found, err := b.check("v", false)
	require.NoError(t, err)
	assert.False(t, found.Sound)
	found, err = b.check("v", true)
	require.NoError(t, err)
	assert.True(t, found.Sound && found.Repaired)
	assert.FileExists(t, filepath.Join(h.mount("v", "id2"), "f"), "its lease was given back")
	h.create("plain")
	_, err = h.check("plain", false)
	assert.ErrorContains(t, err, "volume plain is a directory of the store: only an image can be checked")
}

// slowCheck takes until it is told to end.
type slowCheck struct {
	backend.Kinds
	at chan struct{}
}

func (s slowCheck) Check(ctx context.Context, _ backend.Spec, _ string, _ bool, _ func(string)) (backend.Check, error) {
	close(s.at)
	<-ctx.Done()
	return backend.Check{}, context.Cause(ctx)
}

// A host that other hosts may take for dead must not go on to repair.
func TestARepairEndsWithTheHeartbeat(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Heartbeat = 50 * time.Millisecond
	slow := slowCheck{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}, at: make(chan struct{})}
	cfg.Backend = slow
	skewed := make(chan struct{})
	clock := cfg.Clock
	cfg.Clock = func() time.Duration {
		select {
		case <-skewed:
			return clock() + time.Hour // every heartbeat is old
		default:
			return clock()
		}
	}
	h := start(t, cfg)
	h.createImage("v")
	h.mount("v", "id1")
	h.unmount("v", "id1")
	ended := make(chan error, 1)
	go func() { _, err := h.check("v", true); ended <- err }()
	<-slow.at
	h.get("v") // answers meanwhile
	cover(t, cfg.StoreDir)
	close(skewed)
	assert.ErrorContains(t, <-ended, "this host has no recent heartbeat in the store, so another one may take the volume")
}
