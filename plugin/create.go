package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/store"
)

// Create makes a volume known, on this host for good when it returns, and announces it to the others. Its
// storage is made when it is first mounted; a clone is copied at once. A volume that exists already, here or by another host, is success unless an option contradicts it. Wrong names,
// unknown options and a missing or full store are errors that leave nothing behind.
func (d *Driver) Create(ctx context.Context, r *api.CreateRequest) error {
	wanted, err := d.wanted(ctx, r)
	if err != nil {
		return err
	}
	return d.attend(ctx, r.Name, func(ctx context.Context) error {
		existing, err := d.obtain(ctx, wanted, r.Options)
		if err != nil {
			return err
		}
		return contradiction(existing, wanted, r.Options)
	}, nil)
}

// wanted is the volume that Create asks for.
func (d *Driver) wanted(ctx context.Context, r *api.CreateRequest) (store.Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallBudget)
	defer cancel()
	classes, err := d.classes.now(ctx)
	if err != nil {
		return store.Volume{}, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	return describe(classes, r.Name, r.Options)
}

// remembered is a volume that this host knows, and forgets if another host has removed it just now: what the store has under
// its name then is another volume. If the store cannot be used nothing is forgotten.
func (d *Driver) remembered(ctx context.Context, s *store.Store, storeErr error, name string) (volume, bool, error) {
	v, known := d.volume(name)
	if !known || storeErr != nil || v.Epoch > 0 || !s.WasRemoved(v.ID) {
		return v, known, nil
	}
	return volume{}, false, errors.Join(d.takeDown(ctx, name), d.drop(name))
}

// obtain returns the volume of that name, made as wanted if there is none, or none any more.
func (d *Driver) obtain(ctx context.Context, wanted store.Volume, options map[string]string) (store.Volume, error) {
	if wanted.From != "" {
		return d.obtainClone(ctx, wanted, options, false, nil)
	}
	s, err := d.usableStore()
	if v, known, dropErr := d.remembered(ctx, s, err, wanted.Name); known || dropErr != nil {
		return v.Volume, dropErr
	}
	if err != nil {
		return store.Volume{}, fmt.Errorf("create volume %s: %w", wanted.Name, err)
	}
	found, err := s.Read(wanted.Name)
	switch {
	case err == nil:
		return found, d.save(volume{Volume: found})
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrBlank):
		return store.Volume{}, err
	}
	if wanted, err = settleBackend(wanted, d.isGlobal(), options); err != nil {
		return store.Volume{}, err
	}
	wanted.ID, wanted.Created = store.NewID(), now()
	return d.build(s, wanted)
}

// build records a new volume and then makes it. Only the record is on disk when it returns: until the
// first use, a directory that a power cut took is simply made again.
func (d *Driver) build(s *store.Store, wanted store.Volume) (store.Volume, error) {
	v := volume{Volume: wanted}
	if err := d.state.Put(volumePrefix+v.Name, v); err != nil {
		return wanted, fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	err := s.Announce(wanted)
	if errors.Is(err, fs.ErrExist) {
		if found, readErr := s.Read(v.Name); readErr == nil {
			return found, d.save(volume{Volume: found}) // another host was faster
		}
		err = nil // blank: completed at first use
	}
	if err != nil {
		err = fmt.Errorf("create volume %s: %w", v.Name, err)
		return wanted, errors.Join(err, s.Withdraw(v.Name), d.drop(v.Name))
	}
	d.publish(v)
	return wanted, nil
}
