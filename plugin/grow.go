package plugin

import (
	"context"
	"errors"
	"fmt"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/loop"
	"mooring/plugin/store"
)

// imageKeeper is a back end whose volumes can be images.
type imageKeeper interface {
	// Grow makes an image as large as v.Size, or returns backend.ErrGrowsLater.
	Grow(v backend.Spec, target string) error
	// Snapshot keeps what the image is now under a name; Snapshots lists these, RemoveSnapshot removes one.
	Snapshot(ctx context.Context, v backend.Spec, target, name string, how backend.Copying) (backend.Snapshot, error)
	Snapshots(v backend.Spec) ([]backend.Snapshot, error)
	RemoveSnapshot(v backend.Spec, name string) error
	// Clone makes the image of a new volume.
	Clone(ctx context.Context, v backend.Spec, from backend.Source, how backend.Copying) error
	// Devices lists the loop devices of images that belong below root, and those that do not answer before ctx ends. Examine
	// compares an image with its record.
	Devices(ctx context.Context, ask *loop.Asker, root string) ([]backend.Bound, error)
	Examine(v backend.Spec) (growing int64, err error)
	// Check lets the image's own checker look at it, while nobody has it mounted.
	Check(ctx context.Context, v backend.Spec, target string, repair bool, say func(string)) (backend.Check, error)
}

// images is the back end as a keeper of the volume's image; an error if the volume is none.
func (d *Driver) images(v volume, verb string) (imageKeeper, error) {
	keeper, able := d.backend.(imageKeeper)
	if kind(v.Volume) != backend.KindImage || !able {
		return nil, fmt.Errorf("volume %s is a directory of the store: only an image can %s; make a volume with -o backend=image and copy the files into it",
			v.Name, verb)
	}
	return keeper, nil
}

// Grow makes an image larger: at once where it is mounted here, without stopping its containers, else when it is next
// mounted.
func (d *Driver) Grow(ctx context.Context, name string, size store.Size) (admin.Grown, error) {
	var grown admin.Grown
	err := d.attend(ctx, name, func(ctx context.Context) error {
		return d.underLease(ctx, name, func(ctx context.Context, s *store.Store, v volume) (volume, error) {
			grown = admin.Grown{Volume: name, From: v.Size, To: size}
			return d.grow(s, v, &grown)
		})
	}, nil)
	if err != nil {
		return admin.Grown{}, err
	}
	return grown, nil
}

// grow records the new size for all hosts and then does what it can now; each Mount completes the rest.
func (d *Driver) grow(s *store.Store, v volume, order *admin.Grown) (volume, error) {
	keeper, err := d.images(v, "grow")
	if err != nil {
		return v, err
	}
	if order.To < v.Size {
		return v, fmt.Errorf("volume %s has %s: it can grow, not shrink to %s; copy its files to a smaller volume instead", v.Name, v.Size, order.To)
	}
	if err := backend.CheckImage(v.FS, int64(order.To)); err != nil {
		return v, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	v.Size = order.To
	if err := s.Settle(v.Volume); err != nil {
		return v, fmt.Errorf("grow volume %s: %w", v.Name, err)
	}
	if !v.Used {
		return v, nil // its image will be made that large
	}
	err = keeper.Grow(d.spec(s, v), d.target(v.Name))
	if order.Later = errors.Is(err, backend.ErrGrowsLater); order.Later {
		err = nil
	}
	if err != nil {
		return v, fmt.Errorf("grow volume %s: %w; its new size is recorded, the next mount tries again", v.Name, err)
	}
	d.log.Info("volume grown", "volume", v.Name, "from", order.From, "to", order.To, "later", order.Later)
	return v, nil
}

// underLease works on a volume, mounted here or not, that no other host can write meanwhile: under the lease that this host
// has, or one that it takes for this and then gives back. What work changed of the volume's record is kept, also if it
// failed: it is in the store already. The caller has the volume's lock.
func (d *Driver) underLease(ctx context.Context, name string, work func(context.Context, *store.Store, volume) (volume, error)) error {
	if err := d.learn(name); err != nil {
		return err
	}
	s, v, err := d.ready(ctx, name)
	if err != nil {
		return err
	}
	if v, err = d.settleLoss(ctx, s, v); err != nil {
		return err
	}
	if v, err = d.matchStore(s, v); err != nil {
		return err
	}
	lapses := d.lapses()
	l, err := d.acquire(ctx, s, v)
	if err != nil {
		return err
	}
	idle, before := v.Epoch == 0, v.Epoch
	if l.Epoch != v.Epoch {
		v.Epoch, v.Lapses = l.Epoch, lapses
	}
	v.seen = l
	if !idle && l.Epoch != before {
		if err := d.watchOver(ctx, s, v); err != nil {
			return errors.Join(err, d.save(v))
		}
	}
	v, err = d.matchStore(s, v) // again: another host may have changed it before the lease was ours
	if err == nil && idle && v.Used {
		v, err = d.renew(ctx, s, v)
	}
	if err == nil {
		v, err = work(ctx, s, v)
	}
	if idle {
		return errors.Join(err, d.release(context.WithoutCancel(ctx), s, v))
	}
	return errors.Join(err, d.save(v))
}
