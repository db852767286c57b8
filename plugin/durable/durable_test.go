package durable_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
)

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "", "another one"} {
		require.NoError(t, durable.Write(path, []byte(text)))
		assert.Equal(t, text, content(t, path))
	}
	onlyFile(t, path)
}

func TestCreateDoesNotReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.Create(path, []byte("one")))
	require.ErrorIs(t, durable.Create(path, []byte("two")), fs.ErrExist)
	assert.Equal(t, "one", content(t, path))
	onlyFile(t, path)
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	require.NoError(t, os.MkdirAll(filepath.Join(from, "sub"), 0o700))
	require.NoError(t, durable.Rename(from, to))
	assert.DirExists(t, filepath.Join(to, "sub"))
	assert.NoDirExists(t, from)
}

func TestAFullDiskLeavesTheOldContent(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a small tmpfs takes root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "f")
	require.NoError(t, durable.Write(path, []byte("old")))
	big := bytes.Repeat([]byte("x"), 1<<20)
	require.ErrorIs(t, durable.Write(path, big), unix.ENOSPC)
	require.ErrorIs(t, durable.Create(path+"2", big), unix.ENOSPC)
	assert.Equal(t, "old", content(t, path))
	onlyFile(t, path)
}

// onlyFile checks that no temporary file stayed behind.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, filepath.Base(path), entries[0].Name())
}
