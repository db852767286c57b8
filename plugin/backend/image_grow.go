package backend

import (
	"errors"
	"fmt"

	"mooring/plugin/mounts"
)

// ErrGrowsLater says that a volume has its new size from its next mount on.
var ErrGrowsLater = errors.New("the volume grows when it is mounted the next time")

// Grow makes a volume larger: at once where it is mounted at target, else when it is next mounted. The new size is on
// record before anything is done, so what a crash or a missing right (ErrGrowsLater; ext4 takes CAP_SYS_RESOURCE) leaves
// undone is done at the next mount. The caller has the volume's lease. A smaller size is an error.
func (i Image) Grow(v Spec, target string, size int64) error {
	r, err := readRecord(v.Dir)
	if err != nil {
		return err
	}
	if size < r.Size {
		return fmt.Errorf("volume has %d bytes already: it can grow, not shrink to %d", r.Size, size)
	}
	r.Size = size
	if err := r.save(v.Dir); err != nil {
		return err
	}
	image, found, err := r.open(v.image()) // extends it
	if err != nil {
		return err
	}
	defer image.Close()
	device, err := i.device(target)
	if err != nil || device == nil {
		return err
	}
	defer device.Close()
	m := imageMount{Image: i, dir: v.Dir, path: v.image(), target: target, record: r, found: found, fs: filesystems()[r.FS], device: device}
	mounted, err := mounts.Mounted(target)
	if err != nil {
		return err
	}
	if mounted {
		err = m.fit()
	}
	if err == nil && m.record.Fitted < size {
		err = ErrGrowsLater
	}
	return err
}
