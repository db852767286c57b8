package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// probe reports that a volume can no longer be written, at the latest when its file system has been shut down or has turned
// itself read-only. Both also show in a read of cached content (ext4 and xfs answer EIO after a shutdown).
func probe(volume string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(volume, &stat); err != nil {
		return fmt.Errorf("look at file system of %s: %w", volume, err)
	}
	if stat.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("file system of %s has become read-only", volume)
	}
	if _, err := os.ReadFile(filepath.Join(volume, markerFile)); err != nil {
		return fmt.Errorf("read from %s: %w", volume, err)
	}
	return nil
}

// watchVolume probes until the context ends and sends the first failure. A probe may hang with its file system; nobody
// waits for it then.
func watchVolume(ctx context.Context, volume string, every time.Duration) <-chan error {
	failed := make(chan error, 1)
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := probe(volume); err != nil {
				failed <- err
				return
			}
		}
	}()
	return failed
}

// checkMounts makes sure that both paths are mounts: what is written below a path that isn't would land on the host's disk
// and be gone with the container.
func checkMounts(mounted func(string) (bool, error), paths ...string) error {
	var errs []error
	for _, path := range paths {
		switch ok, err := mounted(path); {
		case err != nil:
			errs = append(errs, fmt.Errorf("look for volume at %s: %w", path, err))
		case !ok:
			errs = append(errs, fmt.Errorf("no volume is mounted at %s: the volume driver on this agent lost it", path))
		}
	}
	return errors.Join(errs...)
}
