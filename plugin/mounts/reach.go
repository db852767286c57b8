package mounts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Reaches tells whether what is mounted below root, a managed plugin's propagated mount, shows up where the engine runs: a
// mount namespace other than ours must have a mount of the same peer group. After "docker plugin disable -f" in the middle of
// a mount the engine (20.10) may lack it for good; it then gives containers the bare directory instead. It is true when it
// can't be told: for a plain process, or when no other namespace can be read.
func Reaches(proc, root string) (bool, error) {
	self, err := readTable(filepath.Join(proc, "self"), nil)
	if err != nil {
		return false, fmt.Errorf("read own mount table: %w", err)
	}
	peers := peersOf(self, root)
	if !isPlugin(rootOf(self)) || peers == "" {
		return true, nil
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return false, fmt.Errorf("list processes: %w", err)
	}
	seen := map[string]bool{"": true, namespaceOf(filepath.Join(proc, "self")): true}
	read := 0
	for _, entry := range entries {
		dir := filepath.Join(proc, entry.Name())
		namespace := namespaceOf(dir)
		if _, err := strconv.Atoi(entry.Name()); err != nil || seen[namespace] {
			continue
		}
		table, err := readTable(dir, nil)
		if err != nil {
			continue // it has ended, or may not be looked at
		}
		seen[namespace] = true
		read++
		if slices.ContainsFunc(table, func(m *mountinfo.Info) bool { return slices.Contains(strings.Fields(m.Optional), peers) }) {
			return true, nil
		}
	}
	return read == 0, nil
}

// namespaceOf names a process's mount namespace, "" if that can't be read.
func namespaceOf(dir string) string {
	namespace, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
	if err != nil {
		return ""
	}
	return namespace
}

// peersOf names the peer group of the visible mount at root, as in mount tables; "" if it has none.
func peersOf(table []*mountinfo.Info, root string) string {
	peers := ""
	for _, m := range table {
		if m.Mountpoint != root {
			continue
		}
		peers = ""
		for _, field := range strings.Fields(m.Optional) {
			if strings.HasPrefix(field, "shared:") {
				peers = field
			}
		}
	}
	return peers
}
