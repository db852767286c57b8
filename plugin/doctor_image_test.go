package plugin_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheDoctorKnowsImages breaks one thing of an image after the other.
func TestTheDoctorKnowsImages(t *testing.T) {
	ctx := context.Background()
	h, at := keeper(t, "xfs")
	dir := filepath.Join(h.cfg.StoreDir, "mooring/volumes/v")
	diagnosed := func() []string {
		t.Helper()
		found, err := h.Diagnose(ctx)
		require.NoError(t, err)
		return kinds(found)
	}
	edit := func(name, from, to string) {
		path := filepath.Join(dir, name)
		text := readFile(t, path)
		require.Contains(t, text, from)
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(text, from, to, 1)), 0o600))
	}
	kill := container(t, at)
	require.NoError(t, h.snapshot("v", "s"))
	require.Empty(t, diagnosed())

	edit("volume.json", "400MiB", "500MiB")
	assert.Equal(t, []string{"growth-unfinished v"}, diagnosed())
	edit("volume.json", "500MiB", "400MiB")

	record := readFile(t, filepath.Join(dir, "image.json"))
	edit("image.json", `"uuid":"`, `"uuid":"0`)
	assert.Equal(t, []string{"image-mismatch v"}, diagnosed())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "image.json"), []byte(record), 0o600))

	image := filepath.Join(dir, "image")
	kept, other := filepath.Join(h.cfg.StoreDir, "kept"), filepath.Join(h.cfg.StoreDir, "other")
	require.NoError(t, os.Link(image, kept))
	require.NoError(t, exec.Command("cp", "--reflink=always", image, other).Run())
	require.NoError(t, os.Rename(other, image))
	assert.Equal(t, []string{"device-on-other-file v"}, diagnosed())
	require.NoError(t, os.Rename(kept, image))
	require.Empty(t, diagnosed())

	half := filepath.Join(dir, "snapshots/.half.x")
	require.NoError(t, os.Mkdir(half, 0o700))
	require.Empty(t, diagnosed(), "somebody is at work")
	old := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(half, old, old))
	assert.Equal(t, []string{"half-made-file"}, diagnosed())
	_, err := h.Repair(ctx)
	require.NoError(t, err)
	require.Empty(t, diagnosed())
	assert.DirExists(t, filepath.Join(dir, "snapshots/s"))

	kill()
	file, err := os.Open("/dev/" + filepath.Base(h.get("v").Status["device"].(string)))
	require.NoError(t, err)
	defer file.Close()
	require.Error(t, h.unmountErr("v", "id1"), "somebody has the device open")
	require.NoError(t, os.Rename(dir, filepath.Join(h.cfg.StoreDir, "mooring/trash/v.4711")))
	assert.Contains(t, diagnosed(), "device-on-other-file v")
}
