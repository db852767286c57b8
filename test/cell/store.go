package cell

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// storeSize is sparse: the store takes as much of the disk as is written to it.
const storeSize = 32 << 30

// fileSystems are those that the store can have for itself, with what makes them. Files can be cloned (reflink) on xfs.
var fileSystems = map[string][]string{
	"ext4": {"mkfs.ext4", "-q"},
	"xfs":  {"mkfs.xfs", "-q", "-m", "reflink=1"},
}

// checkStore refuses a file system that makeStore could not make.
func checkStore(fs string) error {
	if _, known := fileSystems[fs]; fs != "" && !known {
		return fmt.Errorf("file system %q of the store: use ext4 or xfs, or none for a plain directory", fs)
	}
	return nil
}

// makeStore gives the store a file system of its own, in a file on a loop device that ends with the mount.
func (c *Cell) makeStore(ctx context.Context, fs string) error {
	if fs == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	file := filepath.Join(c.Dir, "store.img")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	if err := os.Truncate(file, storeSize); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	line := fileSystems[fs]
	if err := run(ctx, line[0], append(line[1:], file)...); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	if err := run(ctx, "mount", "-t", fs, "-o", "loop", file, c.Store); err != nil {
		return fmt.Errorf("mount the store: %w", err)
	}
	return nil
}
