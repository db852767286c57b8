package backend_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/loop"
	"mooring/plugin/mounts"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// eachImage runs a test with an image of each file system; at its end nothing may be left of it.
func eachImage(t *testing.T, test func(t *testing.T, i backend.Image, v backend.Spec, target string)) {
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		t.Run(fs, func(t *testing.T) {
			i, v, target := image(t, fs)
			test(t, i, v, target)
			require.NoError(t, i.Unmount(t.Context(), target))
			assert.Empty(t, devices(t, v), "loop devices are left")
			assert.NoDirExists(t, target)
		})
	}
}

func image(t testing.TB, fs string) (backend.Image, backend.Spec, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	target := filepath.Join(dir, "mnt/es1data")
	v := backend.Spec{Dir: filepath.Join(dir, "es1data"), UID: 1000, GID: 7, Mode: 0o2770,
		Kind: backend.KindImage, FS: fs, Size: 400 * mib}
	require.NoError(t, os.Mkdir(v.Dir, 0o755))
	t.Cleanup(func() {
		for unix.Unmount(target, unix.MNT_DETACH) == nil {
		}
	})
	return backend.Image{Boot: "boot-1"}, v, target
}

func imageOf(v backend.Spec) string { return filepath.Join(v.Dir, backend.ImageName(v.Image)) }

// devices are the loop devices on a volume's image, whoever made them.
func devices(t *testing.T, v backend.Spec) []string {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(imageOf(v), &stat); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	bound, err := loop.Bound()
	require.NoError(t, err)
	var found []string
	for number, path := range bound {
		if filepath.Base(filepath.Dir(path)) != filepath.Base(v.Dir) {
			continue // another's, on a store that may not answer
		}
		device, err := loop.Open(number)
		if errors.Is(err, loop.ErrFree) {
			continue
		}
		require.NoError(t, err)
		if device.Shows(stat) {
			found = append(found, device.Path())
		}
		require.NoError(t, device.Close())
	}
	return found
}

func mounted(t *testing.T, i backend.Image, v backend.Spec, target string) {
	t.Helper()
	require.NoError(t, i.Provision(t.Context(), v))
	require.NoError(t, i.Mount(t.Context(), v, target))
}

func TestImageMountsWhatItProvisioned(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		for range 2 { // each step may come twice
			require.NoError(t, i.Provision(t.Context(), v))
		}
		for range 2 {
			require.NoError(t, i.Mount(t.Context(), v, target))
		}
		var stat unix.Stat_t
		require.NoError(t, unix.Stat(target, &stat))
		assert.Equal(t, []uint32{1000, 7, 0o2770}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777})
		entries, err := os.ReadDir(target)
		require.NoError(t, err)
		assert.Empty(t, entries, "not even lost+found")
		assert.Len(t, devices(t, v), 1)
		tree, err := i.Tree(v, target)
		require.NoError(t, err)
		assert.Equal(t, mounts.Tree{Major: int(unix.Major(stat.Dev)), Minor: int(unix.Minor(stat.Dev)), Root: "/data"}, tree)

		require.NoError(t, os.WriteFile(filepath.Join(target, "f"), []byte("x"), 0o600))
		require.NoError(t, os.Chown(target, 1234, 0))
		for range 2 {
			require.NoError(t, i.Unmount(t.Context(), target))
		}
		assert.NoDirExists(t, target, "a container must not find a directory to write to")
		tree, err = i.Tree(v, target)
		require.NoError(t, err)
		assert.Equal(t, mounts.Tree{Root: "nowhere"}, tree)

		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.FileExists(t, filepath.Join(target, "f"))
		require.NoError(t, unix.Stat(target, &stat))
		assert.EqualValues(t, 1234, stat.Uid, "its owner is the user's to change")
		require.NoError(t, i.Unmount(t.Context(), target))
		assertSound(t, v)
	})
}

// assertSound lets the file system's own checker look at the image.
func assertSound(t *testing.T, v backend.Spec) {
	t.Helper()
	path := imageOf(v)
	cmd := exec.Command("e2fsck", "-f", "-n", path)
	if v.FS == backend.XFS {
		cmd = exec.Command("xfs_repair", "-n", "-f", path)
	}
	said, err := cmd.CombinedOutput()
	assert.NoError(t, err, string(said))
}

func TestImageLimitsItsSize(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		f, err := os.Create(filepath.Join(target, "big"))
		require.NoError(t, err)
		defer f.Close()
		block := make([]byte, mib)
		written := 0
		for err == nil && written < 2*400 {
			if _, err = f.Write(block); err == nil {
				written++
			}
		}
		assert.ErrorIs(t, err, unix.ENOSPC)
		assert.Greater(t, written, 250)
		assert.Less(t, written, 400)
	})
}

func TestImageFreesSpaceOfDeletedFiles(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		used := func() int64 {
			require.NoError(t, exec.Command("sync", "-f", target).Run())
			var stat unix.Stat_t
			require.NoError(t, unix.Stat(filepath.Join(v.Dir, "image"), &stat))
			return stat.Blocks * 512
		}
		before := used()
		file := filepath.Join(target, "f")
		require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("x"), 64*mib), 0o600))
		require.Greater(t, used(), before+60*mib)
		require.NoError(t, os.Remove(file))
		require.Eventually(t, func() bool { return used() < before+16*mib }, time.Minute, 50*time.Millisecond)
	})
}

