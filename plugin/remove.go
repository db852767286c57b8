package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Remove removes a volume for all hosts, for good or, if the volume has a trash delay, so that it can be restored for as
// long. It is refused while a container of this host has the volume, by
// the kernel's word (recorded IDs do not count: the engine loses Unmounts), or another host holds it. An
// unknown volume is success.
func (d *Driver) Remove(ctx context.Context, r *api.RemoveRequest) error {
	return d.attend(ctx, r.Name, func(ctx context.Context) error {
		_, err := d.remove(ctx, r.Name, nil)
		return err
	}, nil)
}

// remove is Remove with the volume's lock held. Keep is how long the volume can be restored, nil is its own delay.
func (d *Driver) remove(ctx context.Context, name string, keep *store.Delay) (store.Removed, error) {
	if _, known := d.volume(name); !known {
		return store.Removed{Name: name}, nil
	}
	s, v, err := d.ready(ctx, name)
	if err != nil {
		return store.Removed{}, err
	}
	exists, err := s.Exists(name)
	if err != nil {
		return store.Removed{}, err
	}
	gone := store.Removed{Name: name, ID: v.ID}
	if exists { // files that are gone already are no obstacle
		gone, err = d.discard(ctx, s, v, keep)
	} else if err = d.vacate(ctx, s, v); err == nil {
		err = d.clearLease(s, name)
	}
	if err != nil {
		return gone, err
	}
	d.log.Info("volume removed", "volume", name, "id", gone.ID, "kept", gone.Until.Sub(gone.At))
	return gone, d.drop(name)
}

// clearLease removes the lease of a volume without files, unless another host has it: this host died, or the
// place of leases did not answer, in the middle of a removal.
func (d *Driver) clearLease(s *store.Store, name string) error {
	current, err := d.current(s, name)
	if err != nil || current.Epoch == 0 || current.State != lease.Released && !current.Of(d.self) {
		return err
	}
	if err := d.leases(s).Remove(current); !errors.Is(err, lease.ErrTaken) {
		return err
	}
	return nil
}

// discard takes the lease, so that no host uses the volume, and throws its files away.
func (d *Driver) discard(ctx context.Context, s *store.Store, v volume, keep *store.Delay) (store.Removed, error) {
	l, err := d.acquire(ctx, s, v)
	if err != nil {
		return store.Removed{}, err
	}
	fresh := v.Epoch == 0
	v.Epoch = l.Epoch
	var gone store.Removed
	if err = d.vacate(ctx, s, v); err == nil {
		gone, err = d.throwAway(s, v, l, keep)
	}
	if err != nil && fresh {
		err = errors.Join(err, d.release(ctx, s, v))
	}
	return gone, err
}

// vacate unmounts the volume, unless a container has it.
func (d *Driver) vacate(ctx context.Context, s *store.Store, v volume) error {
	holders, err := d.holders(s, v)
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		return fmt.Errorf("volume %s is in use by %s: stop its container first", v.Name, holders[0])
	}
	return d.takeDown(ctx, v.Name)
}

// throwAway moves the files to the trash, takes the lease away after them, so that nobody makes the volume
// anew before they are gone, and wakes the one who empties the trash.
func (d *Driver) throwAway(s *store.Store, v volume, l lease.Lease, keep *store.Delay) (store.Removed, error) {
	found, err := s.Read(v.Name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrBlank) {
		found, err = v.Volume, nil
	}
	if err != nil {
		return store.Removed{}, err
	}
	if keep == nil {
		keep = &found.Trash
	}
	gone, err := s.Discard(found, l.Image, *keep)
	if err != nil {
		return gone, err
	}
	if err := d.leases(s).Remove(l); err != nil {
		return gone, err
	}
	select {
	case d.trash <- struct{}{}:
	default: // it will find this one too
	}
	return gone, nil
}
