package backend_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/mounts/mountstest"
)

// stored is an image in a store with a file system of its own, as one host has it.
func stored(t *testing.T, store, fs string) (backend.Image, backend.Spec, string) {
	t.Helper()
	i, v, target := image(t, fs)
	v.Dir = filepath.Join(mountstest.Store(t, store), "es1data")
	require.NoError(t, os.Mkdir(v.Dir, 0o755))
	return i, v, target
}

// another is another host with its place for the volume.
func another(t *testing.T) (backend.Image, string) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "es1data")
	t.Cleanup(func() {
		for unix.Unmount(target, unix.MNT_DETACH) == nil {
		}
	})
	return backend.Image{Boot: "boot-2"}, target
}

// write makes a file and waits until it is on disk.
func write(t *testing.T, target, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(target, name))
	require.NoError(t, err)
	_, err = f.WriteString(name)
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestALateWriterDoesNotReachARenewedImage is a host that was frozen with the volume mounted, and writes when it wakes.
func TestALateWriterDoesNotReachARenewedImage(t *testing.T) {
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		for _, storeFS := range mountstest.Reflinking {
			t.Run(fs+" on "+storeFS, func(t *testing.T) { lateWriter(t, storeFS, fs) })
		}
	}
}

func lateWriter(t *testing.T, storeFS, fs string) {
	frozen, v, at := stored(t, storeFS, fs)
	mounted(t, frozen, v, at)
	for n := range 20 {
		write(t, at, fmt.Sprint("acknowledged", n))
	}
	dirty, err := os.Create(filepath.Join(at, "dirty")) // not on disk yet
	require.NoError(t, err)
	_, err = dirty.WriteString("dirty")
	require.NoError(t, err)

	i, target := another(t)
	renewed, err := i.Renew(t.Context(), v, 6)
	require.NoError(t, err)
	require.True(t, renewed)
	require.NoError(t, dirty.Sync())
	write(t, at, "late") // into the image that was copied

	late := v
	v.Image = 6
	require.NoError(t, i.Mount(t.Context(), v, target))
	for n := range 20 {
		assert.FileExists(t, filepath.Join(target, fmt.Sprint("acknowledged", n)))
	}
	assert.NoFileExists(t, filepath.Join(target, "late"))
	assert.Equal(t, []string{"image.6", "image.json"}, files(t, v.Dir))

	write(t, at, "later") // into the image that was removed
	require.NoError(t, dirty.Close())
	require.NoError(t, frozen.Unmount(t.Context(), at), "its own device is found although its file is gone")
	assert.ErrorContains(t, frozen.Mount(t.Context(), late, at), "names "+filepath.Join(v.Dir, "image")+", but image.6 was mounted since")
	write(t, target, "new")
	require.NoError(t, i.Unmount(t.Context(), target))
	assertSound(t, v)
	require.NoError(t, i.Mount(t.Context(), v, target))
	assert.FileExists(t, filepath.Join(target, "new"))
	assert.NoFileExists(t, filepath.Join(target, "later"))
	require.NoError(t, i.Unmount(t.Context(), target))
	assert.Empty(t, devices(t, v))
}

// TestRenewAfterACrash stops between any two steps from the copy to the removal of the old image, and begins again.
func TestRenewAfterACrash(t *testing.T) {
	i, v, target := stored(t, "xfs", backend.Ext4)
	mounted(t, i, v, target)
	write(t, target, "f")
	require.NoError(t, i.Unmount(t.Context(), target))
	path := func(name string) string { return filepath.Join(v.Dir, name) }
	renew := func(epoch uint64) {
		renewed, err := i.Renew(t.Context(), v, epoch)
		require.NoError(t, err)
		require.True(t, renewed)
	}
	for _, crash := range []struct {
		step string
		left func(epoch uint64)
	}{
		{"an empty draft", func(uint64) { require.NoError(t, os.WriteFile(path("image.new.1"), nil, 0o600)) }},
		{"half a copy", func(uint64) { require.NoError(t, os.WriteFile(path("image.new.1"), []byte("half"), 0o600)) }},
		{"a copy without its name", func(epoch uint64) {
			renew(epoch)
			require.NoError(t, os.Rename(path(backend.ImageName(epoch)), path("image.new.1")))
		}},
		{"a copy for a lease that is not the last any more", func(epoch uint64) { renew(epoch - 1) }},
		{"a mounted copy beside the old image", func(epoch uint64) {
			renew(epoch - 1)
			require.NoError(t, os.Link(path(backend.ImageName(v.Image)), path("kept")))
			before := v.Image
			v.Image = epoch - 1 // as the lease says by then
			require.NoError(t, i.Mount(t.Context(), v, target))
			require.NoError(t, i.Unmount(t.Context(), target))
			require.NoError(t, os.Rename(path("kept"), path(backend.ImageName(before))))
		}},
	} {
		epoch := v.Image + 2
		crash.left(epoch)
		renew(epoch)
		v.Image = epoch
		require.NoError(t, i.Mount(t.Context(), v, target), crash.step)
		assert.FileExists(t, filepath.Join(target, "f"), crash.step)
		assert.Equal(t, []string{backend.ImageName(epoch), "image.json"}, files(t, v.Dir), crash.step)
		require.NoError(t, i.Unmount(t.Context(), target), crash.step)
		assertSound(t, v)
	}
}

