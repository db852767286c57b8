package mounts

import (
	"fmt"
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
	pids, err := Processes(proc)
	if err != nil {
		return false, err
	}
	seen := map[string]bool{"": true, namespaceOf(filepath.Join(proc, "self")): true}
	read := 0
	for _, pid := range pids {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		namespace := namespaceOf(dir)
		if seen[namespace] {
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

// Apart tells whether what a plain process mounts below root stays out of sight of the host: the process is in another mount
// namespace than the host's first one, and no mount that holds root has a peer there. It is false for a managed plugin, whose
// mounts the engine arranges, and when it can't be told.
func Apart(proc, root string) (bool, error) {
	host := namespaceOf(filepath.Join(proc, "1"))
	if host == "" || host == namespaceOf(filepath.Join(proc, "self")) {
		return false, nil
	}
	self, err := readTable(filepath.Join(proc, "self"), nil)
	if err != nil {
		return false, fmt.Errorf("read own mount table: %w", err)
	}
	if isPlugin(rootOf(self)) {
		return false, nil
	}
	theirs, err := readTable(filepath.Join(proc, "1"), nil)
	if err != nil {
		return false, nil
	}
	for root != "/" && !slices.ContainsFunc(self, func(m *mountinfo.Info) bool { return m.Mountpoint == root }) {
		root = filepath.Dir(root)
	}
	peers := peersOf(self, root)
	return peers == "" || !slices.ContainsFunc(theirs, func(m *mountinfo.Info) bool {
		fields := strings.Fields(m.Optional)
		return slices.Contains(fields, peers) || slices.Contains(fields, strings.Replace(peers, "shared:", "master:", 1))
	}), nil
}
