package cell_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// The last process of a host that ends has the kernel unmount what is mounted there. If that was the file system over the
// store, it had to serve an image's last writes itself, and never ended.
func TestAHostWithAnImageOnAFaultyStoreCanBeKilled(t *testing.T) {
	needRoot(t)
	faults := filepath.Join(t.TempDir(), "faultfs")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", faults, "mooring/test/cmd/faultfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	dir := filepath.Join(t.TempDir(), "cell")
	t.Cleanup(func() { require.NoError(t, cell.Down(context.Background(), dir)) })
	c, err := cell.Up(t.Context(), dir, cell.Options{Faults: faults, Bare: true})
	require.NoError(t, err)
	h := c.Hosts[0]
	const mountImage = `cd "$0" && truncate --size 64M image && mkfs.ext4 -q -F image && mkdir -p /run/image && mount -o loop image /run/image &&
		head --bytes 8M /dev/urandom >/run/image/unflushed
		while true; do dd if=/dev/zero of=busy bs=1M count=64 conv=fsync; done >/run/log 2>&1 &`
	for range 3 {
		mount, err := h.Command(t.Context(), "sh", "-c", mountImage, h.Store())
		require.NoError(t, err)
		said, err := mount.CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.NoError(t, h.Kill(t.Context()))
		require.NoError(t, h.Return(t.Context()))
	}
}