func TestRenewWhereTheStoreCannotShareBlocks(t *testing.T) {
	i, v, target := stored(t, "ext4", backend.Ext4)
	mounted(t, i, v, target)
	renewed, err := i.Renew(t.Context(), v, 6)
	require.NoError(t, err)
	assert.False(t, renewed)
	assert.NoFileExists(t, filepath.Join(v.Dir, "image.6"))
	assert.Empty(t, globbed(t, v, "image.new.*"))
	require.NoError(t, i.Unmount(t.Context(), target))
}

func globbed(t *testing.T, v backend.Spec, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(v.Dir, pattern))
	require.NoError(t, err)
	return found
}

func TestRenewRefusesWhatIsNotTheVolumesImage(t *testing.T) {
	i, v, target := stored(t, "xfs", backend.Ext4)
	mounted(t, i, v, target)
	require.NoError(t, i.Unmount(t.Context(), target))
	v.Image = 6
	_, err := i.Renew(t.Context(), v, 6)
	assert.ErrorContains(t, err, "image.6 cannot become image.6: an image is renewed under a later epoch")
	_, err = i.Renew(t.Context(), v, 7)
	assert.ErrorContains(t, err, "the volume's image is gone: put "+filepath.Join(v.Dir, "image.6")+" back")
	require.NoError(t, os.WriteFile(filepath.Join(v.Dir, "image.6"), make([]byte, mib), 0o600))
	_, err = i.Renew(t.Context(), v, 7)
	assert.ErrorContains(t, err, "holds no ext4 file system")
	assert.Equal(t, []string{"image", "image.6", "image.json"}, files(t, v.Dir))
	v.Image = 0
	_, err = i.Renew(t.Context(), v, 6)
	assert.ErrorIs(t, err, os.ErrExist, "nobody knows what that is")
	assert.Equal(t, []string{"image", "image.6", "image.json"}, files(t, v.Dir))
}

// TestAnOlderImageDoesNotComeBack loses the lease that names the image, while an older one is still there.
func TestAnOlderImageDoesNotComeBack(t *testing.T) {
	i, v, target := stored(t, "xfs", backend.Ext4)
	mounted(t, i, v, target)
	require.NoError(t, i.Unmount(t.Context(), target))
	_, err := i.Renew(t.Context(), v, 6)
	require.NoError(t, err)
	path := func(name string) string { return filepath.Join(v.Dir, name) }
	require.NoError(t, os.Link(path("image"), path("kept")))
	v.Image = 6
	require.NoError(t, i.Mount(t.Context(), v, target))
	write(t, target, "f")
	require.NoError(t, i.Unmount(t.Context(), target))
	require.NoError(t, os.Rename(path("kept"), path("image")))

	v.Image = 0
	want := "the volume's lease names " + path("image") + ", but image.6 was mounted since: that lease was lost, or this host is too late; " +
		"if no host uses the volume, rename image.6 to image"
	assert.EqualError(t, i.Mount(t.Context(), v, target), want)
	_, err = i.Renew(t.Context(), v, 7)
	assert.EqualError(t, err, want)

	require.NoError(t, os.Rename(path("image.6"), path("image")))
	require.NoError(t, i.Mount(t.Context(), v, target), "the remedy helps")
	assert.FileExists(t, filepath.Join(target, "f"))
	require.NoError(t, i.Unmount(t.Context(), target))
}

// TestAHostThatIsTooLateRemovesNoLaterImage is a holder that was frozen between its mount and the removal of older images.
func TestAHostThatIsTooLateRemovesNoLaterImage(t *testing.T) {
	frozen, v, at := stored(t, "xfs", backend.Ext4)
	mounted(t, frozen, v, at)
	i, _ := another(t)
	_, err := i.Renew(t.Context(), v, 6)
	require.NoError(t, err)
	require.NoError(t, frozen.Mount(t.Context(), v, at))
	assert.Equal(t, []string{"image", "image.6", "image.json"}, files(t, v.Dir))
	require.NoError(t, frozen.Unmount(t.Context(), at))
}

func TestOwnsAndMissing(t *testing.T) {
	for name, want := range map[string][2]bool{
		"image": {true, false}, "image.6": {true, false}, "image.json": {true, false}, "data": {true, false}, "image.new.17": {true, true},
		"image.0": {}, "image.06": {}, "image.six": {}, "image.": {}, "images": {}, "image.-1": {},
	} {
		own, half := backend.Owns(name)
		assert.Equal(t, want, [2]bool{own, half}, name)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "image.json"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600))
	for image, want := range map[uint64][]string{0: nil, 6: {filepath.Join(dir, "image.6")}} {
		missing, err := backend.Missing(dir, backend.KindImage, image)
		require.NoError(t, err)
		assert.Equal(t, want, missing)
	}
}