func TestImageOfAnotherUUIDIsRefused(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		require.NoError(t, i.Provision(t.Context(), v))
		_, other, _ := image(t, v.FS)
		require.NoError(t, i.Provision(t.Context(), other))
		require.NoError(t, os.Rename(filepath.Join(other.Dir, "image"), filepath.Join(v.Dir, "image")))
		before := content(t, v)
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "is another image: it holds "+v.FS)
		assert.ErrorContains(t, i.Provision(t.Context(), v), "is another image")
		assert.Equal(t, before, content(t, v))
	})
}

// content is the beginning of an image.
func content(t *testing.T, v backend.Spec) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(v.Dir, "image"))
	require.NoError(t, err)
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 8*mib))
	require.NoError(t, err)
	return data
}

func TestForeignContentIsNeverFormatted(t *testing.T) {
	foreign := append(make([]byte, mib), "somebody's data"...)
	t.Run("without a record", func(t *testing.T) {
		i, v, target := image(t, backend.Ext4)
		require.NoError(t, os.WriteFile(filepath.Join(v.Dir, "image"), foreign, 0o600))
		assert.ErrorContains(t, i.Provision(t.Context(), v), "was not made by this driver: it is not formatted")
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "files are gone")
		assert.Equal(t, foreign, content(t, v))
	})
	t.Run("in the place of the image", func(t *testing.T) {
		i, v, target := image(t, backend.Ext4)
		require.NoError(t, i.Provision(t.Context(), v))
		for _, bytes := range [][]byte{foreign, {}, make([]byte, 4*mib)} {
			require.NoError(t, os.WriteFile(filepath.Join(v.Dir, "image"), bytes, 0o600))
			assert.ErrorContains(t, i.Provision(t.Context(), v), "holds no ext4 file system")
			assert.ErrorContains(t, i.Mount(t.Context(), v, target), "holds no ext4 file system")
			assert.Equal(t, bytes, content(t, v))
		}
	})
	t.Run("an image that was cut off", func(t *testing.T) {
		i, v, target := image(t, backend.Ext4)
		require.NoError(t, i.Provision(t.Context(), v))
		require.NoError(t, os.Truncate(filepath.Join(v.Dir, "image"), v.Size/2))
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "was cut off: it has 209715200 bytes, expected 419430400")
	})
	t.Run("an image that is gone", func(t *testing.T) {
		i, v, target := image(t, backend.Ext4)
		require.NoError(t, i.Provision(t.Context(), v))
		require.NoError(t, os.Remove(filepath.Join(v.Dir, "image")))
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), "the volume's image is gone: put")
		assert.NoFileExists(t, filepath.Join(v.Dir, "image"))
	})
}

func TestRecordThatCannotBeTrusted(t *testing.T) {
	for text, want := range map[string]string{
		`{"format":2,"fs":"zfs"}`: "has format 2, this plugin knows format 1: use the newer plugin",
		`{"format":1`:             "is unreadable: restore it",
		`{"format":1,"fs":"vfat","uuid":"x","size":5}`: "is unreadable: restore it",
	} {
		i, v, target := image(t, backend.Ext4)
		require.NoError(t, i.Provision(t.Context(), v))
		require.NoError(t, os.WriteFile(filepath.Join(v.Dir, "image.json"), []byte(text), 0o600))
		assert.ErrorContains(t, i.Mount(t.Context(), v, target), want)
		assert.ErrorContains(t, i.Provision(t.Context(), v), want)
	}
}

func TestImageGrows(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		size := func() int64 {
			var stat unix.Statfs_t
			require.NoError(t, unix.Statfs(target, &stat))
			return int64(stat.Blocks) * stat.Bsize
		}
		f, err := os.Create(filepath.Join(target, "open"))
		require.NoError(t, err)
		v.Size = gib
		err = i.Grow(v, target)
		_, writeErr := f.WriteString("x")
		require.NoError(t, errors.Join(writeErr, f.Close()), "a writer goes on")
		later := errors.Is(err, backend.ErrGrowsLater)
		if later { // ext4 without CAP_SYS_RESOURCE
			require.Equal(t, backend.Ext4, v.FS)
			assert.Less(t, size(), int64(v.Size))
			require.NoError(t, i.Unmount(t.Context(), target))
			require.NoError(t, i.Mount(t.Context(), v, target))
		} else {
			require.NoError(t, err)
		}
		assert.Greater(t, size(), int64(800*mib))
		assert.FileExists(t, filepath.Join(target, "open"))
		smaller := v
		smaller.Size = mib
		assert.ErrorContains(t, i.Grow(smaller, target), "it can grow, not shrink")

		require.NoError(t, i.Unmount(t.Context(), target))
		v.Size = 2 * gib
		require.ErrorIs(t, i.Grow(v, target), backend.ErrGrowsLater, "not mounted")
		require.NoError(t, os.Truncate(filepath.Join(v.Dir, "image"), gib), "a crash before the file was extended")
		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.Greater(t, size(), int64(1700*mib))

		v.Size = 3 * gib // a crash right after the new size was recorded for the volume, while it is mounted
		require.NoError(t, i.Mount(t.Context(), v, target))
		if !later {
			assert.Greater(t, size(), int64(2600*mib))
		}
		require.NoError(t, i.Unmount(t.Context(), target))
		assertSound(t, v)
	})
}

func TestImagesThatCannotBe(t *testing.T) {
	assert.EqualError(t, backend.CheckImage("zfs", gib), `file system "zfs" is unknown: use ext4 or xfs`)
	assert.EqualError(t, backend.CheckImage(backend.XFS, 100*mib), "size of 104857600 bytes is too small for xfs: use at least 300m")
	assert.NoError(t, backend.CheckImage(backend.Ext4, 16*mib))
	i, v, target := image(t, backend.Ext4)
	v.Size = 16 * mib
	mounted(t, i, v, target)
	require.NoError(t, i.Unmount(t.Context(), target))
}
