package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	if err := mountFile(ctx, fs, file, c.Store); err != nil {
		return fmt.Errorf("mount the store: %w", err)
	}
	return nil
}

// mountFile mounts a file through a loop device that ends with the mount. `mount -o loop` would ask every loop device of the
// machine what it shows, and wait for ever for one whose storage hangs, which other tests make happen.
func mountFile(ctx context.Context, fs, file, at string) error {
	device, err := output(ctx, "losetup", "--find", "--show", file)
	if err != nil {
		return err
	}
	device = strings.TrimSpace(device)
	return errors.Join(run(ctx, "mount", "-t", fs, device, at), run(ctx, "losetup", "--detach", device))
}

// SharedStore is where hosts have the store in a cell with OwnPaths: under one name on all of them, as an operator mounts it.
const SharedStore = "/mnt/shared"

// ownPaths lets what runs on the host find it under the paths of a real one. All of it ends with the host.
const ownPaths = `
mount --bind "$1" /var/lib
mount -t tmpfs tmpfs /mnt
mkdir "$3"
mount --bind "$2" "$3"`

// bindPaths gives the host its own paths, before anything runs there that would use the machine's.
func (h *Host) bindPaths(ctx context.Context) error {
	if !h.cell.OwnPaths {
		return nil
	}
	command, err := h.Command(ctx, "bash", "-ec", ownPaths, "paths", filepath.Join(h.Dir, "state"), h.Store(), SharedStore)
	if err != nil {
		return err
	}
	if _, err := collect(ctx, command); err != nil {
		return fmt.Errorf("make the paths of %s: %w", h.Name, err)
	}
	return nil
}
