package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/mounts"
	"mooring/plugin/store"
)

// The orders of operators, who may do more than the engine: its volumes are those that it knows, theirs
// are all of the store.
var _ admin.Driver = (*Driver)(nil)

// Survey describes all volumes by name, from memory.
func (d *Driver) Survey() admin.Survey {
	d.mu.RLock()
	defer d.mu.RUnlock()
	survey := admin.Survey{Host: d.self.Host, Drained: d.drained, Store: "ok", Classes: d.classes.trouble(), Coordinator: d.coordinatorTrouble(), Metrics: d.probing.get(),
		Volumes: make([]admin.Volume, 0, len(d.volumes))}
	if d.storeErr != nil {
		survey.Store = d.storeErr.Error()
	}
	for _, v := range d.volumes {
		survey.Volumes = append(survey.Volumes, d.summary(*v))
	}
	slices.SortFunc(survey.Volumes, func(a, b admin.Volume) int { return strings.Compare(a.Name, b.Name) })
	return survey
}

func (d *Driver) summary(v volume) admin.Volume {
	summary := admin.Volume{Name: v.Name, Class: v.Class, Backend: kind(v.Volume), Size: int64(v.Size), State: v.phase(d.self),
		Here: v.Epoch > 0, Mounts: total(v.Holds), LastError: v.problem}
	if v.seen.Epoch > 0 {
		summary.Holder, summary.Epoch, summary.Lease = v.seen.Host, v.seen.Epoch, v.seen.State
	}
	return summary
}

// Inspect looks at one volume in the store and in the kernel, and waits for no other call on it.
func (d *Driver) Inspect(ctx context.Context, name string) (admin.Detail, error) {
	return bounded(ctx, d, func(context.Context) (admin.Detail, error) {
		s, err := d.usableStore()
		v, known := d.volume(name)
		if err != nil && known {
			detail := d.detail(v)
			detail.Problem = err.Error()
			return detail, nil
		}
		if err != nil {
			return admin.Detail{}, fmt.Errorf("volume %s: %w", name, err)
		}
		if !known {
			if v.Volume, err = d.stored(s, name); err != nil {
				return admin.Detail{}, err
			}
		}
		if v.seen, err = d.current(s, name); err != nil {
			return admin.Detail{}, err
		}
		detail := d.detail(v)
		detail.Path = s.Dir(name)
		return detail, d.inspectKernel(s, v, &detail)
	})
}

// detail is what memory has of a volume.
func (d *Driver) detail(v volume) admin.Detail {
	detail := admin.Detail{Volume: d.summary(v), ID: v.ID, Created: v.Created, Used: v.Used, UID: v.UID, GID: v.GID, Mode: v.Mode.String(), Takeover: policy(v.Volume).String(),
		MountIDs: v.Holds, HolderBoot: v.seen.Boot, Unguarded: v.seen.Unguarded}
	if kind(v.Volume) == backend.KindImage {
		detail.Image = backend.ImageName(v.seen.Image)
		detail.Device, _ = v.shown[backend.ShownDevice].(string)
		direct, known := v.shown[backend.ShownDirectIO].(bool)
		detail.Buffered = known && !direct
	}
	return detail
}

// inspectKernel adds what the kernel shows of a volume, and what its holder's heartbeat does.
func (d *Driver) inspectKernel(s *store.Store, v volume, into *admin.Detail) error {
	mounted, err := mounts.Mounted(d.target(v.Name))
	if err != nil {
		return err
	}
	if mounted {
		into.Mountpoint = d.target(v.Name)
	}
	holders, err := d.holders(s, v)
	if err != nil {
		into.Problem = err.Error()
	}
	for _, h := range holders {
		into.Containers = append(into.Containers, h.String())
	}
	if v.seen.Host == "" || v.seen.Host == d.self.Host {
		return nil
	}
	sight, err := d.look(s, v.seen.Host)
	if err != nil {
		into.Problem = err.Error()
		return nil
	}
	into.Silent = sight.Still.Round(time.Second).String()
	return nil
}

// stored is what the store says of a volume that this host does not know.
func (d *Driver) stored(s *store.Store, name string) (store.Volume, error) {
	if !namePattern.MatchString(name) {
		return store.Volume{}, unlessKnown(false, name)
	}
	found, err := s.Read(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrBlank) {
		exists, err := s.Exists(name)
		return store.Volume{Name: name}, errors.Join(err, unlessKnown(exists, name))
	}
	return found, err
}

// unlessKnown is the error about a volume that is not known.
func unlessKnown(known bool, name string) error {
	if known {
		return nil
	}
	return fmt.Errorf("%w: %s", admin.ErrNoVolume, name)
}

