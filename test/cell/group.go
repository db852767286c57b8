package cell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const groupRoot = "/sys/fs/cgroup"

// hierarchies returns the mount points of all control group hierarchies: those of version 1, and the unified one if mounted.
func hierarchies() ([]string, error) {
	entries, err := os.ReadDir(groupRoot)
	if err != nil {
		return nil, fmt.Errorf("list control groups: %w", err)
	}
	var found []string
	for _, e := range entries { // a symbolic link is a second name of a hierarchy
		dir := filepath.Join(groupRoot, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && e.Type()&fs.ModeSymlink == 0 {
			found = append(found, dir)
		}
	}
	return found, nil
}

// makeGroups makes the control group name (such as prefix/host1) in every hierarchy and returns all of them. A Docker
// engine puts its containers below the one, a managed plugin ends up below whichever its engine is in.
func makeGroups(name string) ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, root := range roots {
		group := root
		for part := range strings.SplitSeq(name, "/") {
			parent := group
			group = filepath.Join(parent, part)
			if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, fmt.Errorf("make control group: %w", err)
			}
			if err := inheritCPUs(parent, group); err != nil {
				return nil, err
			}
		}
		groups = append(groups, group)
	}
	return groups, nil
}

// inheritCPUs copies what a group of the cpuset hierarchy must have before a process may enter it.
func inheritCPUs(parent, group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(group, file), content, 0o644)
		}
		if err != nil {
			return fmt.Errorf("set up control group: %w", err)
		}
	}
	return nil
}

// removeGroups removes the control group name with those below it from every hierarchy. They must be empty of processes.
// A group can be busy for a moment after its last process has ended.
func removeGroups(ctx context.Context, name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	return await(ctx, "control groups to be free", func(context.Context) error {
		var problems []error
		for _, root := range roots {
			problems = append(problems, removeTree(filepath.Join(root, name)))
		}
		return errors.Join(problems...)
	})
}

// removeStrays removes the empty groups that the plugins of hosts and their guards have outside of the hosts' own. A guard of another
// cell's host with the same name keeps a group in use.
func removeStrays(hostDirs ...string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range hostDirs {
		for _, name := range strays(dir) {
			for _, root := range roots {
				err := unix.Rmdir(filepath.Join(root, name))
				if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
					return fmt.Errorf("remove stray control group: %w", err)
				}
			}
		}
	}
	return nil
}

// strays are the names of those groups: in the unified hierarchy Docker 20.10 runs a plugin below no parent, in a group by its ID, which
// an engine that was killed leaves, and a guard makes its own group beside that one. A plugin without HOST made up the host's name.
func strays(hostDir string) []string {
	names := []string{"mooring-guard-" + filepath.Base(hostDir)}
	var made struct{ Host string }
	content, err := os.ReadFile(filepath.Join(hostDir, "state", "mooring-host", "host.json"))
	if err == nil && json.Unmarshal(content, &made) == nil && made.Host != "" {
		names = append(names, "mooring-guard-"+made.Host)
	}
	plugins, err := filepath.Glob(filepath.Join(hostDir, "docker", "plugins", strings.Repeat("[0-9a-f]", 64)))
	if err != nil {
		return names
	}
	for _, plugin := range plugins {
		names = append(names, filepath.Base(plugin))
	}
	return names
}

// removeTree removes a control group after those below it. The files in it go with it, they cannot be removed.
func removeTree(group string) error {
	below, err := subgroups(group)
	if err != nil {
		return err
	}
	for i := len(below) - 1; i >= 0; i-- {
		if err := unix.Rmdir(below[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove control group %s: %w", below[i], err)
		}
	}
	return nil
}

// subgroups returns a group and all below it, parents first; a group that is not there has none.
func subgroups(group string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an engine removes groups while we look
		}
		if err == nil && e.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list control groups: %w", err)
	}
	return found, nil
}

// groupMembers returns the processes in a control group and those below it.
func groupMembers(group string) (map[int]bool, error) {
	groups, err := subgroups(group)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, g := range groups {
		content, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
		if err != nil {
			continue // removed meanwhile, hence empty
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids[pid] = true
			}
		}
	}
	return pids, nil
}

// inNamespaces returns the processes in any of these network namespaces, except this one: its threads visit them.
func inNamespaces(paths []string) (map[int]bool, error) {
	wanted := map[uint64]bool{}
	for _, path := range paths {
		if inode, err := inodeOf(path); err == nil {
			wanted[inode] = true
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	pids := map[int]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if inode, err := inodeOf("/proc/" + e.Name() + "/ns/net"); err == nil && wanted[inode] {
			pids[pid] = true
		}
	}
	return pids, nil
}

func inodeOf(path string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, err
	}
	return s.Ino, nil
}

// freeze stops everything in a group of the freezer hierarchy and returns when all of it stands still.
func freeze(ctx context.Context, group string) error { return setFreezer(ctx, group, "FROZEN") }

func thaw(ctx context.Context, group string) error { return setFreezer(ctx, group, "THAWED") }

func setFreezer(ctx context.Context, group, state string) error {
	file := filepath.Join(group, "freezer.state")
	return await(ctx, group+" to be "+state, func(context.Context) error {
		// Written each time: a process forked during an attempt can keep it from completing.
		if err := os.WriteFile(file, []byte(state), 0o644); err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(content)); got != state {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// freezerGroup is where a control group lies in the hierarchy that can stop it.
func freezerGroup(name string) string { return filepath.Join(groupRoot, "freezer", name) }

// isFrozen reports whether a group of the freezer hierarchy is stopped.
func isFrozen(group string) bool {
	content, err := os.ReadFile(filepath.Join(group, "freezer.state"))
	return err == nil && strings.TrimSpace(string(content)) == "FROZEN"
}
