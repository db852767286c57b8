package plugin

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/guard"
	"mooring/plugin/store"
)

// Guard keeps this host's heartbeat and fences the volumes that it watches. It outlives the driver.
type Guard interface {
	// Attach makes sure that the host's guard runs, and returns what it says.
	Attach(ctx context.Context, host guard.Host) (guard.Status, error)
	// Watch makes the guard answer for a volume, or tells why it may not be mounted. Asked again it says
	// whether the volume was fenced meanwhile.
	Watch(ctx context.Context, v guard.Volume) error
	// Forget ends the watch over a volume that is not mounted any more.
	Forget(ctx context.Context, name string) error
	// Acknowledge drops a settled report.
	Acknowledge(ctx context.Context, name string) error
	// Leave lets the guard end if it has nothing to guard.
	Leave(ctx context.Context) error
}

// pulse is what the guard said last.
type pulse struct {
	asking sync.Mutex // held while the guard is asked

	mu      sync.Mutex
	status  guard.Status
	known   bool
	answers bool          // the guard did when it was last asked
	at      time.Duration // clock reading at the last confirmed heartbeat
}

// heart asks for one heartbeat and heeds what the guard has done. It does not touch the store.
func (d *Driver) heart(ctx context.Context) {
	s := d.knownStore()
	if s == nil {
		return
	}
	if err := d.beat(ctx, s); err != nil && ctx.Err() == nil {
		d.log.Warn("no heartbeat", "error", err)
	}
	d.heedGuard(ctx)
}

// beat finds the guard, which beats, and learns what it has noticed.
func (d *Driver) beat(ctx context.Context, s *store.Store) error {
	d.pulse.asking.Lock()
	defer d.pulse.asking.Unlock()
	begun := d.cfg.Clock()
	host := guard.Host{Identity: d.self, StateDir: stateDir(d.cfg), StoreDir: d.cfg.StoreDir, StoreUUID: s.UUID(),
		Heartbeat: d.cfg.Heartbeat, FenceAfter: d.cfg.FenceAfter}
	if d.cfg.ensemble != nil {
		host.Leases = d.cfg.ensemble.String()
	}
	status, err := d.guard.Attach(ctx, host)
	d.pulse.mu.Lock()
	d.pulse.answers = err == nil
	d.pulse.mu.Unlock()
	if err != nil {
		return err
	}
	if status.Rival {
		d.log.Error("another plugin runs under this host's name: give each host its own HOST", "host", d.self.Host)
		d.mu.Lock()
		d.rival = d.cfg.Clock() + d.cfg.TakeAfter
		d.mu.Unlock()
	}
	d.pulse.mu.Lock()
	d.pulse.status, d.pulse.known, d.pulse.at = status, true, begun-status.Age
	d.pulse.mu.Unlock()
	if !status.Pulse.Known || status.Age >= d.cfg.FenceAfter {
		return fmt.Errorf("the guard has no heartbeat: %s", cmp.Or(status.Problem, "the store does not answer"))
	}
	return nil
}

// checkPulse makes sure that other hosts see this one alive: a lease without a heartbeat is soon taken.
func (d *Driver) checkPulse(ctx context.Context, s *store.Store) error {
	d.pulse.mu.Lock()
	recent := d.pulse.known && d.pulse.status.Pulse.Known && d.cfg.Clock()-d.pulse.at < d.cfg.FenceAfter
	d.pulse.mu.Unlock()
	if recent {
		return nil
	}
	return d.beat(ctx, s)
}

// lapses is what the guard's pulse has counted; a lease created from now on is covered if it stays so.
func (d *Driver) lapses() uint64 {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	return d.pulse.status.Pulse.Lapses
}

// guarded tells whether this host's containers are stopped when it is cut off, even without the driver.
func (d *Driver) guarded() bool {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	return d.pulse.known && d.pulse.status.Independent
}

// watchOver puts a volume under the guard's watch, before it is mounted and again after it was: if the
// fence has fallen in between, the guard refuses.
func (d *Driver) watchOver(ctx context.Context, s *store.Store, v volume) error {
	target := d.target(v.Name)
	tree, err := d.backend.Tree(d.spec(s, v), target)
	if err != nil {
		return err
	}
	err = d.guard.Watch(ctx, guard.Volume{Name: v.Name, Epoch: v.Epoch, Lapses: v.Lapses,
		Target: target, Tree: tree, OwnFS: kind(v.Volume) == backend.KindImage})
	if err != nil {
		return fmt.Errorf("put under guard: %w", err)
	}
	return nil
}

// takeDown unmounts a volume and ends the guard's watch over it.
func (d *Driver) takeDown(ctx context.Context, name string) error {
	if err := d.backend.Unmount(ctx, d.target(name)); err != nil {
		return err
	}
	if err := d.guard.Forget(ctx, name); err != nil {
		d.log.Warn("guard not told of an unmounted volume", "volume", name, "error", err) // it finds nothing to kill
	}
	return nil
}

// fenced is the guard's report on a volume's use by this host, if it was fenced.
func (d *Driver) fenced(name string) (guard.Report, bool) {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	for _, r := range d.pulse.status.Fenced {
		if r.Volume.Name == name {
			return r, true
		}
	}
	return guard.Report{}, false
}

// heedGuard takes note of what the guard has fenced.
func (d *Driver) heedGuard(ctx context.Context) {
	d.pulse.mu.Lock()
	reports := d.pulse.status.Fenced
	d.pulse.mu.Unlock()
	for _, r := range reports {
		d.background(r.Volume.Name, func() error { return d.heed(ctx, r.Volume.Name) })
	}
}

// heed ends this host's use of a volume that was fenced, and drops the report once nobody here has the
// volume any more: then it may be mounted again, under a new lease. The caller has the volume's lock.
func (d *Driver) heed(ctx context.Context, name string) error {
	r, fenced := d.fenced(name)
	if !fenced {
		return nil
	}
	v, known := d.volume(name)
	if known && v.Epoch > 0 && v.Epoch <= r.Volume.Epoch {
		d.log.Error("volume was fenced by the guard", "volume", name, "epoch", v.Epoch, "reason", r.Reason,
			"killed", r.Killed, "stuck", r.Stuck)
		v = v.idle()
		v.recovered = true
		if err := d.save(v); err != nil {
			return err
		}
		d.tally.note(func(h *admin.Happened) { h.Fences++ })
	}
	if !r.Settled {
		return nil
	}
	if known && v.Epoch == 0 { // the guard may be unable to unmount what a later plugin mounted
		if err := d.backend.Unmount(ctx, d.target(name)); err != nil {
			return err
		}
	}
	if err := d.guard.Acknowledge(ctx, name); err != nil {
		return err
	}
	d.forgetReport(name)
	return nil
}

func (d *Driver) forgetReport(name string) {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	var left []guard.Report
	for _, r := range d.pulse.status.Fenced {
		if r.Volume.Name != name {
			left = append(left, r)
		}
	}
	d.pulse.status.Fenced = left
}

// checkFence refuses a volume that was fenced and is not free again.
func (d *Driver) checkFence(ctx context.Context, name string) error {
	if err := d.heed(ctx, name); err != nil {
		return err
	}
	if r, fenced := d.fenced(name); fenced {
		return fmt.Errorf("was fenced on this host (%s) and is not free yet: %d of its processes are stuck in the kernel, "+
			"or its lease (epoch %d) could not be given back; try again once the store answers", r.Reason, len(r.Stuck), r.Volume.Epoch)
	}
	return nil
}
