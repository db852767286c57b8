package guard_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// service is the control groups of one service: one in each hierarchy of version 1, as systemd and the Mesos agent have it.
type service struct {
	t      testing.TB
	groups []string
}

func newService(t testing.TB) service {
	t.Helper()
	roots, err := filepath.Glob("/sys/fs/cgroup/*/tasks") // a file of version 1 only
	require.NoError(t, err)
	s := service{t: t}
	for _, root := range roots {
		if strings.Contains(root, "cpuset") {
			continue // takes nobody before it is told of processors
		}
		group, err := os.MkdirTemp(filepath.Dir(root), "mooring-test-*")
		require.NoError(t, err)
		s.groups = append(s.groups, group)
	}
	require.NotEmpty(t, s.groups, "control groups of version 1 (test/prepare --only docker mounts them)")
	t.Cleanup(s.end)
	return s
}

// command is one that runs in the service's groups from its beginning.
func (s service) command(words ...string) *exec.Cmd {
	script := `n=$1; shift; while [ $n -gt 0 ]; do echo $$ >"$1/cgroup.procs"; shift; n=$((n-1)); done; exec "$@"`
	args := append([]string{"-ec", script, "sh", strconv.Itoa(len(s.groups))}, s.groups...)
	return exec.Command("sh", append(args, words...)...)
}

// members are the processes in any of the groups.
func (s service) members() []int {
	var pids []int
	for _, group := range s.groups {
		list, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		require.NoError(s.t, err)
		for _, field := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(field)
			require.NoError(s.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends every process in any of the groups, as systemd does at its default KillMode=control-group when its patience is at
// an end, and the Mesos agent with a task.
func (s service) kill() {
	require.Eventually(s.t, func() bool {
		members := s.members()
		for _, pid := range members {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(members) == 0
	}, patience, 5*time.Millisecond)
}

func (s service) end() {
	s.kill()
	for _, group := range s.groups {
		require.NoError(s.t, os.Remove(group))
	}
}
