package plugin

import (
	"context"
	"errors"
	"sync"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

const (
	// watchPause is how often a verb that waits for a silent host looks at its heartbeat again.
	watchPause = 500 * time.Millisecond
	// mountTime is kept back of a call's budget for the work after the lease is won.
	mountTime = 2 * time.Second
)

// Leases is where leases and heartbeats are kept. Package leasetest has what each kind must do.
type Leases interface {
	// Current reads a volume's lease, the zero one if the volume has none or is gone.
	Current(volume string) (lease.Lease, error)
	// Create makes next the current lease and returns it with its ID. It fails with lease.ErrTaken unless
	// the current lease is after in every respect, also if the volume was removed and made again since
	// after was read.
	Create(after, next lease.Lease) (lease.Lease, error)
	// Rewrite changes the state of this host's own lease. It fails with lease.ErrTaken if from is not the
	// current one, and never touches a later one.
	Rewrite(from, to lease.Lease) error
	// Remove takes the last lease of a volume away whose files are gone.
	Remove(last lease.Lease) error
	// ReadBeat reads a host's heartbeat, the zero one if it never had one.
	ReadBeat(host string) (lease.Heartbeat, error)
	// Hosts lists the hosts that ever beat.
	Hosts() ([]string, error)
}

// leases are those of a store's volumes.
func (d *Driver) leases(s *store.Store) Leases {
	if d.cfg.ensemble == nil {
		return s.Leases()
	}
	d.elsewhere.once.Do(func() { d.elsewhere.leases = d.cfg.ensemble.Leases(s.UUID()) })
	return d.elsewhere.leases
}

// elsewhere are leases that are not kept in the store; a driver uses one store at most.
type elsewhere struct {
	once   sync.Once
	leases Leases
}

// acquire takes the volume's lease for this host or confirms that it has it. While the holder shows no
// life it waits, as long as the call's budget allows, because the watching may only just have begun.
func (d *Driver) acquire(ctx context.Context, s *store.Store, v volume) (lease.Lease, error) {
	deadline, limited := ctx.Deadline()
	var first lease.Sight
	for look := 0; ; look++ {
		current, err := d.leases(s).Current(v.Name)
		if err != nil {
			return current, err
		}
		sight, err := d.look(s, current.Host)
		if err != nil {
			return current, err
		}
		if look == 0 {
			first = sight
		}
		// A heartbeat that stood still before the lease was there says nothing about its holder.
		still := min(sight.Still, d.watch.Age(current, d.cfg.Clock()))
		watched := lease.Watched{Still: still, Beat: sight.Beats > first.Beats}
		verdict := lease.Decide(current, d.self, watched, lease.Terms{After: d.cfg.TakeAfter, Policy: policy(v.Volume), Anew: v.Epoch == 0})
		if verdict == lease.Keep || verdict == lease.Take {
			won, err := d.win(s, v, current, verdict)
			if errors.Is(err, lease.ErrTaken) && pause(ctx, watchPause) {
				continue // by another host, at the same moment; reads may be a while behind
			}
			return won, err
		}
		outOfTime := limited && time.Until(deadline) < mountTime
		if verdict == lease.Refuse || outOfTime || !pause(ctx, watchPause) {
			return current, &lease.HeldError{Lease: current, Still: sight.Still, After: d.cfg.TakeAfter, Policy: policy(v.Volume)}
		}
	}
}

// win confirms the current lease as this host's own, or creates the next one. A lease is never written again to mean more
// than it did: a host that read it before would not know.
func (d *Driver) win(s *store.Store, v volume, current lease.Lease, verdict lease.Verdict) (lease.Lease, error) {
	if verdict == lease.Keep && current.Unguarded == !d.guarded() {
		return current, nil
	}
	return d.take(s, v, current)
}

// take creates the lease after current.
func (d *Driver) take(s *store.Store, v volume, current lease.Lease) (lease.Lease, error) {
	next := current.Next(v.Name, d.self)
	next.Unguarded, next.Takeover = !d.guarded(), policy(v.Volume).String()
	next, err := d.leases(s).Create(current, next)
	if err != nil {
		return current, err
	}
	if current.Epoch > 0 && current.State == lease.Held && current.Host != d.self.Host {
		d.log.Warn("lease taken over from a silent host", "volume", v.Name, "epoch", next.Epoch, "host", current.Host)
		d.tally.note(func(h *admin.Happened) { h.TakenFromSilent++ })
	} else {
		d.log.Debug("lease taken", "volume", v.Name, "epoch", next.Epoch)
	}
	return next, nil
}

// renew goes over to storage that no earlier holder can write, if the volume was taken from one that did not give it back. In
// this order: the lease is won, then the storage is copied, then the lease says so, then it is mounted. After a crash in
// between, the next one starts again from what the lease says.
func (d *Driver) renew(ctx context.Context, s *store.Store, v volume) (volume, error) {
	if !v.seen.Exposed() {
		return v, nil
	}
	renewed, err := d.backend.Renew(ctx, d.spec(s, v), v.seen.Epoch)
	if err != nil {
		return v, err
	}
	if !renewed {
		d.log.Warn("volume goes on with storage that its earlier holder may have open: if that host is frozen, it may write when it wakes",
			"volume", v.Name, "backend", kind(v.Volume), "epoch", v.seen.Epoch)
		return v, nil
	}
	next := v.seen
	next.Image = next.Epoch
	if err := d.leases(s).Rewrite(v.seen, next); err != nil {
		return v, err
	}
	d.log.Info("volume goes on with a copy that its earlier holder cannot write", "volume", v.Name, "epoch", next.Epoch)
	v.seen = next
	return v, nil
}

// look reads a host's heartbeat and times it. This host's own needs no watching.
func (d *Driver) look(s *store.Store, host string) (lease.Sight, error) {
	if host == "" || host == d.self.Host {
		return lease.Sight{}, nil
	}
	began := d.cfg.Clock()
	beat, err := d.leases(s).ReadBeat(host)
	if err != nil {
		return lease.Sight{}, err
	}
	return d.watch.See(host, beat, began, d.cfg.Clock()), nil
}

// release unmounts a volume that nobody on this host uses, gives its lease back if it is still this
// host's, and forgets its holds. The caller has the volume's lock.
func (d *Driver) release(ctx context.Context, s *store.Store, v volume) error {
	if err := d.takeDown(ctx, v.Name); err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	current, err := d.current(s, v.Name)
	if err != nil {
		return err
	}
	if current.Host == d.self.Host && current.State != lease.Released {
		released := current
		released.State = lease.Released
		err := d.leases(s).Rewrite(current, released)
		switch {
		case err == nil:
			current = released
		case !errors.Is(err, lease.ErrTaken): // taken: another host's by now, in any state
			return err
		}
	}
	used := v.Epoch > 0 || len(v.Holds) > 0
	v = v.idle()
	v.seen = current
	if !used {
		d.publish(v)
		return nil
	}
	d.log.Info("volume released", "volume", v.Name, "epoch", current.Epoch)
	return d.save(v)
}

// current reads a volume's lease, the zero one also if the volume is gone.
func (d *Driver) current(s *store.Store, name string) (lease.Lease, error) {
	return d.leases(s).Current(name)
}

// pause waits, and tells whether the context is still alive.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
