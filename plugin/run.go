package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring/plugin/store"
)

const (
	// When the plugin is told to stop, calls at work get drainTime, then finishTime to undo themselves, and
	// leaving the volumes gets leaveTime: together less than the 10 s until the engine kills a plugin.
	drainTime  = 4 * time.Second
	finishTime = time.Second
	leaveTime  = 4 * time.Second
	// seenPerRound is how many volumes' leases are read for their status in one round, so that many
	// volumes on slow storage cost a little all the time and never much at once.
	seenPerRound = 32
	// trashRound is how many heartbeats pass between two looks for removed volumes whose time is over.
	trashRound = 10
)

// Run is the volume driver as a process: it answers on the socket until ctx ends, then leaves the
// volumes in a state that other hosts can judge.
func Run(ctx context.Context, cfg Config) error {
	d, err := Open(cfg)
	if err != nil {
		return err
	}
	listener, err := Listen(cfg.Socket)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	d.log.Info("volume driver listening", "host", d.self.Host, "socket", cfg.Socket)
	endCoordinator := d.runCoordinator(ctx)
	err = d.serveUntil(ctx, listener)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	left := within(leaving, func() error { return d.Shutdown(leaving) })
	endCoordinator()
	return errors.Join(err, left, d.Close())
}

// within waits for work as long as ctx lives. Storage that does not answer may keep the work for ever,
// but not the process, which ends after this.
func within(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("work was left unfinished, perhaps because the store does not answer: %w", ctx.Err())
	}
}

// Run keeps this host's heartbeat and looks after volumes until ctx ends. It may return later when the
// store does not answer.
func (d *Driver) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { d.every(ctx, d.lookAtClasses); return nil })
	_, _ = d.usableStore() // noted in the status; each round looks again
	g.Go(func() error { d.every(ctx, d.heart); return nil })
	g.Go(func() error { d.every(ctx, d.round); return nil })
	g.Go(func() error { d.emptyTrash(ctx); return nil })
	g.Go(func() error { d.keepBinary(ctx); return nil })
	return g.Wait()
}

// every calls work at once and then with every heartbeat.
func (d *Driver) every(ctx context.Context, work func(context.Context)) {
	ticks := time.NewTicker(d.cfg.Heartbeat)
	defer ticks.Stop()
	for {
		work(ctx)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// checkRival refuses work while another host uses this one's name: both would take each other's leases
// for their own.
func (d *Driver) checkRival() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.cfg.Clock() < d.rival {
		return fmt.Errorf("another plugin runs under this host's name %s: give each host its own HOST", d.self.Host)
	}
	return nil
}

// round is everything else that is done between calls. It ends early when ctx does.
func (d *Driver) round(ctx context.Context) {
	s, err := d.usableStore()
	if err != nil {
		return
	}
	d.watchHosts(s)
	d.scan(s)
	d.recoverAll(ctx, s)
	d.reap(ctx, s)
	d.readLeases(s)
}

// watchHosts looks at all hosts' heartbeats, so that a Mount that needs one has been watching for long.
func (d *Driver) watchHosts(s *store.Store) {
	hosts, err := d.leases(s).Hosts()
	if err != nil {
		d.log.Warn("hosts not watched", "error", err)
		return
	}
	for _, host := range hosts {
		if _, err := d.look(s, host); err != nil {
			d.log.Warn("host not watched", "host", host, "error", err)
		}
	}
}

// recoverAll recovers the volumes that no verb has needed yet.
func (d *Driver) recoverAll(ctx context.Context, s *store.Store) {
	for _, name := range d.names() {
		if v, _ := d.volume(name); !v.recovered && ctx.Err() == nil {
			d.background(name, func() error { return d.recover(ctx, s, name) })
		}
	}
}

// readLeases refreshes, for the status of volumes that other hosts may hold, what their leases say. The
// map's order changes, so that each volume gets its turn.
func (d *Driver) readLeases(s *store.Store) {
	if !d.isGlobal() {
		return
	}
	names := d.names()
	for _, name := range names[:min(len(names), seenPerRound)] {
		d.background(name, func() error { return d.readLease(s, name) })
	}
}

func (d *Driver) readLease(s *store.Store, name string) error {
	v, known := d.volume(name)
	if !known || v.Epoch > 0 {
		return nil
	}
	current, err := d.current(s, name)
	if err != nil {
		return err
	}
	d.watch.Age(current, d.cfg.Clock()) // so that a Mount need not begin to wait then
	if current != v.seen {
		v.seen = current
		d.publish(v)
	}
	return nil
}

// emptyTrash deletes removed volumes' files, which may take long, when their time is over.
func (d *Driver) emptyTrash(ctx context.Context) {
	rounds := time.NewTicker(trashRound * d.cfg.Heartbeat)
	defer rounds.Stop()
	for {
		if s := d.knownStore(); s != nil {
			if err := s.EmptyTrash(time.Now()); err != nil {
				d.log.Warn("trash not emptied", "error", err)
			}
		}
		select {
		case <-d.trash:
		case <-rounds.C:
		case <-ctx.Done():
			return
		}
	}
}
