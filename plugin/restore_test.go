package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/admin"
	"mooring/plugin/mounts/mountstest"
	"mooring/plugin/store"
)

const day = store.Delay(24 * time.Hour)

func TestARemovedVolumeIsRestoredOnAnotherHost(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	a := start(t, configure(t, "hostA", dir))
	two := configure(t, "hostB", dir)
	two.BootID, two.Heartbeat = "boot-2", 50*time.Millisecond
	b := start(t, two)
	for _, name := range []string{"plain", "image"} {
		if name == "plain" {
			a.create(name)
		} else {
			a.createImage(name)
		}
		require.NoError(t, os.WriteFile(filepath.Join(a.mount(name, "id1"), "f"), []byte(name), 0o600))
		_, err := a.Dispose(ctx, name, day)
		require.NoError(t, err, "nothing but a recorded ID has it")
		assert.NoDirExists(t, filepath.Join(dir, "mooring/volumes", name))
		trash, err := b.Trash(ctx)
		require.NoError(t, err)
		require.Len(t, trash, 1)
		assert.Equal(t, name, trash[0].Name)
		assert.Equal(t, time.Duration(day), trash[0].Until.Sub(trash[0].At))

		back, err := b.Restore(ctx, name, "")
		require.NoError(t, err)
		assert.Equal(t, trash[0], back)
		assert.FileExists(t, filepath.Join(b.mount(name, "id2"), "f"), "its lease was not left with the remover")
		b.unmount(name, "id2")
		_, err = b.Restore(ctx, name, "")
		assert.EqualError(t, err, "no such volume in the trash: "+name+"; mooring volumes trash lists what can be restored")
		a.create(name)
		assert.FileExists(t, filepath.Join(a.mount(name, "id3"), "f"))
		a.unmount(name, "id3")
	}
	assertNoDevices(t, dir)
}

// After a takeover the lease says which image file counts, and a restored volume has no lease.
func TestARestoredVolumeHasTheImageThatItHad(t *testing.T) {
	ctx, dir := context.Background(), mountstest.Store(t, "xfs")
	a, cfg := start(t, configureOn(t, "hostA", dir)), configureOn(t, "hostB", dir)
	cfg.Heartbeat = 50 * time.Millisecond
	b := start(t, cfg)
	a.createImage("v")
	a.mount("v", "id1")
	a.crash()
	require.Eventually(t, func() bool { _, err := b.Inspect(ctx, "v"); return err == nil }, patience, 10*time.Millisecond)
	_, err := b.TakeOver(ctx, "v", admin.Order{Reason: "test", Force: true})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b.mount("v", "id2"), "f"), nil, 0o600))
	require.Equal(t, []string{"image.3"}, b.images())
	b.unmount("v", "id2")
	gone, err := b.Dispose(ctx, "v", day)
	require.NoError(t, err)
	assert.EqualValues(t, 3, gone.Image)
	_, err = b.Restore(ctx, "v", "")
	require.NoError(t, err)
	assert.Equal(t, []string{"image"}, b.images())
	assert.FileExists(t, filepath.Join(b.mount("v", "id3"), "f"))
}

func TestTheTrashAndANameMadeAgain(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	h := start(t, configure(t, "hostA", dir))
	var ids []string
	for range 2 {
		h.create("v")
		h.mount("v", "id1")
		gone, err := h.Dispose(ctx, "v", day)
		require.NoError(t, err)
		ids = append(ids, gone.ID)
	}
	h.create("v")
	at := h.mount("v", "id1")
	_, err := h.Restore(ctx, "v", "")
	assert.ErrorContains(t, err, "several volumes v were removed: choose one with --id, of ")
	_, err = h.Restore(ctx, "v", ids[0][:12])
	assert.EqualError(t, err, "restore volume v: there is another one of that name: remove that first")
	_, err = os.ReadDir(at)
	require.NoError(t, err, "which is in use all the while")
	h.unmount("v", "id1")
	_, err = h.Dispose(ctx, "v", 0)
	require.NoError(t, err)
	back, err := h.Restore(ctx, "v", ids[0])
	require.NoError(t, err)
	assert.Equal(t, ids[0], back.ID)
}

func TestTheEnginesRemoveHeedsTheVolumesDelay(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	cfg := configure(t, "hostA", dir)
	cfg.Heartbeat = 20 * time.Millisecond
	h := start(t, cfg)
	for name, delay := range map[string]string{"kept": "24h", "short": "1s", "now": "0s"} {
		require.NoError(t, h.Create(ctx, &api.CreateRequest{Name: name, Options: map[string]string{"trash": delay}}))
		require.NoError(t, h.remove(name))
	}
	entries := func() int {
		found, err := os.ReadDir(filepath.Join(dir, "mooring/trash"))
		require.NoError(t, err)
		return len(found)
	}
	require.Eventually(t, func() bool { return entries() == 1 }, patience, 10*time.Millisecond, "the others are deleted when their time is over")
	h = h.restart()
	_, err := h.Restore(ctx, "kept", "")
	require.NoError(t, err)
	h.mount("kept", "id1")
	err = h.Create(ctx, &api.CreateRequest{Name: "v", Options: map[string]string{"trash": "1d"}})
	assert.EqualError(t, err, `option trash "1d" is not a time such as 24h or 30m`)
}
