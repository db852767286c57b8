package plugin_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/backend"
	"mooring/plugin/store"
)

const mib = 1 << 20

// room is how many bytes a mounted file system has.
func room(t *testing.T, at string) int64 {
	t.Helper()
	var stat unix.Statfs_t
	require.NoError(t, unix.Statfs(at, &stat))
	return int64(stat.Blocks) * stat.Bsize
}

func TestAnImageGrowsUnderItsWriter(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	cfg := configure(t, "hostA", dir)
	cfg.Heartbeat = 100 * time.Millisecond
	h := start(t, cfg)
	h.createImage("v")
	at := h.mount("v", "id1")
	f, err := os.Create(filepath.Join(at, "f"))
	require.NoError(t, err)
	defer f.Close()
	grown, err := h.Grow(ctx, "v", 800*mib)
	require.NoError(t, err)
	assert.Equal(t, []store.Size{400 * mib, 800 * mib}, []store.Size{grown.From, grown.To})
	assert.Equal(t, "800MiB", h.get("v").Status["size"])
	if !grown.Later { // without CAP_SYS_RESOURCE
		assert.Greater(t, room(t, at), int64(700*mib))
	}
	_, err = f.WriteString("x")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	again, err := h.Grow(ctx, "v", 800*mib)
	require.NoError(t, err, "the same order again")
	assert.Equal(t, grown.Later, again.Later)
	_, err = h.Grow(ctx, "v", 400*mib)
	assert.EqualError(t, err, "volume v has 800MiB: it can grow, not shrink to 400MiB; copy its files to a smaller volume instead")

	two := configure(t, "hostB", dir)
	two.BootID = "boot-2"
	b := start(t, two)
	require.Eventually(t, func() bool { _, err := b.Inspect(ctx, "v"); return err == nil }, patience, 10*time.Millisecond)
	_, err = b.Grow(ctx, "v", 900*mib)
	assert.ErrorContains(t, err, "volume v is held by host hostA (epoch 1")
	h.unmount("v", "id1")
	grown, err = b.Grow(ctx, "v", 900*mib)
	require.NoError(t, err)
	assert.True(t, grown.Later, "nobody has it mounted")
	assert.Greater(t, room(t, h.mount("v", "id2")), int64(800*mib), "its lease was given back, and the other host knows the size")
	assert.Equal(t, "900MiB", h.get("v").Status["size"])
	h.unmount("v", "id2")

	h.create("plain")
	_, err = h.Grow(ctx, "plain", 900*mib)
	assert.ErrorContains(t, err, "volume plain is a directory of the store: only an image can grow")
	_, err = h.Grow(ctx, "nosuch", 900*mib)
	assert.EqualError(t, err, "no such volume: nosuch")
}

func TestAVolumeThatWasNeverUsedGrows(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.createImage("v")
	_, err := h.Grow(context.Background(), "v", 800*mib)
	require.NoError(t, err)
	assert.Greater(t, room(t, h.mount("v", "id1")), int64(700*mib))
}

// forgetful dies where it is told to while an image grows.
type forgetful struct {
	backend.Kinds
	at string
}

func (f *forgetful) Grow(v backend.Spec, target string) error {
	if f.at == "recorded" {
		panic("killed")
	}
	err := f.Kinds.Grow(v, target)
	if f.at == "grown" {
		panic("killed")
	}
	return err
}

func TestGrowthOutlivesACrashAtEachStep(t *testing.T) {
	for _, at := range []string{"recorded", "grown"} {
		cfg := configure(t, "hostA", t.TempDir())
		cfg.Backend = &forgetful{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}, at: at}
		h := start(t, cfg)
		h.createImage("v")
		kill := container(t, h.mount("v", "id1"))
		_, err := h.Grow(context.Background(), "v", 800*mib)
		require.ErrorContains(t, err, "killed")
		h = h.restart(func(c *plugin.Config) { c.Backend = nil })
		h.mount("v", "id2")
		var record struct{ Size, Fitted int64 }
		data, err := os.ReadFile(filepath.Join(cfg.StoreDir, "mooring/volumes/v/image.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &record))
		assert.EqualValues(t, 800*mib, record.Size, at)
		kill()
		h.unmount("v", "id1")
		h.unmount("v", "id2")
		assert.Greater(t, room(t, h.mount("v", "id3")), int64(700*mib), at)
		assert.Equal(t, "800MiB", h.get("v").Status["size"], at)
		h.unmount("v", "id3")
	}
}
