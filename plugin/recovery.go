package plugin

import (
	"context"
	"errors"
	"fmt"

	"mooring/plugin/admin"
	"mooring/plugin/lease"
	"mooring/plugin/mounts"
	"mooring/plugin/store"
)

// recover compares, once, what an earlier run of the plugin left of a volume with the lease and the
// kernel: holds of another boot are void, holds that nothing backs any more are dropped, and containers
// that live on are adopted. It runs before the first verb on the volume, or when Run gets to it. The
// caller has the volume's lock.
func (d *Driver) recover(ctx context.Context, s *store.Store, name string) error {
	v, known := d.volume(name)
	if !known || v.recovered {
		return nil
	}
	// What the guard has fenced meanwhile, and whether it lives at all, decides what may go on.
	if err := d.checkPulse(ctx, s); err != nil {
		return err
	}
	if r, fenced := d.fenced(name); fenced && v.Epoch <= r.Volume.Epoch {
		return d.heed(ctx, name)
	}
	if err := s.Check(); err != nil {
		return err
	}
	current, err := d.current(s, name)
	if err != nil {
		return err
	}
	v.seen = current
	held, containers, err := d.stillHeld(s, v)
	if err != nil {
		return err
	}
	v.recovered, v.arrived = true, containers >= total(v.Holds)
	if !held {
		return d.release(ctx, s, v)
	}
	return d.readopt(ctx, s, v)
}

// stillHeld tells whether something from before the plugin's start uses the volume on this host, and how many containers have
// it. What the kernel shows counts only if this boot of the host had the volume.
func (d *Driver) stillHeld(s *store.Store, v volume) (held bool, containers int, err error) {
	if !v.seen.Of(d.self) && (v.Boot != d.self.Boot || len(v.Holds) == 0) {
		return false, 0, nil
	}
	holders, err := d.holders(s, v)
	if err != nil || len(holders) > 0 {
		return len(holders) > 0, len(holders), err
	}
	// A container may be on its way: its volume is mounted, it is not yet. Run waits for it, not forever.
	mounted, err := mounts.Mounted(d.target(v.Name))
	return mounted && v.Boot == d.self.Boot && len(v.Holds) > 0, 0, err
}

// readopt continues the use of a volume: same lease, or the next one if it was released meanwhile, and
// mounted again. If another host has it, the containers here are too late.
func (d *Driver) readopt(ctx context.Context, s *store.Store, v volume) error {
	verdict := lease.Decide(v.seen, d.self, lease.Watched{}, lease.Terms{After: d.cfg.TakeAfter, Policy: policy(v.Volume)})
	if verdict != lease.Keep && verdict != lease.Take {
		d.lose(v, v.seen)
		// No guard may have watched it since this host lost it: the one there is ends the use.
		return d.watchOver(ctx, s, v)
	}
	lapses := d.lapses()
	l, err := d.win(s, v, v.seen, verdict)
	if err != nil {
		return err
	}
	if l.Epoch != v.Epoch {
		v.Lapses = lapses
	}
	if v.Boot != d.self.Boot {
		v.Holds = nil
	}
	v.seen, v.Epoch, v.Boot, v.mounted = l, l.Epoch, d.self.Boot, d.cfg.Clock()
	if err := d.watchOver(ctx, s, v); err != nil {
		v.recovered = false                // nobody watches it yet, unless it was fenced: again, until one is so
		return errors.Join(err, d.save(v)) // so that it is known what was fenced
	}
	if err := d.backend.Mount(ctx, d.spec(s, v), d.target(v.Name)); err != nil {
		return err
	}
	v.shown = d.backend.Status(d.target(v.Name))
	if err := d.watchOver(ctx, s, v); err != nil {
		return err
	}
	d.log.Info("volume adopted from before the plugin's start", "volume", v.Name, "epoch", v.Epoch)
	return d.save(v)
}

// reap looks after volumes in use: it notices leases that were lost, releases what is free at last, and
// drops holds whose Unmount never came.
func (d *Driver) reap(ctx context.Context, s *store.Store) {
	var used []volume
	for _, name := range d.names() {
		if v, known := d.volume(name); known && (v.Epoch > 0 || v.lost) {
			used = append(used, v)
		}
	}
	if len(used) == 0 {
		return
	}
	holders, err := d.allHolders(s, used)
	if err != nil {
		d.log.Warn("volumes not looked after", "error", err)
		return
	}
	for _, v := range used {
		held := len(holders[v.Name]) > 0
		d.background(v.Name, func() error { return d.reapOne(ctx, s, v.Name, held) })
	}
}

// reapOne is reap for one volume, with its lock held; held is whether a container had it a moment ago.
func (d *Driver) reapOne(ctx context.Context, s *store.Store, name string, held bool) error {
	v, known := d.volume(name)
	if !known || v.Epoch == 0 && !v.lost {
		return nil
	}
	waiting := len(v.Holds) > 0 && !v.arrived && d.cfg.Clock()-v.mounted < d.cfg.ReapAfter
	if !held && !waiting {
		return d.reapFree(ctx, s, v)
	}
	current, err := d.current(s, name)
	if err == nil && !v.lost && !current.Of(d.self) {
		d.lose(v, current)
	}
	return err
}

// reapFree releases a volume that no container seemed to have, if that is still so.
func (d *Driver) reapFree(ctx context.Context, s *store.Store, v volume) error {
	holders, err := d.holders(s, v)
	if err != nil || len(holders) > 0 {
		return err
	}
	if len(v.Holds) > 0 {
		d.log.Warn("holds without a container dropped", "volume", v.Name)
	}
	return d.release(ctx, s, v)
}

// lose notes that another host has the lease while containers here have the volume.
func (d *Driver) lose(v volume, current lease.Lease) {
	d.log.Error("volume was taken over while containers here have it", "volume", v.Name, "host", current.Host, "epoch", current.Epoch)
	d.tally.note(func(h *admin.Happened) { h.LeasesLost++ })
	v.lost, v.seen = true, current
	d.publish(v)
}

// Shutdown leaves volumes so that no other host takes them under a living container: those in use are
// left to the guard, or get an unattended lease where it would not survive; the others are released. No verb may come after
// it.
func (d *Driver) Shutdown(ctx context.Context) error {
	s := d.knownStore()
	if s == nil {
		return nil
	}
	var failed []error
	for _, name := range d.names() {
		if v, known := d.volume(name); known && v.Epoch > 0 {
			if err := d.leave(ctx, s, name); err != nil {
				failed = append(failed, fmt.Errorf("leave volume %s: %w", name, err))
			}
		}
	}
	failed = append(failed, d.guard.Leave(ctx))
	return errors.Join(failed...)
}

// leave is Shutdown for one volume.
func (d *Driver) leave(ctx context.Context, s *store.Store, name string) error {
	unlock, err := d.locks.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	v, known := d.volume(name)
	if !known || v.Epoch == 0 {
		return nil
	}
	holders, err := d.holders(s, v)
	if err != nil {
		return err
	}
	if len(holders) == 0 {
		return d.release(ctx, s, v)
	}
	if d.guarded() {
		d.log.Info("volume left to its containers and the guard", "volume", name, "epoch", v.Epoch)
		return nil
	}
	current, err := d.current(s, name)
	if err != nil || !current.Of(d.self) {
		return err
	}
	next := current.Next(name, d.self)
	next.State, next.Unguarded = lease.Unattended, true
	d.log.Info("volume left to its containers", "volume", name, "epoch", next.Epoch)
	_, err = d.leases(s).Create(current, next)
	return err
}
