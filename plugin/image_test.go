package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/loop"
)

// createImage makes a volume that is an image of 400 MiB.
func (h *host) createImage(name string) {
	h.t.Helper()
	options := map[string]string{"class": "data", "backend": "image", "size": "400m"}
	require.NoError(h.t, h.Create(context.Background(), &api.CreateRequest{Name: name, Options: options}))
}

// assertNoDevices makes sure that no loop device shows a file of the store.
func assertNoDevices(t *testing.T, store string) {
	t.Helper()
	bound, err := loop.Bound()
	require.NoError(t, err)
	for number, path := range bound {
		below, err := filepath.Rel(store, path)
		assert.True(t, err != nil || !filepath.IsLocal(below), "loop%d still shows %s", number, path)
	}
}

func TestAnImageVolumesWholeLife(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.createImage("v")
	at := h.mount("v", "id1")
	require.NoError(t, os.WriteFile(filepath.Join(at, "f"), []byte("x"), 0o600))
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(at, &stat))
	assert.Equal(t, []uint32{1000, 0, 0o770}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777})
	status := h.get("v").Status
	assert.Equal(t, []any{"image", "ext4", "400MiB"}, []any{status["backend"], status["fs"], status["size"]})

	assert.Equal(t, "image", status["image"])
	assert.Equal(t, true, status["directIO"])
	assert.Regexp(t, "^/dev/loop", status["device"])

	detail, err := h.Inspect(t.Context(), "v")
	require.NoError(t, err)
	assert.Equal(t, []any{status["device"], false}, []any{detail.Device, detail.Buffered})

	h.unmount("v", "id1")
	assert.NotContains(t, h.get("v").Status, "device")
	assert.NoDirExists(t, at)
	assertNoDevices(t, h.cfg.StoreDir)
	assert.FileExists(t, filepath.Join(h.mount("v", "id2"), "f"))
	h.unmount("v", "id2")
	require.NoError(t, h.remove("v"))
	assertNoDevices(t, h.cfg.StoreDir)
}

