package mountstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// storeSize is that of a Store. Only what is written takes space.
const storeSize = 4 << 30

// Store mounts a new file system of its own, "xfs" (which can share blocks of files) or "ext4" (which can't), until the test
// ends, and returns where.
func Store(t testing.TB, fs string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	dir := t.TempDir()
	disk, at := filepath.Join(dir, "disk"), filepath.Join(dir, "store")
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, storeSize))
	require.NoError(t, os.Mkdir(at, 0o755))
	for _, command := range [][]string{{"mkfs." + fs, "-q", disk}, {"mount", "-o", "loop", disk, at}} {
		said, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.NoError(t, err, string(said))
	}
	// Detached, because a test that failed may have left something in it.
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
	return at
}
