package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/store"
)

// Trash lists the removed volumes that can be restored, the oldest first.
func (d *Driver) Trash(ctx context.Context) ([]store.Removed, error) {
	return bounded(ctx, d, func(context.Context) ([]store.Removed, error) {
		s, err := d.usableStore()
		if err != nil {
			return nil, err
		}
		found, err := s.Trash()
		slices.SortFunc(found, func(a, b store.Removed) int { return a.At.Compare(b.At) })
		return found, err
	})
}

// Restore brings a removed volume back. The ID, or its beginning, tells several of one name apart.
func (d *Driver) Restore(ctx context.Context, name, id string) (store.Removed, error) {
	var back store.Removed
	err := d.attend(ctx, name, func(ctx context.Context) (err error) {
		back, err = d.restore(ctx, name, id)
		return err
	}, nil)
	if err != nil {
		return store.Removed{}, err
	}
	return back, nil
}

// restore is Restore with the volume's lock held.
func (d *Driver) restore(ctx context.Context, name, id string) (store.Removed, error) {
	s, err := d.usableStore()
	if err == nil {
		err = errors.Join(d.checkPulse(ctx, s), d.checkRival())
	}
	if err != nil {
		return store.Removed{}, fmt.Errorf("restore volume %s: %w", name, err)
	}
	r, err := inTrash(s, name, id)
	if err != nil {
		return r, err
	}
	if err := backend.FirstImage(s.Thrown(r), r.Image); err != nil {
		return r, fmt.Errorf("restore volume %s: %w", name, err)
	}
	if err := s.Restore(r); err != nil {
		return r, err
	}
	d.log.Info("volume restored", "volume", name, "id", r.ID)
	return r, d.adopt(s, name)
}

// inTrash is the one removed volume that is meant.
func inTrash(s *store.Store, name, id string) (store.Removed, error) {
	found, err := s.Trash()
	if err != nil {
		return store.Removed{}, err
	}
	var ids []string
	var meant store.Removed
	for _, r := range found {
		if r.Name == name && strings.HasPrefix(r.ID, id) {
			meant, ids = r, append(ids, r.ID)
		}
	}
	switch {
	case len(ids) == 1:
		return meant, nil
	case len(ids) == 0:
		return meant, fmt.Errorf("%w in the trash: %s; mooring volumes trash lists what can be restored", admin.ErrNoVolume, strings.TrimSpace(name+" "+id))
	}
	slices.Sort(ids)
	return meant, fmt.Errorf("several volumes %s were removed: choose one with --id, of %s", name, strings.Join(ids, ", "))
}
