// Package mounts reads the kernel's mount tables, the only source that a crash, a lost call or a
// forgotten reference cannot falsify: is a mount point mounted, and does any container still hold a
// volume. Nothing here touches the file systems named in the tables, so nothing here waits for them.
package mounts

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Tree is a directory as every mount table of the machine names it, wherever it is mounted: the device
// of its file system and the path from that file system's root.
type Tree struct {
	Major, Minor int
	Root         string
}

// Mounted tells whether something is mounted at target in this process's mount namespace.
func Mounted(target string) (bool, error) {
	top, err := topmost(target)
	return top != nil, err
}

// TreeAt names the directory that is mounted at target, or else would be if path were bound there.
func TreeAt(target, path string) (Tree, error) {
	if top, err := topmost(target); err != nil {
		return Tree{}, err
	} else if top != nil {
		return treeOf(top, ""), nil
	}
	return treeOfPath(path)
}

// treeOfPath names a directory by the mount it lies on; symbolic links must be resolved already.
func treeOfPath(path string) (Tree, error) {
	table, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return Tree{}, fmt.Errorf("read mount table: %w", err)
	}
	var best *mountinfo.Info
	for _, m := range table {
		// Of two mounts at one place the later one hides the earlier.
		if best == nil || len(m.Mountpoint) >= len(best.Mountpoint) {
			best = m
		}
	}
	if best == nil {
		return Tree{}, fmt.Errorf("find the mount of %s: none in the mount table", path)
	}
	below, err := filepath.Rel(best.Mountpoint, path)
	if err != nil {
		return Tree{}, err
	}
	return treeOf(best, below), nil
}

// topmost is the visible mount at target, nil when there is none.
func topmost(target string) (*mountinfo.Info, error) {
	table, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(target))
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	if len(table) == 0 {
		return nil, nil
	}
	return table[len(table)-1], nil
}

func treeOf(m *mountinfo.Info, below string) Tree {
	// The kernel marks the root of a mount whose directory was deleted.
	root := strings.TrimSuffix(m.Root, "//deleted")
	return Tree{Major: m.Major, Minor: m.Minor, Root: filepath.Join(root, below)}
}
