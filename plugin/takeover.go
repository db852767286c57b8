package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// TakeOver takes a volume from a host that an operator knows to be dead, although its heartbeat has not stood
// still for long enough or does not count. The volume belongs to nobody then: any host may mount it. It
// is refused when nobody or this host itself holds the volume, and, unless the order says otherwise, while the
// holder's heartbeat moves.
func (d *Driver) TakeOver(ctx context.Context, name string, order admin.Order) (admin.Taken, error) {
	var taken admin.Taken
	err := d.attend(ctx, name, func(ctx context.Context) (err error) {
		taken, err = d.takeOver(ctx, name, order, d.terms(true))
		return err
	}, nil)
	if err != nil {
		return admin.Taken{}, err
	}
	return taken, nil
}

// terms are those of an order: a short silence is enough. An operator's word also counts for leases that time never frees.
func (d *Driver) terms(operators bool) lease.Terms {
	return lease.Terms{After: 2 * d.cfg.Heartbeat, Ordered: operators}
}

// takeOver is TakeOver on these terms, with the volume's lock held.
func (d *Driver) takeOver(ctx context.Context, name string, order admin.Order, terms lease.Terms) (admin.Taken, error) {
	if err := d.learn(name); err != nil {
		return admin.Taken{}, err
	}
	s, v, err := d.ready(ctx, name)
	if err != nil {
		return admin.Taken{}, err
	}
	current, err := d.current(s, name)
	if err != nil {
		return admin.Taken{}, err
	}
	if stored, err := s.Read(name); err == nil {
		v.Volume = stored // which counts; an operator may have changed its policy there
	}
	terms.Policy = policy(v.Volume)
	if err := d.takeable(current, name, order.From, terms); err != nil {
		return admin.Taken{}, err
	}
	if err := d.freeable(s, current, terms); err != nil {
		return admin.Taken{}, err
	}
	if err := d.awaitSilence(ctx, s, current, order.EvenIfAlive, terms); err != nil {
		return admin.Taken{}, err
	}
	// One step, so that a crash leaves the volume either as it was or free.
	next := current.Next(name, d.self)
	next.State = lease.Released
	log := d.log.With("volume", name, "host", current.Host, "from", current.Epoch, "epoch", next.Epoch, "reason", order.Reason)
	log.Warn("takeover ordered", "lease", current.State, "evenIfAlive", order.EvenIfAlive)
	if next, err = d.leases(s).Create(current, next); err != nil {
		return admin.Taken{}, fmt.Errorf("take volume %s over: %w", name, err)
	}
	log.Warn("volume taken over by order")
	d.tally.note(func(h *admin.Happened) { h.TakenByOrder++ })
	v.seen = next
	d.publish(v)
	return admin.Taken{Volume: name, From: current.Host, FromEpoch: current.Epoch, Epoch: next.Epoch}, nil
}

// takeable tells whether there is somebody to take the volume from, on these terms; from names the only one, if it is not empty.
func (d *Driver) takeable(current lease.Lease, name, from string, terms lease.Terms) error {
	switch {
	case current.Epoch == 0 || current.State == lease.Released:
		return fmt.Errorf("volume %s is held by no host: there is nothing to take over, mount it where it is wanted", name)
	case current.Host == d.self.Host:
		return fmt.Errorf("volume %s is held by this host itself (%s, epoch %d): there is nothing to take over, "+
			"stop its containers here", name, d.self.Host, current.Epoch)
	case terms.Policy == lease.Never:
		return &lease.HeldError{Lease: current, Policy: terms.Policy}
	case from != "" && current.Host != from:
		return fmt.Errorf("volume %s is held by host %s (epoch %d), not by %s: name its holder", name, current.Host, current.Epoch, from)
	}
	return nil
}

// freeable tells whether silence would free a volume on these terms.
func (d *Driver) freeable(s *store.Store, current lease.Lease, terms lease.Terms) error {
	if lease.Decide(current, d.self, lease.Watched{Still: terms.After}, terms) != lease.Refuse {
		return nil
	}
	sight, err := d.look(s, current.Host)
	held := &lease.HeldError{Lease: current, Still: sight.Still, Policy: terms.Policy}
	return errors.Join(fmt.Errorf("%w; or, if that host is down for good, let an operator say so: mooring volumes gone %s", held, current.Host), err)
}

// awaitSilence watches the holder's heartbeat for two beats at most, and refuses if it moves.
func (d *Driver) awaitSilence(ctx context.Context, s *store.Store, current lease.Lease, evenIfAlive bool, terms lease.Terms) error {
	if evenIfAlive {
		return nil
	}
	var first *lease.Sight
	for {
		sight, err := d.look(s, current.Host)
		if err != nil {
			return fmt.Errorf("%w; if that host is certainly down, add --even-if-alive", err)
		}
		if first == nil {
			first = &sight
		}
		watched := lease.Watched{Still: min(sight.Still, d.watch.Age(current, d.cfg.Clock())), Beat: sight.Beats > first.Beats}
		switch lease.Decide(current, d.self, watched, terms) {
		case lease.Take:
			return nil
		case lease.Refuse:
			return fmt.Errorf("host %s, which holds volume %s (epoch %d), is alive: its last heartbeat was %s ago; stop the volume's containers there, "+
				"or, if nothing there can write it, add --even-if-alive", current.Host, current.Volume, current.Epoch, sight.Still.Round(time.Second))
		}
		if !pause(ctx, watchPause) {
			return errors.Join(fmt.Errorf("watch host %s", current.Host), ctx.Err())
		}
	}
}
