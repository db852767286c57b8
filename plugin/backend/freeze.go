package backend

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

const (
	fiFreeze = 0xc0045877 // FIFREEZE: everything is on disk, and writers wait
	fiThaw   = 0xc0045878 // FITHAW
)

// freeze makes the file system that is mounted at target stand still, with everything on its device. It stays so when this
// process dies; then whoever comes next to the volume thaws it: Mount, Unmount or the guard.
func freeze(target string) error {
	err := control(target, fiFreeze)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is frozen already: somebody else is at work on it; fsfreeze -u ends that", target)
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w", target, err)
	}
	return nil
}

// thaw lets writers go on. It returns false if the file system was not frozen, or was shut down: then nobody waits any more.
func thaw(target string) (bool, error) {
	err := control(target, fiThaw)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("thaw %s: %w", target, err)
	}
	return true, nil
}

func control(target string, request int) error {
	dir, err := os.Open(target)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.IoctlSetInt(int(dir.Fd()), uint(request), 0)
}

// thawLeft thaws an image that an earlier run of the plugin has left frozen at target. Only images are: the file system of a
// directory is the store's, and who freezes that knows why.
func (i Image) thawLeft(target string) error {
	mounted, err := mounts.Mounted(target)
	if err != nil || !mounted {
		return err
	}
	was, err := thaw(target)
	if was {
		i.log().Warn("volume was left frozen and is thawed", "target", target)
	}
	return err
}
