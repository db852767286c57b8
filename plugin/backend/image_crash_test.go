package backend_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/loop"
	"mooring/plugin/mounts/mountstest"
)

// TestProvisionAfterACrash stops between any two steps of Provision and provisions again.
func TestProvisionAfterACrash(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		require.NoError(t, i.Provision(t.Context(), v))
		path := func(name string) string { return filepath.Join(v.Dir, name) }
		for step, undo := range map[string]func() error{
			"nothing":    func() error { return errors.Join(os.Remove(path("image")), os.Remove(path("image.json"))) },
			"the record": func() error { return os.Remove(path("image")) },
			"an empty draft": func() error {
				return errors.Join(os.Remove(path("image")), os.WriteFile(path("image.new.1"), nil, 0o600))
			},
			"a finished draft": func() error { return os.Rename(path("image"), path("image.new.1")) },
			"a linked draft":   func() error { return os.Link(path("image"), path("image.new.1")) },
		} {
			require.NoError(t, undo(), step)
			require.NoError(t, i.Provision(t.Context(), v), step)
			left, err := filepath.Glob(path("*"))
			require.NoError(t, err)
			assert.Equal(t, []string{path("image"), path("image.json")}, left, step)
			require.NoError(t, i.Mount(t.Context(), v, target), step)
			require.NoError(t, i.Unmount(t.Context(), target), step)
		}
	})
}

// TestMountAfterACrash leaves each state in which a process that mounts can die, and mounts again.
func TestMountAfterACrash(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		require.NoError(t, i.Provision(t.Context(), v))
		path := filepath.Join(v.Dir, "image")
		mountRoot := func() {
			require.NoError(t, os.MkdirAll(target, 0o700))
			said, err := exec.Command("mount", "-o", "loop", path, target).CombinedOutput()
			require.NoError(t, err, string(said))
		}
		for step, crash := range map[string]func(){
			"mount point": func() { require.NoError(t, os.MkdirAll(target, 0o700)) },
			"data draft": func() {
				mountRoot()
				require.NoError(t, os.Mkdir(filepath.Join(target, ".data.new"), 0o700))
				require.NoError(t, unix.Unmount(target, 0))
			},
			"data": func() {
				require.NoError(t, i.Mount(t.Context(), v, target))
				require.NoError(t, unix.Unmount(target, 0))
			},
			"two mounts": func() {
				require.NoError(t, i.Mount(t.Context(), v, target))
				require.NoError(t, unix.Mount(target, target, "", unix.MS_BIND, ""))
			},
		} {
			crash()
			require.NoError(t, i.Mount(t.Context(), v, target), step)
			var stat unix.Stat_t
			require.NoError(t, unix.Stat(target, &stat), step)
			assert.Equal(t, uint32(0o2770), stat.Mode&0o7777, step)
			require.NoError(t, i.Unmount(t.Context(), target), step)
		}
	})
}

// TestDeviceOfALivingContainerIsUsedAgain is the plugin coming back after "docker plugin disable -f": its own mount is
// gone, the container's is not.
func TestDeviceOfALivingContainerIsUsedAgain(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		container := bindElsewhere(t, v, target)
		tree, err := i.Tree(v, target)
		require.NoError(t, err)
		require.NoError(t, unix.Unmount(target, 0))

		detached, err := i.Tree(v, target)
		require.NoError(t, err)
		assert.Equal(t, tree, detached, "the container is still found")
		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.Len(t, devices(t, v), 1)
		require.NoError(t, os.WriteFile(filepath.Join(container, "f"), nil, 0o600))
		assert.FileExists(t, filepath.Join(target, "f"), "one file system")

		assert.ErrorContains(t, i.Unmount(t.Context(), target), "still in use")
		require.NoError(t, unix.Unmount(container, 0))
		require.NoError(t, i.Unmount(t.Context(), target))
	})
}

func TestImagesOfOneNameInTwoStores(t *testing.T) {
	i, v, target := image(t, backend.Ext4)
	mounted(t, i, v, target)
	_, other, elsewhere := image(t, backend.Ext4)
	mounted(t, i, other, elsewhere)
	require.NoError(t, os.WriteFile(filepath.Join(target, "f"), nil, 0o600))
	assert.NoFileExists(t, filepath.Join(elsewhere, "f"))
	require.NoError(t, i.Unmount(t.Context(), target))
	assert.Len(t, devices(t, other), 1)
	require.NoError(t, i.Unmount(t.Context(), elsewhere))
}

