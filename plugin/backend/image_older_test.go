package backend

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A host stalls between its mount and the removal of older images, until the volume has been removed and made again.
func TestOlderImagesOfAVolumeMadeAnewAreNotRemoved(t *testing.T) {
	v := Spec{Dir: filepath.Join(t.TempDir(), "v"), Image: 6}
	trash := v.Dir + ".trash"
	put := func(names ...string) {
		require.NoError(t, os.Mkdir(v.Dir, 0o755))
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(v.Dir, name), nil, 0o600))
		}
	}
	put("image", "image.2", "image.6", "image.7", "image.json", "image.new.1", "volume.json")
	dir, err := os.OpenRoot(v.Dir)
	require.NoError(t, err)
	defer dir.Close()
	require.NoError(t, os.Rename(v.Dir, trash))
	put("image", "image.2")

	Image{}.removeOlder(dir, v)
	for in, want := range map[string][]string{v.Dir: {"image", "image.2"}, trash: {"image.6", "image.7", "image.json", "image.new.1", "volume.json"}} {
		var left []string
		entries, err := os.ReadDir(in)
		require.NoError(t, err)
		for _, e := range entries {
			left = append(left, e.Name())
		}
		assert.Equal(t, want, left, in)
	}
}
