package plugin

import (
	"context"
	"errors"
	"fmt"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/store"
)

// Clone makes a new volume with the content of another, or of a snapshot.
func (d *Driver) Clone(ctx context.Context, name string, order admin.CloneOrder, say admin.Say) (store.Volume, error) {
	options := map[string]string{"from": order.From}
	wanted, err := d.wanted(ctx, &api.CreateRequest{Name: name, Options: options})
	if err != nil {
		return wanted, err
	}
	return atLeisure(ctx, d, name, func(ctx context.Context) (store.Volume, error) {
		if v, known := d.volume(name); known && v.Used {
			return v.Volume, fmt.Errorf("volume %s exists already: choose another name", name)
		}
		existing, err := d.obtainClone(ctx, wanted, options, order.Copy, say)
		if err == nil {
			err = contradiction(existing, wanted, options)
		}
		return existing, err
	})
}

// obtainClone returns the volume of that name, made from its source if there is none. A clone that was announced and not
// completed is completed; until then no host mounts it. The caller has the lock of the new volume.
func (d *Driver) obtainClone(ctx context.Context, wanted store.Volume, options map[string]string, whole bool, say admin.Say) (store.Volume, error) {
	s, err := d.usableStore()
	if _, _, err := d.remembered(ctx, s, err, wanted.Name); err != nil {
		return wanted, err
	}
	if err := d.learn(wanted.Name); err != nil && !errors.Is(err, admin.ErrNoVolume) {
		return wanted, err
	}
	v, known := d.volume(wanted.Name)
	if known && (v.Used || v.From != wanted.From) {
		return v.Volume, nil
	}
	if err != nil {
		return wanted, fmt.Errorf("create volume %s: %w", wanted.Name, err)
	}
	if !known {
		if v.Volume, err = d.likeSource(s, wanted, options); err != nil {
			return wanted, err
		}
		v.ID, v.Created = store.NewID(), now()
		if v.Volume, err = d.build(s, v.Volume); err != nil {
			return wanted, err
		}
	}
	err = d.underLease(ctx, wanted.Name, func(ctx context.Context, s *store.Store, clone volume) (volume, error) {
		if clone.Used {
			return clone, nil // another host was faster
		}
		return d.fillClone(ctx, s, clone, whole, say)
	})
	if err != nil && !known { // nothing half-made is left for others to find
		keep := store.Delay(0)
		_, undone := d.remove(context.WithoutCancel(ctx), wanted.Name, &keep)
		return wanted, errors.Join(err, undone)
	}
	if made, known := d.volume(wanted.Name); known {
		return made.Volume, err
	}
	return wanted, err
}

// likeSource is the volume that a clone will be: what no option says is as with its source, and what the image has is.
func (d *Driver) likeSource(s *store.Store, wanted store.Volume, options map[string]string) (store.Volume, error) {
	name, _, err := splitSource(wanted.From)
	if err != nil {
		return wanted, err
	}
	source, err := d.stored(s, name)
	if err != nil {
		return wanted, fmt.Errorf("create volume %s: %w", wanted.Name, err)
	}
	if _, err := d.filledImage(volume{Volume: source}, "be cloned"); err != nil {
		return wanted, fmt.Errorf("create volume %s: %w", wanted.Name, err)
	}
	clone := source
	clone.Name, clone.From, clone.Used = wanted.Name, wanted.From, false
	if _, given := options["size"]; given {
		if wanted.Size < source.Size {
			return wanted, fmt.Errorf("create volume %s: its source has %s: a clone can be larger, not smaller", wanted.Name, source.Size)
		}
		clone.Size = wanted.Size
	}
	if _, given := options["trash"]; given {
		clone.Trash = wanted.Trash
	}
	if _, given := options["mount"]; given {
		clone.Mount = wanted.Mount
	}
	if _, given := options["takeover"]; given {
		clone.Takeover = wanted.Takeover
	}
	if _, given := options["class"]; given {
		clone.Class = wanted.Class
	}
	if err := contradiction(clone, wanted, options); err != nil {
		return wanted, fmt.Errorf("what a clone is, its source says: %w", err)
	}
	return clone, nil
}

// fillClone copies the source into a new volume, under both leases.
func (d *Driver) fillClone(ctx context.Context, s *store.Store, clone volume, whole bool, say admin.Say) (volume, error) {
	name, snapshot, err := splitSource(clone.From)
	if err != nil {
		return clone, err
	}
	fill := func(v volume, how backend.Copying) error {
		keeper, err := d.filledImage(v, "be cloned")
		if err != nil {
			return err
		}
		own := how.Confirm
		how.Confirm = func() error { return errors.Join(own(), d.copying(s, clone, whole, nil).Confirm()) }
		from := backend.Source{Spec: d.spec(s, v), Target: d.target(name), Snapshot: snapshot}
		return keeper.Clone(ctx, d.spec(s, clone), from, how)
	}
	if snapshot != "" { // it does not change, whoever has its volume
		var source store.Volume
		if source, err = d.stored(s, name); err == nil {
			how := d.copying(s, clone, whole, say)
			err = fill(volume{Volume: source}, how)
		}
	} else {
		err = d.lockedToo(ctx, name, func() error {
			return d.underLease(ctx, name, func(_ context.Context, s *store.Store, v volume) (volume, error) {
				return v, fill(v, d.copying(s, v, whole, say))
			})
		})
	}
	if err != nil {
		return clone, fmt.Errorf("clone %s as volume %s: %w", clone.From, clone.Name, remedied(err))
	}
	clone.Used = true
	if err := s.Settle(clone.Volume); err != nil {
		return clone, err
	}
	d.log.Info("volume cloned", "volume", clone.Name, "from", clone.From)
	return clone, nil
}

// lockedToo works with the lock of a second volume. Two clones cannot wait for each other: what is a source exists, what is
// being made does not.
func (d *Driver) lockedToo(ctx context.Context, name string, work func() error) error {
	unlock, err := d.locks.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("volume %s is busy with another call: %w", name, err)
	}
	defer unlock()
	return work()
}

// checkFilled refuses to mount a clone that was never completed: it would be an empty volume in its place.
func checkFilled(v store.Volume) error {
	if v.From == "" || v.Used {
		return nil
	}
	return fmt.Errorf("volume %s is a clone of %s that was not completed: clone again, or remove it", v.Name, v.From)
}