// On a store that takes no direct I/O an image works as well, and operators are told.
func TestAnImageOnAStoreWithoutDirectIO(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	require.NoError(t, unix.Mount("ramfs", cfg.StoreDir, "ramfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(cfg.StoreDir, unix.MNT_DETACH) })
	h := start(t, cfg)
	h.createImage("v")
	write(t, h.mount("v", "id1"), "f")
	assert.Equal(t, false, h.get("v").Status["directIO"])
	detail, err := h.Inspect(t.Context(), "v")
	require.NoError(t, err)
	assert.True(t, detail.Buffered)
	h.unmount("v", "id1")
	detail, err = h.Inspect(t.Context(), "v")
	require.NoError(t, err)
	assert.Equal(t, []any{"", false}, []any{detail.Device, detail.Buffered}, "nothing shows it")
	assert.FileExists(t, filepath.Join(h.mount("v", "id2"), "f"))
	h.unmount("v", "id2")
	require.NoError(t, h.remove("v"))
}

func TestAnImageFollowsItsNameToAnotherHost(t *testing.T) {
	store := t.TempDir()
	one, two := configure(t, "hostA", store), configure(t, "hostB", store)
	two.BootID = "boot-2"
	a, b := start(t, one), start(t, two)
	a.createImage("v")
	require.NoError(t, os.WriteFile(filepath.Join(a.mount("v", "id1"), "f"), []byte("x"), 0o600))
	b.create("v") // its back end is on record
	assert.Contains(t, b.refuseMount("v", "id2"), "hostA")
	a.unmount("v", "id1")
	assert.FileExists(t, filepath.Join(b.mount("v", "id2"), "f"))
	b.unmount("v", "id2")
	assertNoDevices(t, store)
}

func TestAnImageWithALivingContainerIsAdopted(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.createImage("v")
	at := h.mount("v", "id1")
	kill := container(t, at)
	h.crash()
	require.NoError(t, unix.Unmount(at, 0)) // as "docker plugin disable -f" does
	h = h.restart()
	assert.Equal(t, at, h.mount("v", "id2"))
	assert.Contains(t, h.remove("v").Error(), "is in use by process")
	kill()
	h.unmount("v", "id1")
	h.unmount("v", "id2")
	require.NoError(t, h.remove("v"))
	assertNoDevices(t, h.cfg.StoreDir)
}

func TestImageOptions(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.createImage("v")
	h.create("dir")
	create := func(name string, options map[string]string) error {
		return h.Create(context.Background(), &api.CreateRequest{Name: name, Options: options})
	}
	for _, row := range []struct {
		name    string
		options map[string]string
		want    string
	}{
		{"new", map[string]string{"backend": "nfs"}, `option backend "nfs" is unknown: use dir or image`},
		{"new", map[string]string{"backend": "image", "size": "10"}, `option size "10" is not a number with a unit such as 512m, 10g or 1t`},
		{"new", map[string]string{"backend": "image", "fs": "zfs"}, `volume new: file system "zfs" is unknown: use ext4 or xfs`},
		{"new", map[string]string{"backend": "image", "fs": "xfs", "size": "100m"},
			"volume new: size of 104857600 bytes is too small for xfs: use at least 300m"},
		{"new", map[string]string{"size": "10g"},
			"option size takes an image, volume new would be a directory: add backend=image or leave size out"},
		{"new", map[string]string{"mount": "noatime"},
			"option mount takes an image, volume new would be a directory: add backend=image or leave mount out"},
		{"new", map[string]string{"backend": "image", "mkfs": "-F"}, `volume new: mkfs option "-F" cannot be chosen for ext4: use -i N, ` +
			"-I N, -N N, -J size=N, -J fast_commit_size=N, -O fast_commit"},
		{"v", map[string]string{"mount": "noatime"}, "volume v exists with mount none, not noatime: leave the option out or choose another name"},
		{"v", map[string]string{"size": "1g"}, "volume v exists with size 400MiB, not 1GiB: leave the option out or choose another name"},
		{"v", map[string]string{"backend": "dir"}, "volume v exists with backend image, not dir: leave the option out or choose another name"},
		{"dir", map[string]string{"backend": "image", "size": "1g"},
			"volume dir exists with backend dir, not image: leave the option out or choose another name"},
	} {
		assert.EqualError(t, create(row.name, row.options), row.want)
	}
	assert.NoError(t, create("v", map[string]string{"size": "400MiB", "fs": "ext4", "backend": "image"}), "equal options")
}

// What was chosen for an image when it was made holds wherever it is mounted.
func TestAnImageWithChosenOptions(t *testing.T) {
	store := t.TempDir()
	h := start(t, configure(t, "hostA", store))
	require.NoError(t, h.Create(context.Background(), &api.CreateRequest{Name: "v",
		Options: map[string]string{"backend": "image", "size": "64m", "mkfs": "-I 512", "mount": "nodev,commit=7"}}))
	assert.Equal(t, []any{"-I 512", "nodev,commit=7"}, []any{h.get("v").Status["mkfs"], h.get("v").Status["mount"]})
	options := func(h *host) string {
		at := h.mount("v", "id")
		table, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(at))
		require.NoError(t, err)
		h.unmount("v", "id")
		return table[0].Options + "," + table[0].VFSOptions
	}
	assert.Regexp(t, "nodev.*commit=7", options(h))
	other := start(t, configure(t, "hostB", store))
	require.Eventually(t, func() bool { _, err := other.Get(context.Background(), &api.GetRequest{Name: "v"}); return err == nil }, patience, 5*time.Millisecond)
	assert.Regexp(t, "nodev.*commit=7", options(other))
}

func TestBackEndByStore(t *testing.T) {
	for shared, want := range map[plugin.Sharing]string{plugin.SharedYes: "image", plugin.SharedNo: "dir"} {
		cfg := configure(t, "hostA", t.TempDir())
		cfg.Shared = shared
		h := start(t, cfg)
		for _, name := range []string{"elasticsearch1data", "elasticsearch1config", "other"} {
			h.create(name)
		}
		assert.Equal(t, want, h.get("elasticsearch1data").Status["backend"])
		assert.Equal(t, "dir", h.get("elasticsearch1config").Status["backend"])
		assert.Equal(t, "dir", h.get("other").Status["backend"])
		require.NoError(t, h.Create(context.Background(), &api.CreateRequest{Name: "elasticsearch2data", Options: map[string]string{"backend": "dir"}}))
		assert.Equal(t, "dir", h.get("elasticsearch2data").Status["backend"])

		h = h.restart(func(c *plugin.Config) { c.Shared = plugin.Sharing(strconv.FormatBool(shared != plugin.SharedYes)) })
		assert.Equal(t, want, h.get("elasticsearch1data").Status["backend"], "a volume stays what it is")
		assert.DirExists(t, h.mount("elasticsearch1data", "id"))
		h.unmount("elasticsearch1data", "id")
	}
}
