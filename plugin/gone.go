package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mooring/plugin/admin"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Gone takes the volumes of a host that is gone for good, as somebody says who must know: they belong to nobody then, any host
// may mount them. The word replaces the long wait, not the look at the host: it is refused while the host's heartbeat moves,
// unless the order says otherwise. Each volume is taken by itself; those taken stay so if the rest fails, and the order can be
// given again.
func (d *Driver) Gone(ctx context.Context, host string, order admin.GoneOrder) (admin.Gone, error) {
	return bounded(ctx, d, func(ctx context.Context) (admin.Gone, error) { return d.gone(ctx, host, order) })
}

func (d *Driver) gone(ctx context.Context, host string, order admin.GoneOrder) (admin.Gone, error) {
	result := admin.Gone{Host: host, Taken: []admin.Taken{}}
	s, err := d.usableStore()
	if err != nil {
		return result, err
	}
	if err := d.checkGone(s, host, order); err != nil {
		return result, err
	}
	d.log.Warn("host said to be gone", "host", host, "reason", order.Reason, "volumes", order.Volumes, "guarded", order.Guarded, "evenIfAlive", order.EvenIfAlive)
	leave := func(name string, err error) {
		result.Left = append(result.Left, admin.Left{Volume: name, Error: err.Error()})
	}
	held, err := d.heldBy(s, host, order.Volumes, leave)
	if err != nil || len(held) == 0 {
		return result, err
	}
	terms := d.terms(!order.Guarded)
	if err := d.awaitSilence(ctx, s, held[0], order.EvenIfAlive, d.terms(true)); err != nil {
		return result, err // says the host, hence is true for all
	}
	for _, l := range held {
		single := admin.Order{Reason: order.Reason, From: host, EvenIfAlive: order.EvenIfAlive}
		var taken admin.Taken
		err := d.attend(ctx, l.Volume, func(ctx context.Context) (err error) {
			taken, err = d.takeOver(ctx, l.Volume, single, terms)
			return err
		}, nil)
		if err != nil {
			leave(l.Volume, err)
			continue
		}
		result.Taken = append(result.Taken, taken)
	}
	return result, nil
}

// checkGone says what is wrong with an order: a mistyped name would take nothing, and seem to have worked.
func (d *Driver) checkGone(s *store.Store, host string, order admin.GoneOrder) error {
	if host == d.self.Host {
		return fmt.Errorf("host %s is this host itself, which is not gone", host)
	}
	for _, name := range order.Volumes {
		if !namePattern.MatchString(name) {
			return unlessKnown(false, name)
		}
	}
	hosts, err := d.leases(s).Hosts()
	if err != nil {
		return fmt.Errorf("list hosts: %w", err)
	}
	if !slices.Contains(hosts, host) {
		slices.Sort(hosts)
		return fmt.Errorf("no host %q has ever used this store: use one of %v", host, hosts)
	}
	return nil
}

// heldBy returns the leases of a host on some volumes, or on all of the store if none is named, and begins to watch each. What
// cannot be read is left.
func (d *Driver) heldBy(s *store.Store, host string, names []string, leave func(name string, err error)) ([]lease.Lease, error) {
	if len(names) == 0 {
		var err error
		if names, err = s.Names(); err != nil {
			return nil, fmt.Errorf("list volumes: %w", err)
		}
		slices.Sort(names)
	}
	var held []lease.Lease
	for _, name := range names {
		l, err := d.current(s, name)
		if err != nil {
			leave(name, errors.Join(fmt.Errorf("volume %s", name), err))
			continue
		}
		if l.Host == host && l.State != lease.Released {
			d.watch.Age(l, d.cfg.Clock())
			held = append(held, l)
		}
	}
	return held, nil
}
