package mounts_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

// The tables are as Docker Engine 20.10 leaves them, shortened.
const (
	pluginTable = `60 50 254:0 /var/lib/docker/plugins/77/rootfs / rw - ext4 /dev/vda rw
61 60 254:0 /var/lib /store rw - ext4 /dev/vda rw
62 60 254:0 /var/lib/docker/plugins/77/propagated-mount /mnt/volumes rw shared:3 - ext4 /dev/vda rw
63 62 254:0 /var/lib/mooring/volumes/v/data /mnt/volumes/v rw shared:4 - ext4 /dev/vda rw
`
	engineTable = `27 1 254:0 / / rw - ext4 /dev/vda rw
40 27 254:0 /var/lib/docker/plugins/77/propagated-mount /var/lib/docker/plugins/77/propagated-mount rw shared:3 - ext4 /dev/vda rw
41 40 254:0 /var/lib/mooring/volumes/v/data /var/lib/docker/plugins/77/propagated-mount/v rw shared:4 - ext4 /dev/vda rw
`
	containerTable = `128 67 0:52 / / rw - overlay overlay rw
149 128 254:0 /var/lib/mooring/volumes/v/data /data rw master:4 - ext4 /dev/vda rw
`
)

func TestHolders(t *testing.T) {
	volume := mounts.Volume{Tree: mounts.Tree{Major: 254, Minor: 0, Root: "/var/lib/mooring/volumes/v/data"}, Target: "/mnt/volumes/v"}
	container := func(line string) string { return "128 67 0:52 / / rw - overlay overlay rw\n" + line + "\n" }
	for _, row := range []struct {
		name  string
		table string
		want  string // mount point of the holder
	}{
		{"a container", containerTable, "/data"},
		{"the engine's side of the plugin's mount", engineTable, ""},
		{"a copy of the plugin's own namespace", pluginTable, ""},
		{"the plugin of another engine", strings.ReplaceAll(pluginTable, "/77/", "/88/"), ""},
		{"another root with the volume at the same place", container("149 128 254:0 /var/lib/mooring/volumes/v/data /mnt/volumes/v rw - ext4 /dev/vda rw"), "/mnt/volumes/v"},
		{"a directory of the volume", container("149 128 254:0 /var/lib/mooring/volumes/v/data/sub /data rw - ext4 /dev/vda rw"), "/data"},
		{"a directory that was deleted", container("149 128 254:0 /var/lib/mooring/volumes/v/data/sub//deleted /data rw - ext4 /dev/vda rw"), "/data"},
		{"a mount point with a space", container(`149 128 254:0 /var/lib/mooring/volumes/v/data /my\040data rw - ext4 /dev/vda rw`), "/my data"},
		{"another volume", container("149 128 254:0 /var/lib/mooring/volumes/v2/data /data rw - ext4 /dev/vda rw"), ""},
		{"the same path on another device", container("149 128 254:1 /var/lib/mooring/volumes/v/data /data rw - ext4 /dev/vda rw"), ""},
		{"the host directory around the volumes", container("149 128 254:0 /var/lib /host rw - ext4 /dev/vda rw"), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			proc := fakeProc(t, map[string]string{"self": pluginTable, "7": row.table})
			got, err := mounts.Holders(proc, map[string]mounts.Volume{"v": volume})
			require.NoError(t, err)
			want := map[string][]mounts.Holder{}
			if row.want != "" {
				want["v"] = []mounts.Holder{{PID: 7, Mountpoint: row.want}}
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestHoldersReadsEachViewOnce(t *testing.T) {
	proc := fakeProc(t, map[string]string{"self": pluginTable, "7": containerTable, "8": containerTable, "9": containerTable, "10": containerTable})
	for pid, links := range map[string][2]string{"7": {"mnt:[1]", "/"}, "8": {"mnt:[1]", "/"}, "9": {"mnt:[1]", "/empty"}, "10": {"mnt:[2]", "/"}} {
		require.NoError(t, os.Mkdir(filepath.Join(proc, pid, "ns"), 0o700))
		require.NoError(t, os.Symlink(links[0], filepath.Join(proc, pid, "ns/mnt")))
		require.NoError(t, os.Symlink(links[1], filepath.Join(proc, pid, "root")))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(proc, "11"), 0o700), "a process that ends while we look")
	tree := mounts.Tree{Major: 254, Root: "/var/lib/mooring/volumes/v/data"}
	got, err := mounts.Holders(proc, map[string]mounts.Volume{"v": {Tree: tree, Target: "/mnt/volumes/v"}})
	require.NoError(t, err)
	assert.Len(t, got["v"], 3, "8 sees what 7 sees; 9 sees only a part of it, 10 is another container")
}

func TestHoldersIsAnErrorWhenATableCannotBeUnderstood(t *testing.T) {
	proc := fakeProc(t, map[string]string{"self": pluginTable, "7": "what is this\n"})
	_, err := mounts.Holders(proc, map[string]mounts.Volume{"v": {}})
	assert.ErrorContains(t, err, "process 7", "free must never be guessed")
}

func TestRealMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	data, target, second := filepath.Join(dir, "data"), filepath.Join(dir, "target"), filepath.Join(dir, "second")
	for _, d := range []string{data, target, second} {
		require.NoError(t, os.Mkdir(d, 0o700))
	}
	before, err := mounts.TreeAt(target, data)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(before.Root, data) || before.Root == data)

	bind(t, data, target)
	mounted, err := mounts.Mounted(target)
	require.NoError(t, err)
	assert.True(t, mounted)
	tree, err := mounts.TreeAt(target, "/nowhere")
	require.NoError(t, err)
	assert.Equal(t, before, tree, "what is mounted counts, not the path")

	holders, err := mounts.Holders("/proc", map[string]mounts.Volume{"v": {Tree: tree, Target: target}})
	require.NoError(t, err)
	assert.Empty(t, holders)
	bind(t, data, second)
	holders, err = mounts.Holders("/proc", map[string]mounts.Volume{"v": {Tree: tree, Target: target}})
	require.NoError(t, err)
	require.NotEmpty(t, holders["v"])
	assert.Equal(t, second, holders["v"][0].Mountpoint)
	assert.Contains(t, holders["v"][0].String(), "process "+strconv.Itoa(holders["v"][0].PID))
}

func bind(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, unix.Mount(from, to, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
}

func fakeProc(t *testing.T, tables map[string]string) string {
	t.Helper()
	proc := t.TempDir()
	for pid, table := range tables {
		require.NoError(t, os.Mkdir(filepath.Join(proc, pid), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(table), 0o600))
	}
	return proc
}
