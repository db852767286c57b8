package mounts

import (
	"fmt"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
)

// Below returns the names of the mount points directly in dir, whose symbolic links must be resolved.
func Below(dir string) (map[string]bool, error) {
	table, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	names := map[string]bool{}
	for _, m := range table {
		if filepath.Dir(m.Mountpoint) == dir {
			names[filepath.Base(m.Mountpoint)] = true
		}
	}
	return names, nil
}
