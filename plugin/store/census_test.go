package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/store"
)

func TestCensus(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, "")
	require.NoError(t, err)
	root := filepath.Join(dir, "mooring")
	for _, path := range []string{"volumes/v/", "volumes/bad name/", "volumes/file", "volumes/v/volume.json", "volumes/v/.volume.json.12",
		"volumes/v/draft", "volumes/v/notes", "volumes/v/.nfs0001", "volumes/v/.hidden.12", "hosts/hostA/", "hosts/hostA/heartbeat", "hosts/hostB/",
		"hosts/file", "removed/1234", "removed/.1234.56", "trash/v.1234/", ".store.json.7", "lost+found/"} {
		at := filepath.Join(root, path)
		if path[len(path)-1] == '/' {
			require.NoError(t, os.MkdirAll(at, 0o700))
		} else {
			require.NoError(t, os.WriteFile(at, nil, 0o600))
		}
	}
	c, err := s.Count(func(name string) bool { return name != "bad name" }, func(name string) store.Part {
		return map[string]store.Part{"volume.json": store.Own, "draft": store.Half}[name]
	})
	require.NoError(t, err)
	relative := func(path string) string {
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		return name
	}
	var strays, drafts []string
	for _, path := range c.Strays {
		strays = append(strays, relative(path))
	}
	for _, d := range c.Drafts {
		assert.False(t, d.Written.IsZero())
		drafts = append(drafts, relative(d.Path))
	}
	assert.Equal(t, []string{"v"}, c.Volumes)
	assert.ElementsMatch(t, []string{"lost+found", "hosts/file", "volumes/bad name", "volumes/file", "volumes/v/notes", "volumes/v/.hidden.12"}, strays)
	assert.ElementsMatch(t, []string{".store.json.7", "removed/.1234.56", "volumes/v/.volume.json.12", "volumes/v/draft"}, drafts)
	assert.Len(t, c.Beats, 1)
	assert.Equal(t, 1, c.Trash)
}
