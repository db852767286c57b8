package backend

import (
	"context"
	"fmt"

	"mooring/plugin/loop"
	"mooring/plugin/mounts"
)

// Kinds of back ends, as options, settings and volume.json name them.
const (
	KindDir   = "dir"
	KindImage = "image"
)

// Kinds serves each volume by the back end that has it.
type Kinds struct {
	Dir   Dir
	Image Image
}

type backend interface {
	Provision(ctx context.Context, v Spec) error
	Renew(ctx context.Context, v Spec, epoch uint64) (bool, error)
	Mount(ctx context.Context, v Spec, target string) error
	Tree(v Spec, target string) (mounts.Tree, error)
}

func (k Kinds) of(v Spec) (backend, error) {
	switch v.Kind {
	case "", KindDir:
		return k.Dir, nil
	case KindImage:
		return k.Image, nil
	}
	return nil, fmt.Errorf("back end %q is unknown: use the newer plugin on this host too", v.Kind)
}

// Provision makes the volume's storage.
func (k Kinds) Provision(ctx context.Context, v Spec) error {
	b, err := k.of(v)
	if err != nil {
		return err
	}
	return b.Provision(ctx, v)
}

// Renew makes storage for an epoch that nobody has open, with the content of the volume's.
func (k Kinds) Renew(ctx context.Context, v Spec, epoch uint64) (bool, error) {
	b, err := k.of(v)
	if err != nil {
		return false, err
	}
	return b.Renew(ctx, v, epoch)
}

// Mount shows the volume at target.
func (k Kinds) Mount(ctx context.Context, v Spec, target string) error {
	b, err := k.of(v)
	if err != nil {
		return err
	}
	return b.Mount(ctx, v, target)
}

// Grow makes an image as large as v.Size.
func (k Kinds) Grow(v Spec, target string) error { return k.Image.Grow(v, target) }

// Snapshot keeps what an image is now under a name.
func (k Kinds) Snapshot(ctx context.Context, v Spec, target, name string, how Copying) (Snapshot, error) {
	return k.Image.Snapshot(ctx, v, target, name, how)
}

// Snapshots lists what is kept of an image.
func (k Kinds) Snapshots(v Spec) ([]Snapshot, error) { return k.Image.Snapshots(v) }

// RemoveSnapshot removes one of them.
func (k Kinds) RemoveSnapshot(v Spec, name string) error { return k.Image.RemoveSnapshot(v, name) }

// Check lets an image's own checker look at it.
func (k Kinds) Check(ctx context.Context, v Spec, target string, repair bool, say func(string)) (Check, error) {
	return k.Image.Check(ctx, v, target, repair, say)
}

// Devices lists the loop devices of the images that belong below root, and those that do not answer before ctx ends.
func (k Kinds) Devices(ctx context.Context, ask *loop.Asker, root string) ([]Bound, error) {
	return k.Image.Devices(ctx, ask, root)
}

// Examine compares an image with its record.
func (k Kinds) Examine(v Spec) (growing int64, err error) { return k.Image.Examine(v) }

// Clone makes the image of a new volume from another's.
func (k Kinds) Clone(ctx context.Context, v Spec, from Source, how Copying) error {
	return k.Image.Clone(ctx, v, from, how)
}

// Unmount leaves neither a mount nor a directory at target, nor a loop device of an image. It need not
// know which back end the volume has: without an image there is no device.
func (k Kinds) Unmount(ctx context.Context, target string) error {
	return k.Image.Unmount(ctx, target)
}

// Status describes the device of an image; a directory has none.
func (k Kinds) Status(target string) map[string]any { return k.Image.Status(target) }

// Tree names the volume's root directory as mount tables do.
func (k Kinds) Tree(v Spec, target string) (mounts.Tree, error) {
	b, err := k.of(v)
	if err != nil {
		return mounts.Tree{}, err
	}
	return b.Tree(v, target)
}
