package backend

import (
	"errors"
	"fmt"

	"mooring/plugin/mounts"
)

// ErrGrowsLater says that a volume has its new size from its next mount on.
var ErrGrowsLater = errors.New("the volume grows when it is mounted the next time")

// Grow makes a volume as large as v.Size: at once where it is mounted at target, else when it is next mounted. The caller
// has recorded that size and has the volume's lease. What a crash or a missing right (ErrGrowsLater; ext4 takes
// CAP_SYS_RESOURCE) leaves undone is done at the next mount.
func (i Image) Grow(v Spec, target string) error {
	r, err := readRecord(v.Dir)
	if err != nil {
		return err
	}
	if v.Size < r.Size {
		return fmt.Errorf("volume has %d bytes already: it can grow, not shrink to %d", r.Size, v.Size)
	}
	if r, err = r.growTo(v); err != nil {
		return err
	}
	image, found, err := r.open(v.image()) // extends it
	if err != nil {
		return err
	}
	defer image.Close()
	device, err := i.device(target)
	if err != nil || device == nil {
		return errors.Join(err, ErrGrowsLater)
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
	if err == nil && m.record.Fitted < v.Size {
		err = ErrGrowsLater
	}
	return err
}

// growTo is the record with the size that the volume shall have, on disk before the image is touched.
func (r record) growTo(v Spec) (record, error) {
	if v.Size <= r.Size {
		return r, nil
	}
	r.Size = v.Size
	return r, r.save(v.Dir)
}
