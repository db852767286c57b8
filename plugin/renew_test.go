package plugin_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/mounts/mountstest"
)

// configureOn is a host with a kernel of its own, as far as the driver can tell.
func configureOn(t *testing.T, name, store string) plugin.Config {
	t.Helper()
	cfg := configure(t, name, store)
	cfg.BootID = "boot-of-" + name
	return cfg
}

// write makes a file in a mounted volume and waits until it is on disk.
func write(t *testing.T, at, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(at, name))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// images are the image files of volume v.
func (h *host) images() []string {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.cfg.StoreDir, "mooring/volumes/v/image*"))
	require.NoError(h.t, err)
	var names []string
	for _, path := range found {
		if name := filepath.Base(path); name != "image.json" {
			names = append(names, name)
		}
	}
	return names
}

func (h *host) image() string {
	h.t.Helper()
	detail, err := h.Inspect(context.Background(), "v")
	require.NoError(h.t, err)
	return detail.Image
}

func (h *host) healthy() {
	h.t.Helper()
	found, err := h.Diagnose(context.Background())
	require.NoError(h.t, err)
	for _, f := range found {
		assert.NotEqual(h.t, "v", f.Volume, "%s: %s", f.Kind, f.What)
		assert.NotContains(h.t, f.Path, "image", f.Kind)
	}
}

// A host is frozen with a mounted volume, and its container writes when it wakes.
func TestAFrozenHostsLateWritesReachNobody(t *testing.T) {
	for _, fs := range mountstest.Reflinking {
		t.Run(fs, func(t *testing.T) { lateWritesReachNobody(t, fs) })
	}
}

func lateWritesReachNobody(t *testing.T, storeFS string) {
	synctest.Test(t, func(t *testing.T) {
		store := mountstest.Store(t, storeFS)
		a, b := start(t, configureOn(t, "hostA", store)), start(t, configureOn(t, "hostB", store))
		a.createImage("v")
		at := a.mount("v", "id1")
		write(t, at, "acknowledged")
		b.create("v")
		assert.Equal(t, "image", b.image())
		b.settled()
		a.crash() // as far as others can see; the file system stays mounted

		there := b.mount("v", "id2")
		write(t, at, "late")
		assert.FileExists(t, filepath.Join(there, "acknowledged"))
		assert.NoFileExists(t, filepath.Join(there, "late"))
		assert.Equal(t, "image.2", b.image())
		assert.Equal(t, "image.2", b.get("v").Status["image"])
		assert.Equal(t, []string{"image.2"}, b.images())
		write(t, there, "new")
		b.mount("v", "id3") // a second container, of the same use
		b.unmount("v", "id3")
		b.healthy()
		b.unmount("v", "id2")

		c := start(t, configureOn(t, "hostC", store))
		c.create("v")
		there = c.mount("v", "id4")
		assert.FileExists(t, filepath.Join(there, "new"))
		assert.NoFileExists(t, filepath.Join(there, "late"))
		assert.Equal(t, []string{"image.2"}, c.images(), "given back in order, it goes on as it is")

		a = start(t, a.cfg)
		a.settled()
		assert.Contains(t, a.refuseMount("v", "id1"), "is held by host hostC (epoch 3")
		assert.False(t, a.mounted("v"))
		c.unmount("v", "id4")
		assert.FileExists(t, filepath.Join(a.mount("v", "id5"), "new"))
		a.healthy()
		a.unmount("v", "id5")
		require.NoError(t, a.remove("v"))
		assertNoDevices(t, store)
	})
}

func TestAnOrderedTakeoverRenewsTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mountstest.Store(t, "xfs")
		a, b := start(t, configureOn(t, "hostA", store)), start(t, configureOn(t, "hostB", store))
		a.createImage("v")
		at := a.mount("v", "id1")
		b.settled()
		a.crash()
		_, err := b.TakeOver(context.Background(), "v", admin.Order{Reason: "test", Force: true})
		require.NoError(t, err)
		assert.Equal(t, []string{"image"}, b.images(), "it is nobody's yet")
		there := b.mount("v", "id2")
		assert.Equal(t, []string{"image.3"}, b.images())
		write(t, at, "late")
		assert.NoFileExists(t, filepath.Join(there, "late"))
	})
}

func TestARebootedHostGoesOnWithItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", mountstest.Store(t, "xfs")))
		h.createImage("v")
		h.mount("v", "id1")
		h.crash()
		unmountAll(t, h.cfg.MountRoot)
		h.cfg.BootID = "boot-2"
		h = start(t, h.cfg)
		h.mount("v", "id2")
		assert.Equal(t, uint64(2), h.get("v").Status["epoch"])
		assert.Equal(t, []string{"image"}, h.images())
	})
}

// Without reflinks the new holder goes on with the same file, also after a first takeover.
func TestATakeoverWhereTheStoreCannotShareBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mountstest.Store(t, "ext4")
		a, b := start(t, configureOn(t, "hostA", store)), start(t, configureOn(t, "hostB", store))
		a.createImage("v")
		write(t, a.mount("v", "id1"), "acknowledged")
		b.settled()
		a.crash()
		unmountAll(t, a.cfg.MountRoot)
		assert.FileExists(t, filepath.Join(b.mount("v", "id2"), "acknowledged"))
		assert.Equal(t, []string{"image"}, b.images())
		b.unmount("v", "id2")
		b.mount("v", "id2")
		b.healthy()
	})
}

