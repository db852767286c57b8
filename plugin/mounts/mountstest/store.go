package mountstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/loop"
)

// storeSize is that of a Store. Only what is written takes space.
const storeSize = 4 << 30

// Reflinking are the file systems of a Store that can share blocks of files.
var Reflinking = []string{"xfs", "btrfs"}

// Store mounts a new file system of its own, "xfs", "btrfs" or "ext4", until the test ends, and returns where.
func Store(t testing.TB, fs string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "store")
	require.NoError(t, os.Mkdir(at, 0o755))
	disk, err := os.Create(filepath.Join(dir, "disk"))
	require.NoError(t, err)
	defer disk.Close()
	require.NoError(t, disk.Truncate(storeSize))
	mkfs := map[string][]string{
		"xfs":   {"mkfs.xfs", "-q", "-s", "size=4096"},
		"ext4":  {"mkfs.ext4", "-q", "-b", "4096"},
		"btrfs": {"mkfs.btrfs", "-q"},
	}[fs]
	said, err := exec.Command(mkfs[0], append(mkfs[1:], disk.Name())...).CombinedOutput()
	require.NoError(t, err, string(said))
	// Not "mount -o loop", which asks every loop device of the machine what it shows.
	device, err := loop.Attach(disk, "store of a test")
	require.NoError(t, err)
	defer device.Close()
	require.NoError(t, unix.Mount(device.Path(), at, fs, 0, ""))
	// Detached, because a test that failed may have left something in it.
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
	return at
}
