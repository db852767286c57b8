package backend_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/backend"
	"mooring/plugin/mounts/mountstest"
)

func TestReflinks(t *testing.T) {
	for fs, want := range map[string]bool{"xfs": true, "btrfs": true, "ext4": false} {
		dir := filepath.Join(mountstest.Store(t, fs), "v")
		require.NoError(t, os.Mkdir(dir, 0o755))
		can, err := backend.Reflinks(dir)
		require.NoError(t, err, fs)
		assert.Equal(t, want, can, fs)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left, fs)
	}
	_, err := backend.Reflinks(filepath.Join(t.TempDir(), "gone"))
	assert.ErrorContains(t, err, "try to share blocks")
}
