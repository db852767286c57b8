package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Holder is a process in whose mount namespace a volume is mounted: usually a container's.
type Holder struct {
	PID        int
	Mountpoint string // as that namespace sees it
}

func (h Holder) String() string {
	return fmt.Sprintf("process %d, which has it at %s", h.PID, h.Mountpoint)
}

// Volume is what Holders looks for.
type Volume struct {
	Tree   Tree
	Target string // our own mount point, which holds nothing by itself
}

// Holders returns, for each key of volumes, one holder per mount of that volume, in one pass over
// proc (usually /proc). Mounts of our own are left out: the mount point in this namespace and its
// copies, and the engine's side of a managed plugin's mount, PLUGIN/propagated-mount/<name>.
// Processes that end meanwhile are no holders.
func Holders(proc string, volumes map[string]Volume) (map[string][]Holder, error) {
	wanted := make(map[Tree]string, len(volumes))
	for key, v := range volumes {
		wanted[v.Tree] = key
	}
	search := search{proc: proc, volumes: volumes, wanted: wanted, seen: map[string]bool{}, found: map[string][]Holder{}}
	self, err := readTable(filepath.Join(proc, "self"), nil)
	if err != nil {
		return nil, fmt.Errorf("read own mount table: %w", err)
	}
	search.root = rootOf(self)
	pids, err := Processes(proc)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if err := search.process(pid); err != nil {
			return nil, fmt.Errorf("read mount table of process %d: %w", pid, err)
		}
	}
	return search.found, nil
}

// Processes lists the process IDs in proc (usually /proc). By the time they are used some may have ended.
func Processes(proc string) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

type search struct {
	proc    string
	volumes map[string]Volume
	wanted  map[Tree]string
	root    Tree            // what is mounted at / in our own namespace
	seen    map[string]bool // views already read
	found   map[string][]Holder
}

// process looks through the mount table of one process, unless an earlier one has the same view.
func (s *search) process(pid int) error {
	dir := filepath.Join(s.proc, strconv.Itoa(pid))
	view := viewOf(dir)
	if s.seen[view] {
		return nil
	}
	table, err := readTable(dir, func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != "/" && s.match(m) == "", false
	})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.seen[view] = view != ""
	root := rootOf(table)
	ours := root == s.root || isPlugin(root)
	for _, m := range table {
		key := s.match(m)
		if key == "" || engineSide(m.Mountpoint, s.volumes[key].Target) || ours && m.Mountpoint == s.volumes[key].Target {
			continue
		}
		s.found[key] = append(s.found[key], Holder{PID: pid, Mountpoint: m.Mountpoint})
	}
	return nil
}

// isPlugin tells whether a namespace is a managed plugin's: its mount point is not a container's either,
// whichever engine of the machine runs it.
func isPlugin(root Tree) bool {
	dir, name := filepath.Split(root.Root)
	return name == "rootfs" && filepath.Base(filepath.Dir(filepath.Clean(dir))) == "plugins"
}

// viewOf names what a process sees of which mount namespace: after chroot(2) it sees only a part.
// Empty when the links cannot be read (that takes CAP_SYS_PTRACE); then each process is looked at.
func viewOf(dir string) string {
	namespace := namespaceOf(dir)
	root, err := os.Readlink(filepath.Join(dir, "root"))
	if namespace == "" || err != nil {
		return ""
	}
	return namespace + root
}

// namespaceOf names a process's mount namespace, "" if that can't be read.
func namespaceOf(dir string) string {
	namespace, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
	if err != nil {
		return ""
	}
	return namespace
}

// gone tells whether a table could not be read because its process has ended or may not be looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, fs.ErrPermission)
}

// match returns the volume that a mount shows, whole or a directory in it.
func (s *search) match(m *mountinfo.Info) string {
	tree := treeOf(m, "")
	for {
		if key, ok := s.wanted[tree]; ok {
			return key
		}
		parent := filepath.Dir(tree.Root)
		if parent == tree.Root {
			return ""
		}
		tree.Root = parent
	}
}

// engineSide tells whether a mount point is the engine's view of target.
func engineSide(mountpoint, target string) bool {
	dir, name := filepath.Split(mountpoint)
	return name == filepath.Base(target) && filepath.Base(dir) == "propagated-mount"
}

func rootOf(table []*mountinfo.Info) Tree {
	var root Tree
	for _, m := range table {
		if m.Mountpoint == "/" {
			root = treeOf(m, "")
		}
	}
	return root
}

func readTable(dir string, filter mountinfo.FilterFunc) ([]*mountinfo.Info, error) {
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, filter)
}