// Dispose removes a volume for all hosts, also one that the engine does not know, or whose volume.json is
// blank or missing. It is refused while any host uses the volume. NAME@SNAPSHOT is a snapshot.
func (d *Driver) Dispose(ctx context.Context, name string, keep store.Delay) (store.Removed, error) {
	if volume, snapshot, is := strings.Cut(name, "@"); is {
		return d.removeSnapshot(ctx, volume, snapshot)
	}
	var gone store.Removed
	err := d.attend(ctx, name, func(ctx context.Context) (err error) {
		if err := d.learn(name); err != nil {
			return err
		}
		if _, known := d.volume(name); known {
			gone, err = d.remove(ctx, name, &keep)
		} else {
			gone, err = d.removeNameless(ctx, name, keep)
		}
		return err
	}, nil)
	if err != nil {
		return store.Removed{}, err
	}
	return gone, nil
}

// learn makes a volume known that the store has. The caller has the volume's lock.
func (d *Driver) learn(name string) error {
	if _, known := d.volume(name); known {
		return nil
	}
	s, err := d.usableStore()
	if err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	if _, err := d.stored(s, name); err != nil {
		return err
	}
	return d.adopt(s, name)
}

// removeNameless removes a directory without a usable volume.json: a volume that was never completed, or one
// that lost its file. It goes under a new ID.
func (d *Driver) removeNameless(ctx context.Context, name string, keep store.Delay) (store.Removed, error) {
	v := volume{Volume: store.Volume{ID: store.NewID(), Name: name}, recovered: true}
	s, err := d.usableStore()
	if err != nil {
		return store.Removed{}, fmt.Errorf("volume %s: %w", name, err)
	}
	current, err := d.current(s, name)
	if err != nil {
		return store.Removed{}, err
	}
	missing, err := backend.Missing(s.Dir(name), backend.KindImage, current.Image)
	if err != nil {
		return store.Removed{}, err
	}
	if len(missing) == 0 {
		v.Backend = backend.KindImage
	}
	if err := errors.Join(d.checkPulse(ctx, s), d.checkRival()); err != nil {
		return store.Removed{}, fmt.Errorf("volume %s: %w", name, err)
	}
	gone, err := d.discard(ctx, s, v, &keep)
	if err != nil {
		return gone, errors.Join(err, d.drop(name)) // giving its lease back has made it known
	}
	d.log.Info("volume removed", "volume", name, "id", gone.ID, "kept", keep)
	return gone, nil
}

// Health says why the driver cannot do its work.
func (d *Driver) Health() error {
	d.mu.RLock()
	err := d.storeErr
	d.mu.RUnlock()
	if d.knownStore() == nil && err == nil {
		err = errors.New("the store was not looked at yet")
	}
	if err != nil {
		return err
	}
	age, beaten := d.beatAge()
	if !beaten || age >= d.cfg.FenceAfter {
		return errors.Join(errors.New("this host has no recent heartbeat in the store"), d.checkRival())
	}
	return d.checkRival()
}

// Counts are figures from memory.
func (d *Driver) Counts() admin.Counts {
	c := admin.Counts{Phases: map[string]int{}, GuardAnswers: d.guardAnswers(), GuardStays: d.guarded()}
	c.Calls, c.Happened = d.tally.copy()
	c.BeatAge, c.Beaten = d.beatAge()
	d.mu.RLock()
	defer d.mu.RUnlock()
	c.Drained = !d.drained.IsZero()
	c.StoreUsable = d.store != nil && d.storeErr == nil
	for _, v := range d.volumes {
		c.Phases[v.phase(d.self)]++
		c.Mounts += total(v.Holds)
		if v.Epoch > 0 && !v.lost {
			c.Leases++
		}
	}
	return c
}

// beatAge is how long ago this host's last heartbeat was, if there was one.
func (d *Driver) beatAge() (time.Duration, bool) {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	return d.cfg.Clock() - d.pulse.at, d.pulse.known && d.pulse.status.Pulse.Known
}

// bounded looks at storage for an operator, at most for the call budget.
func bounded[T any](ctx context.Context, d *Driver, work func(context.Context) (T, error)) (T, error) {
	return limited(ctx, d, d.cfg.CallBudget, work)
}

// limited looks at storage for a limited time. Storage that does not answer keeps the work, not the caller.
func limited[T any](ctx context.Context, d *Driver, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var result T
	done := make(chan error, 1)
	d.calls.Go(func() {
		var err error
		result, err = work(ctx)
		done <- err
	})
	select {
	case err := <-done:
		return result, err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no result within %s, perhaps because store %s does not answer: %w", limit, d.cfg.StoreDir, ctx.Err())
	}
}
