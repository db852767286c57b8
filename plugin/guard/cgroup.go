package guard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// hierarchy is one of the kernel's control group trees and this process's place in it.
type hierarchy struct {
	controllers string // "cpu,cpuacct", "name=systemd"; "" is the unified one
	path        string
}

// hierarchies reads the lines of /proc/self/cgroup, "ID:CONTROLLERS:PATH".
func hierarchies(table []byte) ([]hierarchy, error) {
	var found []hierarchy
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("control group %q is not of the form ID:CONTROLLERS:PATH", lines.Text())
		}
		found = append(found, hierarchy{fields[1], fields[2]})
	}
	return found, lines.Err()
}

// beside is the group that the guard of a host makes for itself: next to the one it was started in, so
// that it belongs to the same part of the machine, but not to what is killed with the plugin. A Mesos agent that starts kills
// what it finds in a group of its own and does not know, so there it is next to the agent's.
func (h hierarchy) beside(host string) string {
	name := "mooring-guard-" + host
	if filepath.Base(h.path) == name {
		return h.path
	}
	if above, _, inside := strings.Cut(filepath.Dir(h.path)+"/", "/mesos/"); inside {
		return filepath.Join("/", above, name)
	}
	return filepath.Join(filepath.Dir(h.path), name)
}

// moveOut puts this process into control groups of its own in every hierarchy. An engine or an init
// system that ends the plugin kills all processes in the plugin's groups.
func moveOut(host string) error {
	own, _ := os.Readlink("/proc/self/ns/cgroup")
	if hosts, err := os.Readlink("/proc/1/ns/cgroup"); err == nil && own != hosts {
		return errors.New("the plugin runs in a control group namespace of its own")
	}
	all, trees, err := controlGroups()
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range all {
		group := h.beside(host)
		if group == h.path {
			continue // the guard that this one replaces has made them
		}
		tree := treeOf(trees, h)
		switch {
		case tree == "" && h.path == "/":
			continue // not in use on this machine
		case tree == "":
			failed = append(failed, fmt.Errorf("control group hierarchy %q is not mounted here", h.controllers))
		default:
			failed = append(failed, enter(tree, group))
		}
	}
	return errors.Join(failed...)
}

// removeGroups removes the empty control groups of a guard that has ended. What is in use stays.
func removeGroups(host string) {
	all, trees, err := controlGroups()
	if err != nil {
		return
	}
	for _, h := range all {
		if tree := treeOf(trees, h); tree != "" {
			_ = os.Remove(filepath.Join(tree, h.beside(host)))
		}
	}
}

// controlGroups are this process's control groups, and all mounts of control group trees.
func controlGroups() ([]hierarchy, []*mountinfo.Info, error) {
	table, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, nil, fmt.Errorf("read own control groups: %w", err)
	}
	all, err := hierarchies(table)
	if err != nil {
		return nil, nil, err
	}
	trees, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, nil, fmt.Errorf("read mount table: %w", err)
	}
	return all, trees, nil
}

// treeOf is where a hierarchy is mounted, whole and writable; "" if it is not.
func treeOf(trees []*mountinfo.Info, h hierarchy) string {
	for _, m := range trees {
		unified := m.FSType == "cgroup2" && h.controllers == ""
		version1 := m.FSType == "cgroup" && h.controllers != "" && sameControllers(m.VFSOptions, h.controllers)
		if m.Root == "/" && (unified || version1) && !strings.HasPrefix(m.Options, "ro") {
			return m.Mountpoint
		}
	}
	return ""
}

func sameControllers(options, controllers string) bool {
	have := "," + options + ","
	for _, c := range strings.Split(controllers, ",") {
		if !strings.Contains(have, ","+c+",") {
			return false
		}
	}
	return true
}

// enter makes a group below a mounted tree and moves this process into it.
func enter(tree, group string) error {
	dir := filepath.Join(tree, group)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make control group: %w", err)
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // a new cpuset group of version 1 has neither
		if err := inherit(filepath.Dir(dir), dir, file); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter control group: %w", err)
	}
	return nil
}

func inherit(parent, dir, file string) error {
	mine, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(mine)) > 0 {
		return nil
	}
	theirs, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return fmt.Errorf("inherit control group setting: %w", err)
	}
	if len(bytes.TrimSpace(theirs)) == 0 {
		return nil // the unified hierarchy, where empty means the parent's
	}
	if err := os.WriteFile(filepath.Join(dir, file), theirs, 0); err != nil {
		return fmt.Errorf("inherit control group setting: %w", err)
	}
	return nil
}