func TestImageThatAStrangerAttachedIsRefused(t *testing.T) {
	i, v, target := image(t, backend.Ext4)
	require.NoError(t, i.Provision(t.Context(), v))
	f, err := os.OpenFile(filepath.Join(v.Dir, "image"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	stranger, err := loop.Attach(f, "somebody's")
	require.NoError(t, err)
	assert.ErrorContains(t, i.Mount(t.Context(), v, target), "detach it with losetup -d")
	require.NoError(t, stranger.Close())
	require.NoError(t, i.Mount(t.Context(), v, target))
	require.NoError(t, i.Unmount(t.Context(), target))
}

func TestImageReplacedUnderALivingContainerIsRefused(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		container := bindElsewhere(t, v, target)
		elsewhere := filepath.Join(t.TempDir(), filepath.Base(v.Dir))
		require.NoError(t, os.Rename(v.Dir, elsewhere))
		require.NoError(t, exec.Command("cp", "-r", "--sparse=always", elsewhere, v.Dir).Run())
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "still shows another image of volume es1data: stop the containers")
		require.NoError(t, unix.Unmount(container, 0))
		require.NoError(t, i.Mount(t.Context(), v, target))
	})
}

// TestImageThatWasShutDown mounts after a fence: not before the last process that has the dead file system is gone.
func TestImageThatWasShutDown(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		require.NoError(t, os.WriteFile(filepath.Join(target, "before"), nil, 0o600))
		container := bindElsewhere(t, v, target)
		shutDown := func() {
			require.NoError(t, exec.Command("sync", "-f", target).Run())
			dir, err := os.Open(target)
			require.NoError(t, err)
			defer dir.Close()
			const shutdown, withoutLog = 0x8004587d, 2
			require.NoError(t, unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, withoutLog))
			require.Error(t, os.WriteFile(filepath.Join(target, "after"), nil, 0o600))
		}
		shutDown()
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "was shut down and a process still has it; stop that one")
		assert.NoDirExists(t, target)
		require.NoError(t, unix.Unmount(container, 0))
		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.FileExists(t, filepath.Join(target, "before"))
		shutDown()
		require.NoError(t, i.Mount(t.Context(), v, target), "nobody else has it")
		require.NoError(t, os.WriteFile(filepath.Join(target, "after"), nil, 0o600))
	})
}

// bindElsewhere mounts a volume a second time, as a container has it.
func bindElsewhere(t *testing.T, v backend.Spec, target string) string {
	t.Helper()
	container := filepath.Join(filepath.Dir(v.Dir), "container")
	require.NoError(t, os.Mkdir(container, 0o700))
	require.NoError(t, unix.Mount(target, container, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(container, unix.MNT_DETACH) })
	return container
}

// TestImageAfterAPowerCut mounts a copy of an image that was taken while it was mounted.
func TestImageAfterAPowerCut(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		var acknowledged []string
		for n := range 50 {
			name := filepath.Join(target, fmt.Sprint(n))
			f, err := os.Create(name)
			require.NoError(t, err)
			_, err = f.WriteString(name)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			acknowledged = append(acknowledged, name)
		}
		path := filepath.Join(v.Dir, "image")
		require.NoError(t, exec.Command("cp", "--sparse=always", path, filepath.Join(v.Dir, "cut")).Run())
		require.NoError(t, i.Unmount(t.Context(), target))
		require.NoError(t, os.Rename(filepath.Join(v.Dir, "cut"), path))
		require.NoError(t, i.Mount(t.Context(), v, target))
		for _, name := range acknowledged {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			assert.Equal(t, name, string(data))
		}
		require.NoError(t, i.Unmount(t.Context(), target))
		assertSound(t, v)
	})
}

func TestImageWithErrorsIsCorrectedOrRefused(t *testing.T) {
	i, v, target := image(t, backend.Ext4)
	mounted(t, i, v, target)
	require.NoError(t, i.Unmount(t.Context(), target))
	set := func(request string) {
		said, err := exec.Command("debugfs", "-w", "-R", request, filepath.Join(v.Dir, "image")).CombinedOutput()
		require.NoError(t, err, string(said))
	}
	set("set_super_value state 2")
	set("set_super_value free_blocks_count 5")
	require.NoError(t, i.Mount(t.Context(), v, target), "e2fsck corrects counts by itself")
	require.NoError(t, i.Unmount(t.Context(), target))
	assertSound(t, v)

	set("set_super_value state 2")
	set("clri <2>") // the root directory
	assert.ErrorContains(t, i.Mount(t.Context(), v, target), "the volume's file system must be repaired before it is mounted: e2fsck -p ")
	assert.NoDirExists(t, target)
	assert.Empty(t, devices(t, v))
}

// TestAStrangersDeviceOnADeadStore has a loop device on the machine whose file's store answers no more.
func TestAStrangersDeviceOnADeadStore(t *testing.T) {
	store := mountstest.Store(t, "xfs")
	f, err := os.Create(filepath.Join(store, "image"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(mib))
	stranger, err := loop.Attach(f, "somebody's")
	require.NoError(t, err)
	dir, err := os.Open(store)
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Close(), unix.IoctlSetPointerInt(int(dir.Fd()), 0x8004587d, 2), dir.Close()))
	_, err = loop.Open(stranger.Number())
	require.ErrorIs(t, err, unix.EIO)

	i, v, target := image(t, backend.Ext4)
	mounted(t, i, v, target)
	require.NoError(t, i.Unmount(t.Context(), target))
	require.NoError(t, stranger.Close())
}
