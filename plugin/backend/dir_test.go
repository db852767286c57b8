package backend_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/mounts"
)

func volume(t *testing.T) (backend.Spec, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	target := filepath.Join(dir, "target")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "v"), 0o755))
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	return backend.Spec{Dir: filepath.Join(dir, "v"), UID: 1000, GID: 7, Mode: 0o2770}, target
}

func TestDirMountsWhatItProvisioned(t *testing.T) {
	v, target := volume(t)
	var dir backend.Dir
	ctx := t.Context()
	for range 2 { // each step may come twice
		require.NoError(t, dir.Provision(ctx, v))
	}
	for range 2 {
		require.NoError(t, dir.Mount(ctx, v, target))
	}
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(target, &stat))
	assert.Equal(t, []uint32{1000, 7, 0o2770}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777})
	require.NoError(t, os.WriteFile(filepath.Join(target, "f"), []byte("x"), 0o600))
	assert.FileExists(t, filepath.Join(v.Dir, "data/f"))

	for range 2 {
		require.NoError(t, dir.Unmount(ctx, target))
	}
	assert.NoDirExists(t, target, "a container must not find a directory to write to")
	assert.FileExists(t, filepath.Join(v.Dir, "data/f"))
}

func TestDirDoesNotMountWhatIsGone(t *testing.T) {
	v, target := volume(t)
	var dir backend.Dir
	require.ErrorContains(t, dir.Mount(t.Context(), v, target), "files are gone")
	assert.NoDirExists(t, target)
	assert.NoDirExists(t, filepath.Join(v.Dir, "data"))
}

func TestDirReplacesAnotherMount(t *testing.T) {
	v, target := volume(t)
	var dir backend.Dir
	require.NoError(t, dir.Provision(t.Context(), v))
	require.NoError(t, os.Mkdir(target, 0o700))
	for range 2 {
		require.NoError(t, unix.Mount("tmpfs", target, "tmpfs", 0, ""))
	}
	require.NoError(t, dir.Mount(t.Context(), v, target))
	require.NoError(t, unix.Unmount(target, 0))
	mounted, err := mounts.Mounted(target)
	require.NoError(t, err)
	assert.False(t, mounted, "nothing is left below")
}

func TestDirDoesNotHideStrayFiles(t *testing.T) {
	v, target := volume(t)
	var dir backend.Dir
	require.NoError(t, dir.Provision(t.Context(), v))
	require.NoError(t, os.Mkdir(target, 0o700))
	stray := filepath.Join(target, "stray")
	require.NoError(t, os.WriteFile(stray, nil, 0o600))
	require.ErrorContains(t, dir.Mount(t.Context(), v, target), "written while nothing was mounted there")
	assert.FileExists(t, stray)
	assert.NoError(t, dir.Unmount(t.Context(), target))
}
