package test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// operate gives a host's volume driver an order and returns what it says, also if that is an error.
func operate(ctx context.Context, h *cell.Host, order ...string) (string, error) {
	args := append([]string{"volumes", "--state-dir", filepath.Join(h.Dir, "state")}, order...)
	out, err := exec.CommandContext(ctx, "../build/mooring", args...).CombinedOutput()
	return string(out), err
}

func ordered(t *testing.T, h *cell.Host, order ...string) string {
	t.Helper()
	out, err := operate(within(t), h, order...)
	require.NoError(t, err, "%v: %s", order, out)
	return out
}

// An operator makes a volume larger, keeps and copies what it was, checks it, removes it by mistake and brings it back, and
// empties a host for maintenance. All the while, or as far as that can be, its writer goes on. (xfs, which grows under its
// writers everywhere; ext4 takes a right for that which not every machine can give.)
func TestStoryAnOperatorCaresForVolumes(t *testing.T) {
	h := imageCell(t).Hosts[1]
	t.Cleanup(func() { // after a success there is nothing left to do
		ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
		defer cancel()
		_, _ = operate(ctx, h, "drain", "--undo")
		_, _ = h.Docker(ctx, "rm", "-f", "writer")
	})
	docker(t, h, "volume", "create", "-d", cell.PluginName, "-o", "backend=image", "-o", "fs=xfs", "-o", "size=400m", "caredata")
	docker(t, h, shell("caredata", appendNumbers, "--detach", "--name", "writer")...)
	written := func(volume string) int {
		n, err := strconv.Atoi(strings.TrimSpace(docker(t, h, shell(volume, inOrder, "--rm")...)))
		require.NoError(t, err)
		return n
	}
	room := func() int {
		lines := strings.Fields(docker(t, h, "exec", "writer", "df", "--output=size", "-BM", "/data"))
		n, err := strconv.Atoi(strings.TrimSuffix(lines[len(lines)-1], "M"))
		require.NoError(t, err)
		return n
	}
	assert.Less(t, room(), 400)
	assert.Equal(t, "grown caredata from 400MiB to 800MiB\n", ordered(t, h, "grow", "caredata", "800m"), "at once")
	assert.Greater(t, room(), 600)

	ordered(t, h, "snapshot", "caredata", "monday")
	before := written("caredata")
	ordered(t, h, "clone", "caredata@monday", "oldcaredata")
	docker(t, h, "volume", "create", "-d", cell.PluginName, "-o", "from=caredata", "newcaredata")
	assert.LessOrEqual(t, written("oldcaredata"), before)
	assert.GreaterOrEqual(t, written("newcaredata"), before)
	await(t, "the writer to go on", func() error {
		_, err := h.Docker(within(t), "exec", "writer", "bash", "-c", "test $(wc -l </data/log) -gt "+strconv.Itoa(written("newcaredata")))
		return err
	})

	assert.Contains(t, ordered(t, h, "drain"), "caredata")
	_, err := h.Docker(within(t), shell("oldcaredata", "true", "--rm")...)
	require.ErrorContains(t, err, "is drained since")
	out, err := operate(within(t), h, "fsck", "caredata")
	require.Error(t, err)
	assert.Contains(t, out, "volume caredata is in use on this host: stop its containers first")
	docker(t, h, "rm", "-f", "writer")
	assert.Contains(t, ordered(t, h, "drain"), "nothing is held here")
	assert.Contains(t, ordered(t, h, "fsck", "caredata"), "the xfs of caredata is in order")
	ordered(t, h, "drain", "--undo")

	kept := written("caredata")
	assert.Contains(t, ordered(t, h, "rm", "caredata"), "it comes back with: mooring volumes restore caredata")
	assert.NotContains(t, docker(t, h, "volume", "ls", "--quiet"), "\ncaredata")
	assert.Contains(t, ordered(t, h, "trash"), "caredata")
	ordered(t, h, "restore", "caredata")
	assert.Equal(t, kept, written("caredata"))
	assert.Contains(t, ordered(t, h, "snapshots", "caredata"), "caredata@monday", "with its snapshots")

	docker(t, h, "create", "--name", "asker", "--network", "none", "-v", "newcaredata:/data", elasticsearch8)
	ordered(t, h, "rm", "--now", "newcaredata")
	out, _ = operate(within(t), h, "doctor", "--docker-host", h.Engine, "--volume-driver", cell.PluginName)
	assert.Contains(t, out, "volume newcaredata: container-without-volume\n  what: Docker's container asker wants it")
	assert.NotContains(t, out, "volume caredata:")
	docker(t, h, "rm", "asker")
	for _, name := range []string{"caredata", "oldcaredata"} {
		ordered(t, h, "rm", "--now", name)
	}
}
