package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/store"
)

// Create makes a volume known, on this host for good when it returns, and announces it to the others. Its
// storage is made when it is first mounted. A volume that exists already, here or by another host, is success unless an option contradicts it. Wrong names,
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

// obtain returns the volume of that name, made as wanted if there is none, or none any more.
func (d *Driver) obtain(ctx context.Context, wanted store.Volume, options map[string]string) (store.Volume, error) {
	s, err := d.usableStore()
	if v, known := d.volume(wanted.Name); known {
		if err != nil || v.Epoch > 0 || !s.WasRemoved(v.ID) {
			return v.Volume, nil
		}
		// By another host, just now. What the store has under that name is another volume.
		if err := errors.Join(d.takeDown(ctx, v.Name), d.drop(v.Name)); err != nil {
			return store.Volume{}, err
		}
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
	wanted.ID, wanted.Created = store.NewID(), time.Now().UTC().Truncate(time.Second)
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
