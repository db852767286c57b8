package backend_test

import (
	"context"
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
