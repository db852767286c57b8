package cell_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

func TestCellRefusesBadInput(t *testing.T) {
	needRoot(t)
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "letter"), nil, 0o600))
	rows := []struct {
		name    string
		dir     string
		options cell.Options
		want    string
	}{
		{"too many hosts", "x", cell.Options{Hosts: 251}, "251 hosts: a cell has 1 to 250"},
		{"negative", "x", cell.Options{Hosts: -1}, "-1 hosts: a cell has 1 to 250"},
		{"no image", "x", cell.Options{Images: []string{"/nowhere/image.tar"}}, "/nowhere/image.tar is missing; test/prepare makes"},
		{"no plugin", "x", cell.Options{Plugin: "/nowhere"}, "/nowhere/config.json is missing"},
		{"no Mesos", "x", cell.Options{Mesos: "/nowhere"}, "/nowhere/mesos-agent is missing; test/prepare makes"},
		{"no such file system", "x", cell.Options{StoreFS: "fat"}, `file system "fat" of the store: use ext4 or xfs`},
		{"directory in use", full, cell.Options{}, full + " is not empty; bring the cell in it down first"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := cell.Up(t.Context(), row.dir, row.options)
			require.ErrorContains(t, err, row.want)
		})
	}
}

func TestCellIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := cell.Load(dir)
	require.ErrorContains(t, err, "there is no cell in "+dir)
	_, err = (&cell.Cell{}).Host(1)
	require.ErrorContains(t, err, "there is no host 1")
}

func TestCellDownSparesWhatIsNotItsOwn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "store"), 0o755))
	require.NoError(t, cell.Down(t.Context(), dir))
	assert.DirExists(t, filepath.Join(dir, "store"))
}

func TestCellDownClearsHalfMadeCell(t *testing.T) {
	needRoot(t)
	plugin := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(plugin, "rootfs"), 0o755))
	copyFile(t, "testdata/config.json", filepath.Join(plugin, "config.json"))
	dir := filepath.Join(t.TempDir(), "cell")
	_, err := cell.Up(t.Context(), dir, cell.Options{Hosts: 2, Plugin: plugin})
	require.ErrorContains(t, err, "docker.log ends with:", "a plugin without its program cannot be enabled")
	made, err := cell.Load(dir)
	require.NoError(t, err)
	require.NoError(t, cell.Down(t.Context(), dir))
	assertNothingLeft(t, made)
	require.NoError(t, cell.Down(t.Context(), dir))
}

// A guard was killed with its host, whose name its plugin had made up, and so was the engine of that plugin.
func TestCellDownRemovesStrayControlGroups(t *testing.T) {
	needRoot(t)
	dir, plugin, host := t.TempDir(), strings.Repeat("0123456789abcdef", 4), fmt.Sprintf("host1-test%d", os.Getpid())
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "host1", "docker", "plugins", plugin), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "host1", "state", "mooring-host"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "host1", "state", "mooring-host", "host.json"), []byte(`{"format":1,"host":"`+host+`"}`), 0o600))
	var strays []string
	for _, name := range []string{plugin, "mooring-guard-" + host} {
		group := filepath.Join("/sys/fs/cgroup/freezer", name)
		require.NoError(t, os.Mkdir(group, 0o755))
		t.Cleanup(func() { _ = os.Remove(group) })
		strays = append(strays, group)
	}
	require.NoError(t, cell.Down(t.Context(), dir))
	for _, group := range strays {
		assert.NoDirExists(t, group)
	}
}