// A host that cannot share blocks took the volume over; a container of its own is no reason to begin later, the next use is.
func TestAnImageInUseIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mountstest.Store(t, "xfs")
		a := start(t, configureOn(t, "hostA", store))
		a.createImage("v")
		write(t, a.mount("v", "id1"), "acknowledged")
		cfg := configureOn(t, "hostB", store)
		unable := &unableToRenew{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}, unable: true}
		cfg.Backend = unable
		b := start(t, cfg)
		b.settled()
		a.crash()
		unmountAll(t, a.cfg.MountRoot)
		b.mount("v", "id2")
		unable.unable = false
		b.mount("v", "id3")
		assert.Equal(t, []string{"image"}, b.images())
		b.unmount("v", "id2")
		b.unmount("v", "id3")
		assert.FileExists(t, filepath.Join(b.mount("v", "id4"), "acknowledged"))
		assert.Equal(t, []string{"image.3"}, b.images())
	})
}

// The copy takes longer than a call may: that call fails, and the next one finds the copy made.
func TestACopyThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mountstest.Store(t, "xfs")
		a := start(t, configureOn(t, "hostA", store))
		a.createImage("v")
		write(t, a.mount("v", "id1"), "acknowledged")
		cfg := configureOn(t, "hostB", store)
		slow := &slowToRenew{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}, free: make(chan struct{})}
		cfg.Backend = slow
		b := start(t, cfg)
		b.settled()
		a.crash()
		assert.Contains(t, b.refuseMount("v", "id2"), "no result within 25s")
		close(slow.free)
		synctest.Wait()
		assert.Equal(t, "released", b.state("v"))
		assert.Equal(t, "image.2", b.image())
		assert.FileExists(t, filepath.Join(b.mount("v", "id3"), "acknowledged"))
		assert.Equal(t, []string{"image.2"}, b.images())
		assert.Equal(t, 1, slow.copies)
	})
}

// slowToRenew is a back end that copies when it is set free.
type slowToRenew struct {
	backend.Kinds
	free   chan struct{}
	copies int
}

func (s *slowToRenew) Renew(ctx context.Context, v backend.Spec, epoch uint64) (bool, error) {
	<-s.free
	s.copies++
	return s.Kinds.Renew(ctx, v, epoch)
}

// unableToRenew is a back end that cannot share blocks, as long as it says so.
type unableToRenew struct {
	backend.Kinds
	unable bool
}

func (u *unableToRenew) Renew(ctx context.Context, v backend.Spec, epoch uint64) (bool, error) {
	if u.unable {
		return false, nil
	}
	return u.Kinds.Renew(ctx, v, epoch)
}

// The new holder's process dies after each step of its takeover in turn. The next use, here or on a third host, must have
// everything that was acknowledged, and nothing that the old holder wrote late.
func TestACrashBetweenAnyTwoStepsOfATakeover(t *testing.T) {
	for _, step := range []string{"renew", "renewed", "mount", "mounted"} {
		for _, next := range []string{"hostB", "hostC"} {
			t.Run(step+" then "+next, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := mountstest.Store(t, "xfs")
					a := start(t, configureOn(t, "hostA", store))
					a.createImage("v")
					at := a.mount("v", "id1")
					write(t, at, "acknowledged")
					cfg := configureOn(t, "hostB", store)
					failing := &dyingImage{Kinds: backend.Kinds{Image: backend.Image{Boot: cfg.BootID}}, dying: dying{at: step, armed: true}}
					cfg.Backend = failing
					b := start(t, cfg)
					b.settled()
					a.crash()
					assert.Contains(t, b.refuseMount("v", "id2"), "internal error: killed")
					b.crash()

					again := cfg
					again.Backend = nil
					if next != cfg.Host {
						unmountAll(t, b.cfg.MountRoot)
						again = configureOn(t, next, store)
					}
					h := start(t, again)
					h.settled()
					there := h.mount("v", "id3")
					write(t, at, "late")
					assert.FileExists(t, filepath.Join(there, "acknowledged"))
					assert.NoFileExists(t, filepath.Join(there, "late"))
					assert.Equal(t, []string{h.image()}, h.images())
					assert.NotEqual(t, "image", h.image())
					h.healthy()
					h.unmount("v", "id3")
					var last struct{ Image, Taken, Epoch uint64 }
					lease := filepath.Join(store, "mooring/volumes/v/lease.3")
					require.NoError(t, json.Unmarshal([]byte(readFile(t, lease)), &last))
					assert.GreaterOrEqual(t, last.Image, last.Taken)
				})
			})
		}
	}
}

// dyingImage is dying with every kind of volume.
type dyingImage struct {
	backend.Kinds
	dying
}

func (d *dyingImage) Provision(ctx context.Context, v backend.Spec) error {
	return d.Kinds.Provision(ctx, v)
}

func (d *dyingImage) Unmount(ctx context.Context, target string) error {
	return d.Kinds.Unmount(ctx, target)
}

func (d *dyingImage) Renew(ctx context.Context, v backend.Spec, epoch uint64) (bool, error) {
	d.step("renew")
	renewed, err := d.Kinds.Renew(ctx, v, epoch)
	d.step("renewed")
	return renewed, err
}

func (d *dyingImage) Mount(ctx context.Context, v backend.Spec, target string) error {
	d.step("mount")
	err := d.Kinds.Mount(ctx, v, target)
	d.step("mounted")
	return err
}
