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

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/mounts/mountstest"
)

// keeper is a host with the image v, mounted and with "before" in its file f.
func keeper(t *testing.T, storeFS string) (h *host, at string) {
	t.Helper()
	cfg := configure(t, "hostA", mountstest.Store(t, storeFS))
	cfg.Heartbeat = 100 * time.Millisecond
	h = start(t, cfg)
	h.createImage("v")
	at = h.mount("v", "id1")
	require.NoError(t, os.WriteFile(filepath.Join(at, "f"), []byte("before"), 0o600))
	return h, at
}

func (h *host) snapshot(name, snapshot string) error {
	_, err := h.Snapshot(context.Background(), name, admin.SnapshotOrder{Snapshot: snapshot}, nil)
	return err
}

func (h *host) clone(from, name string) error {
	_, err := h.Clone(context.Background(), name, admin.CloneOrder{From: from}, nil)
	return err
}

func TestSnapshotsAndClonesOfAVolumeInUse(t *testing.T) {
	h, at := keeper(t, "xfs")
	ctx := context.Background()
	require.NoError(t, h.snapshot("v", "monday"))
	require.NoError(t, os.WriteFile(filepath.Join(at, "f"), []byte("after"), 0o600))
	require.NoError(t, h.clone("v", "now"))
	require.NoError(t, h.Create(ctx, &api.CreateRequest{Name: "old", Options: map[string]string{"from": "v@monday", "size": "600m", "class": "default"}}))
	require.NoError(t, h.Create(ctx, &api.CreateRequest{Name: "old", Options: map[string]string{"from": "v@monday"}}), "twice")
	assert.Equal(t, "before", readFile(t, filepath.Join(h.mount("old", "id2"), "f")))
	assert.Equal(t, "after", readFile(t, filepath.Join(h.mount("now", "id3"), "f")))
	assert.Greater(t, room(t, h.mountpoint("old")), int64(500*mib))
	assert.Equal(t, []any{"default", "data"}, []any{h.get("old").Status["class"], h.get("now").Status["class"]})
	assert.Equal(t, "mounted", h.state("v"), "all the while")

	found, err := h.Snapshots(ctx, "v")
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Equal(t, "monday", found[0].Name)
	_, err = h.Dispose(ctx, "v@monday", 0)
	require.NoError(t, err)
	_, err = h.Dispose(ctx, "v@monday", 0)
	assert.ErrorContains(t, err, "volume v: there is no snapshot monday")
	assert.Equal(t, "before", readFile(t, filepath.Join(h.mountpoint("old"), "f")), "a clone does not need its snapshot")

	other := configure(t, "hostB", h.cfg.StoreDir)
	other.BootID = "boot-2"
	b := start(t, other)
	assert.ErrorContains(t, b.snapshot("v", "s"), "volume v is held by host hostA (epoch 1")
	assert.ErrorContains(t, b.clone("v", "w"), "volume v is held by host hostA (epoch 1")
	_, err = b.Get(ctx, &api.GetRequest{Name: "w"})
	assert.Error(t, err, "nothing half-made is known")
	assert.NoDirExists(t, filepath.Join(h.cfg.StoreDir, "mooring/volumes/w"))
	for _, name := range []string{"v", "old", "now"} {
		h.unmount(name, map[string]string{"v": "id1", "old": "id2", "now": "id3"}[name])
	}
	require.NoError(t, b.clone("v", "w"), "nobody has it mounted")
	assert.Equal(t, "after", readFile(t, filepath.Join(h.mountOf("w"), "f")))
	h.unmount("w", "id")
	assertNoDevices(t, h.cfg.StoreDir)
}

// mountOf mounts a volume that another host made.
func (h *host) mountOf(name string) string {
	h.t.Helper()
	h.create(name)
	return h.mount(name, "id")
}

