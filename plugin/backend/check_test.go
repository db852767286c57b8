package backend_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/backend"
)

// damage makes an image's file system contradict itself, without harm to its content.
func damage(t *testing.T, v backend.Spec) {
	t.Helper()
	path := filepath.Join(v.Dir, "image")
	cmd := exec.Command("debugfs", "-w", "-R", "set_inode_field /data/f links_count 9", path)
	if v.FS == backend.XFS {
		cmd = exec.Command("xfs_db", "-x", "-c", "agi 0", "-c", "write count 12345", path)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestAnImageIsCheckedAndRepaired(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		require.NoError(t, os.WriteFile(filepath.Join(target, "f"), []byte("x"), 0o600))
		_, err := i.Check(t.Context(), v, target, false, nil)
		require.ErrorContains(t, err, "shows the image: a process has volume es1data mounted or its device open")
		require.NoError(t, i.Unmount(t.Context(), target))

		check := func(repair bool) backend.Check {
			var said []string
			found, err := i.Check(t.Context(), v, target, repair, func(text string) { said = append(said, text) })
			require.NoError(t, err)
			assert.NotEmpty(t, said, "it says how far it is")
			assert.Equal(t, v.FS, found.FS)
			return found
		}
		found := check(false)
		assert.True(t, found.Sound && !found.Repaired, "%+v", found)
		damage(t, v)
		for range 2 {
			found = check(false)
			assert.False(t, found.Sound || found.Repaired, "a check changes nothing: %+v", found)
		}
		found = check(true)
		assert.True(t, found.Sound && found.Repaired, "%+v", found)
		found = check(false)
		assert.True(t, found.Sound && !found.Repaired, "%+v", found)
		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.FileExists(t, filepath.Join(target, "f"))

		stopped, stop := context.WithCancel(t.Context())
		stop()
		require.NoError(t, i.Unmount(t.Context(), target))
		_, err = i.Check(stopped, v, target, true, nil)
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// ruin makes an image's file system such that it cannot be mounted before somebody has decided how to repair it, without harm to any file but g.
func ruin(t *testing.T, v backend.Spec) {
	t.Helper()
	path := filepath.Join(v.Dir, "image")
	if v.FS == backend.XFS {
		const agi = 2 * 4096 // the third sector is about inodes
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("ruin"), agi)
		require.NoError(t, errors.Join(err, f.Close()))
		return
	}
	for _, request := range []string{"set_super_value state 2", "set_inode_field /data/g mode 0160000"} {
		out, err := exec.Command("debugfs", "-w", "-R", request, path).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

func TestAMountThatFailsNamesTheOrderThatRepairs(t *testing.T) {
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		for _, name := range []string{"f", "g"} {
			require.NoError(t, os.WriteFile(filepath.Join(target, name), []byte("x"), 0o600))
		}
		require.NoError(t, i.Unmount(t.Context(), target))
		ruin(t, v)
		for range 2 {
			require.ErrorContains(t, i.Mount(t.Context(), v, target), "do it with `mooring volumes fsck es1data --repair`")
			require.NoDirExists(t, target)
			require.Empty(t, devices(t, v), "nothing keeps the image from the repair")
		}
		found, err := i.Check(t.Context(), v, target, true, nil)
		require.NoError(t, err)
		assert.True(t, found.Sound && found.Repaired, "%+v", found)
		require.NoError(t, i.Mount(t.Context(), v, target))
		assert.FileExists(t, filepath.Join(target, "f"))
	})
	t.Run("a repair that takes too long", func(t *testing.T) {
		i, v, target := image(t, backend.Ext4)
		mounted(t, i, v, target)
		require.NoError(t, os.WriteFile(filepath.Join(target, "g"), nil, 0o600))
		require.NoError(t, i.Unmount(t.Context(), target))
		ruin(t, v)
		out, stop := context.WithCancel(t.Context())
		stop() // of time
		err := i.Mount(out, v, target)
		require.ErrorContains(t, err, "e2fsck was stopped, it took too long")
		assert.ErrorContains(t, err, "`mooring volumes fsck es1data --repair`")
	})
}
