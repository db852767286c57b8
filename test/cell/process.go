package cell

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// start starts a program on the host, in the background; its output goes to the log of that name.
func (h *Host) start(ctx context.Context, log string, args ...string) error {
	return h.startIn(ctx, h.runGroup(), log, args...)
}

// startIn starts a program in a control group of the host's.
func (h *Host) startIn(ctx context.Context, group, log string, args ...string) error {
	groups, err := makeGroups(group)
	if err != nil {
		return err
	}
	enter, err := h.enter()
	if err != nil {
		return err
	}
	return detach(ctx, groups, h.Log(log), enter, args...)
}

// joinAndRun enters the control groups named before --, opens the log and becomes the command after it.
const joinAndRun = `
log=$1; shift
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift
exec "$@" </dev/null >>"$log" 2>&1`

// detach starts a program in control groups and in the namespaces that enter leads to, independent of this process, which
// may end before it. The program sees nothing of our environment: executors would inherit it.
func detach(ctx context.Context, groups []string, log string, enter []string, args ...string) error {
	line := slices.Concat([]string{"-ec", joinAndRun, "detach", log}, groups, []string{"--"}, enter, []string{"setsid", "--fork"}, args)
	cmd := exec.CommandContext(ctx, "bash", line...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GLOG_logtostderr=1",
	}
	if _, err := collect(ctx, cmd); err != nil {
		return withLog(err, log)
	}
	return nil
}

// killAll ends every process in a control group or in one of the network namespaces, and returns when all of them are gone.
// A frozen group is thawed after its processes got the signal, so none of them runs again. The file systems of stores end first.
func killAll(ctx context.Context, group string, namespaces ...string) error {
	if err := endStores(ctx, group); err != nil {
		return err
	}
	return await(ctx, "processes to end", func(ctx context.Context) error {
		victims, err := groupMembers(freezerGroup(group))
		if err != nil {
			return err
		}
		visitors, err := inNamespaces(namespaces)
		if err != nil {
			return err
		}
		maps.Copy(victims, visitors)
		for pid := range victims {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if err := thawBelow(ctx, freezerGroup(group)); err != nil {
			return err
		}
		if len(victims) > 0 {
			return fmt.Errorf("still there: %s", describe(victims))
		}
		return nil
	})
}

// endStores ends the file systems over stores in a control group, while what runs on their hosts is still there, and frozen if it
// was before. The last process of a host to end has the kernel unmount the images there; were it the one that serves them, it
// would wait for itself for ever.
func endStores(ctx context.Context, group string) error {
	return await(ctx, "stores to end", func(ctx context.Context) error {
		groups, err := subgroups(freezerGroup(group))
		if err != nil {
			return err
		}
		left := map[int]bool{}
		for _, g := range groups {
			if filepath.Base(g) != storePart {
				continue
			}
			servers, err := groupMembers(g)
			if err != nil {
				return err
			}
			for pid := range servers {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("kill process %d: %w", pid, err)
				}
			}
			maps.Copy(left, servers)
			for _, frozen := range []string{filepath.Dir(g), g} { // not what runs on the host: that has been frozen by itself
				if err := letGo(frozen); err != nil {
					return err
				}
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("still there: %s", describe(left))
		}
		return nil
	})
}

// letGo thaws a control group, if it is frozen, without waiting until it is.
func letGo(group string) error {
	if !isFrozen(group) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(group, "freezer.state"), []byte("THAWED"), 0o644); err != nil {
		return fmt.Errorf("thaw control group: %w", err)
	}
	return nil
}

// awaitEnd waits until a process has ended.
func awaitEnd(ctx context.Context, what string, pid int) error {
	return await(ctx, "the end of "+what, func(context.Context) error {
		if namespacePIDs(pid) != nil {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}

func thawBelow(ctx context.Context, group string) error {
	groups, err := subgroups(group)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := letGo(g); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func describe(pids map[int]bool) string {
	var lines []string
	for _, pid := range slices.Sorted(maps.Keys(pids)) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue
		}
		lines = append(lines, fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(string(comm))))
	}
	return strings.Join(lines, ", ")
}
