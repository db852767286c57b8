package cell_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// processesOf returns the names of the processes in any control group of a host, or with its directory in their command line.
func processesOf(t *testing.T, h *cell.Host) []string {
	return processes(t, strings.TrimSuffix(filepath.Base(h.Namespace), "-"+h.Name)+"/"+h.Name, h.Dir)
}

func processes(t *testing.T, group, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	var found []string
	for _, e := range entries {
		groups, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		boot, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if len(line) == 0 { // a kernel thread, or dead and not yet taken note of
			continue
		}
		if strings.Contains(string(groups), group) || strings.Contains(string(line)+string(boot), dir) {
			name, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

// assertNothingLeft looks for traces of a cell that is down.
func assertNothingLeft(t *testing.T, c *cell.Cell) {
	t.Helper()
	prefix := strings.TrimSuffix(filepath.Base(c.Switch), "-switch")
	for _, h := range c.Hosts {
		removeStrayGroup(t, h.BootID)
	}
	assert.NoDirExists(t, c.Dir)
	assert.Empty(t, processes(t, prefix, c.Dir), "processes")
	namespaces, err := filepath.Glob("/run/netns/" + prefix + "*")
	require.NoError(t, err)
	assert.Empty(t, namespaces, "network namespaces")
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + prefix + "*")
	require.NoError(t, err)
	assert.Empty(t, groups, "control groups")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), c.Dir, "mounts")
	eventually(t, func() bool { return len(loopsOf(t, c.Dir)) == 0 }, "loop devices must be free")
}

// loopsOf returns the files below a directory that loop devices show.
func loopsOf(t *testing.T, dir string) []string {
	t.Helper()
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	var files []string
	for _, device := range devices {
		if file, err := os.ReadFile(device); err == nil && strings.HasPrefix(string(file), dir+"/") {
			files = append(files, string(file))
		}
	}
	return files
}

// removeStrayGroup removes the control group that the stub's lingering process made for itself, outside the cell's own. It
// can only be removed when no process is in it.
func removeStrayGroup(t *testing.T, bootID string) {
	t.Helper()
	group := "/sys/fs/cgroup/freezer/cell-test-" + bootID
	eventually(t, func() bool {
		err := os.Remove(group)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	}, "the process that left its control group must be gone")
}

// activeIn reports whether the master's list of agents has this one as active.
func activeIn(t *testing.T, agents, pid string) bool {
	t.Helper()
	var list struct {
		Slaves []struct {
			PID    string `json:"pid"`
			Active bool   `json:"active"`
		} `json:"slaves"`
	}
	require.NoError(t, json.Unmarshal([]byte(agents), &list))
	for _, agent := range list.Slaves {
		if agent.PID == pid {
			return agent.Active
		}
	}
	return false
}