func TestWhatCannotBeClonedOrKept(t *testing.T) {
	h, _ := keeper(t, "xfs")
	h.create("plain")
	h.createImage("fresh")
	require.NoError(t, h.snapshot("v", "s"))
	create := func(options map[string]string) error {
		return h.Create(context.Background(), &api.CreateRequest{Name: "w", Options: options})
	}
	for want, err := range map[string]error{
		`snapshot name "../x" is not allowed: use a letter or digit, then up to 127 letters, digits, '_', '.' or '-'`: h.snapshot("v", "../x"),
		"snapshot of volume v: there is a snapshot s already: remove it first, or choose another name":                h.snapshot("v", "s"),
		"volume plain is a directory of the store: only an image can have snapshots":                                  h.snapshot("plain", "s"),
		"volume fresh was never mounted: it has no file system of Mooring's yet":                                      h.snapshot("fresh", "s"),
		"no such volume: nosuch":                                                 h.snapshot("nosuch", "s"),
		"volume v exists already: choose another name":                           h.clone("fresh", "v"),
		"create volume w: no such volume: nosuch":                                h.clone("nosuch", "w"),
		"clone v@t as volume w: volume v has no snapshot t":                      h.clone("v@t", "w"),
		`option from "v@" is neither a VOLUME nor`:                               h.clone("v@", "w"),
		"create volume w: volume plain is a directory":                           h.clone("plain", "w"),
		"its source has 400MiB: a clone can be larger":                           create(map[string]string{"from": "v", "size": "399m"}),
		"what a clone is, its source says: volume w exists with uid 1000, not 7": create(map[string]string{"from": "v", "uid": "7"}),
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NoDirExists(t, filepath.Join(h.cfg.StoreDir, "mooring/volumes/w"))
}

func TestAStoreWithoutReflinksIsCopiedWhenAskedTo(t *testing.T) {
	h, _ := keeper(t, "ext4")
	ctx := context.Background()
	const why = "the store cannot share blocks between files (xfs, btrfs and NFS 4.2 on top of them can): stop the volume's containers and give --copy, which copies all data"
	assert.EqualError(t, h.snapshot("v", "s"), "snapshot of volume v: copy "+filepath.Join(h.cfg.StoreDir, "mooring/volumes/v/image")+": "+why)
	assert.ErrorContains(t, h.clone("v", "w"), why)
	_, err := h.Snapshot(ctx, "v", admin.SnapshotOrder{Snapshot: "s", Copy: true}, nil)
	assert.ErrorContains(t, err, "stop its containers first")
	h.unmount("v", "id1")
	var said []string
	_, err = h.Clone(ctx, "w", admin.CloneOrder{From: "v", Copy: true}, func(text string) { said = append(said, text) })
	require.NoError(t, err)
	require.NotEmpty(t, said)
	assert.Regexp(t, "^copied 100 % of [0-9]+KiB$", said[len(said)-1])
	assert.Equal(t, "before", readFile(t, filepath.Join(h.mount("w", "id2"), "f")))
}

// dyingClone dies when a clone's image is there and nobody knows yet.
type dyingClone struct{ backend.Kinds }

func (d dyingClone) Clone(ctx context.Context, v backend.Spec, from backend.Source, how backend.Copying) error {
	panic(d.Kinds.Clone(ctx, v, from, how))
}

func TestACloneThatWasNotCompletedIsNoVolume(t *testing.T) {
	h, _ := keeper(t, "xfs")
	cfg := h.cfg
	h.crash()
	cfg.Backend = dyingClone{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}}
	h = start(t, cfg)
	require.ErrorContains(t, h.clone("v", "w"), "internal error")
	h = h.restart(func(c *plugin.Config) { c.Backend = nil })
	h.create("w")
	assert.Contains(t, h.refuseMount("w", "id2"), "volume w is a clone of v that was not completed: clone again, or remove it")
	require.NoError(t, h.clone("v", "w"))
	assert.Equal(t, "before", readFile(t, filepath.Join(h.mount("w", "id2"), "f")))
}
