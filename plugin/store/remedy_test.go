package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/mounts/mountstest"
	"mooring/plugin/store"
)

func TestMain(m *testing.M) {
	mountstest.Private()
	os.Exit(m.Run())
}

// loopFS is a small ext4 file system on a loop device.
func loopFS(t *testing.T) (dir string, remount func(option string)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 1<<20))
	run(t, "mke2fs", "-q", "-N", "32", image)
	dir = t.TempDir()
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	return dir, func(option string) { run(t, "mount", "-o", "remount,"+option, dir) }
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestAReadOnlyStoreIsRefusedWithTheRemedy(t *testing.T) {
	dir, remount := loopFS(t)
	remount("ro")
	_, err := store.Open(dir, "")
	require.ErrorIs(t, err, unix.EROFS, "a new one cannot be made")
	require.ErrorContains(t, err, "create store in "+dir)
	require.ErrorContains(t, err, "mount it read-write")

	remount("rw")
	s := open(t, dir, "")
	remount("ro")
	for _, err := range []error{s.Check(), second(store.Open(dir, "")), second(store.Open(dir, s.UUID()))} {
		require.EqualError(t, err, "store "+dir+": read-only file system: mount it read-write; "+
			"after an error of the storage the kernel makes it read-only by itself, see dmesg")
	}
	remount("rw")
	require.NoError(t, s.Check())
}

func second[T any](_ T, err error) error { return err }

func TestAFullStoreIsRefusedWithTheRemedy(t *testing.T) {
	dir, _ := loopFS(t)
	for i := 0; ; i++ {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			break
		}
	}
	_, err := store.Open(dir, "")
	require.ErrorContains(t, err, "create store in "+dir)
	require.ErrorContains(t, err, "no space left on device: free space and inodes there (df, df -i), or make it larger")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "0")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "1")))
	_, err = store.Open(dir, "")
	require.Error(t, err, "half of what it takes")
	for i := range 20 {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, fmt.Sprint(i))))
	}
	open(t, dir, "")
}

// asNobody does work as NFS does it for a root that it does not trust.
func asNobody(t *testing.T, work func() error) error {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: becoming nobody takes root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			done <- err
			return
		}
		done <- work()
	}()
	return <-done
}

func TestAStoreWithoutTheRightsIsRefusedWithTheRemedy(t *testing.T) {
	dir := shownToAll(t)
	err := asNobody(t, func() error { return second(store.Open(dir, "")) })
	require.ErrorIs(t, err, unix.EACCES)
	require.ErrorContains(t, err, "create store in "+dir)
	require.ErrorContains(t, err, "let root of this host write there; an NFS export needs no_root_squash")

	s := open(t, dir, "")
	require.NoError(t, os.Chmod(filepath.Join(dir, "mooring"), 0o700))
	err = asNobody(t, s.Check)
	require.ErrorContains(t, err, "read store "+dir)
	require.ErrorContains(t, err, "let root of this host write there")

	require.NoError(t, os.Chmod(dir, 0o700))
	err = asNobody(t, func() error { return second(store.Open(filepath.Join(dir, "below"), "")) })
	require.ErrorContains(t, err, "look for store directory "+dir)
	require.ErrorContains(t, err, "permission denied: let root", "not that it is missing")
}

// shownToAll is a directory of root's that anybody can look into.
func shownToAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		require.NoError(t, os.Chmod(at, 0o755))
	}
	return dir
}

func TestAStoreThatIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := store.Open(file, "")
	assert.ErrorIs(t, err, unix.ENOTDIR)
	assert.ErrorContains(t, err, "set store.source to a directory")
	assert.ErrorContains(t, err, file)
}

func TestExplain(t *testing.T) {
	once := store.Explain(fmt.Errorf("write: %w", unix.ESTALE))
	assert.EqualError(t, once, "write: stale file handle: the server has another file system there now; unmount it on this host and mount it again")
	assert.Equal(t, fmt.Errorf("volume v: %w", once), store.Explain(fmt.Errorf("volume v: %w", once)), "once is enough")
	assert.ErrorIs(t, once, unix.ESTALE)
	other := errors.New("other")
	assert.Equal(t, other, store.Explain(other))
	assert.NoError(t, store.Explain(nil))
}
