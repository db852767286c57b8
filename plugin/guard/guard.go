package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"mooring/plugin/lease"
)

const (
	// lookPause is how often the guard looks at its clock: it adds to the time until it fences.
	lookPause = 250 * time.Millisecond
	// sweepPause is how often it looks whether somebody has a fenced volume.
	sweepPause = time.Second
	// leasesPerRound is how many leases are read with one heartbeat, so that many volumes cost little.
	leasesPerRound = 64
)

// Options are the edges of a Guard.
type Options struct {
	Leases Leases
	Fence  func(volumes []Volume, mayFlush bool) []Report // one report for each volume
	Keep   func(p lease.Pulse, fenced []Report)           // keeps them for the next guard; must not wait
	Clock  func() time.Duration                           // counts while the machine sleeps
	Log    hclog.Logger
}

// Leases is where leases and heartbeats are kept. Its methods may never return.
type Leases interface {
	// Beat makes a heartbeat durable and visible to other hosts, and returns the one it replaced. What it
	// could not do while it was called must not happen later and count as done now.
	Beat(beat lease.Heartbeat) (previous lease.Heartbeat, err error)
	// Current reads a volume's lease, the zero one if the volume has none or is gone.
	Current(volume string) (lease.Lease, error)
	// Rewrite changes the state of this host's own lease; lease.ErrTaken if from is not the current one.
	Rewrite(from, to lease.Lease) error
}

// Guard watches the volumes of one host. Start it with Run.
type Guard struct {
	host Host
	Options

	acting sync.Mutex // held while something is fenced

	mu       sync.Mutex
	pulse    lease.Pulse
	sequence uint64
	rival    bool   // since the last status
	problem  string // why the last heartbeat was not confirmed
	watched  map[string]Volume
	fenced   map[string]Report // from the decision to fence until the plugin acknowledged it
	pending  []sentence        // decided, not yet done
	turn     string            // the last volume whose lease was read
	frozen   bool              // a new guard takes over: nothing new is watched
}

// sentence is the decision to fence volumes.
type sentence struct {
	volumes  []Volume
	mayFlush bool
}

// New makes a guard that knows what an earlier one fenced.
func New(host Host, fenced []Report, o Options) *Guard {
	g := &Guard{host: host, Options: o, watched: map[string]Volume{}, fenced: map[string]Report{}}
	for _, r := range fenced {
		g.fenced[r.Volume.Name] = r
	}
	return g
}

// Run beats and fences until ctx ends. Parts of it that wait for the store may end later.
func (g *Guard) Run(ctx context.Context) error {
	var work errgroup.Group
	work.Go(func() error { every(ctx, g.host.Heartbeat, g.beat); return nil })
	work.Go(func() error { every(ctx, g.host.Heartbeat, g.checkLeases); return nil })
	work.Go(func() error { every(ctx, lookPause, g.look); return nil })
	work.Go(func() error { every(ctx, sweepPause, g.sweep); return nil })
	return work.Wait()
}

func every(ctx context.Context, pause time.Duration, work func()) {
	ticks := time.NewTicker(pause)
	defer ticks.Stop()
	for ctx.Err() == nil {
		work()
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}

// Watch makes the guard answer for a volume, or tells why it may not be mounted. It is asked before the
// mount and again after it, since the fence may have fallen in between.
func (g *Guard) Watch(v Volume) error {
	v.Disk = cmp.Or(v.Disk, diskOf(v.Tree))
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.Clock()
	if r := g.fenced[v.Name]; g.sentencedLocked(v) {
		return fmt.Errorf("volume %s was fenced on this host (%s); it can be mounted again once its processes are gone and its lease (epoch %d) is given back",
			v.Name, r.Reason, r.Volume.Epoch)
	}
	if !g.pulse.Alive(now, g.host.FenceAfter) {
		return silence(g.pulse, now, g.problem)
	}
	if !g.pulse.Covers(v.Lapses, now, g.host.FenceAfter) {
		g.condemnLocked([]Volume{v}, "the heartbeat lapsed since its lease was taken", false)
		return fmt.Errorf("volume %s is fenced on this host: its heartbeat lapsed since it took the lease (epoch %d)", v.Name, v.Epoch)
	}
	if g.frozen {
		return errors.New("a new guard is taking over, try again")
	}
	g.watched[v.Name] = v
	return nil
}

// Resume is Watch for a volume that has been mounted under an earlier guard. Where that one would have to fence by now, this
// one does: nobody else looks after the volume, and its containers write.
func (g *Guard) Resume(v Volume) error {
	g.mu.Lock()
	now := g.Clock()
	if !g.sentencedLocked(v) && !g.pulse.Alive(now, g.host.FenceAfter) {
		g.condemnLocked([]Volume{v}, silence(g.pulse, now, g.problem).Error(), false)
	}
	g.mu.Unlock()
	return g.Watch(v)
}

// sentencedLocked tells whether a volume may not be used under its lease any more.
func (g *Guard) sentencedLocked(v Volume) bool {
	r, known := g.fenced[v.Name]
	return known && (!r.Settled || v.Epoch <= r.Volume.Epoch)
}

// Forget ends the watch over a volume that is mounted no more.
func (g *Guard) Forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watched, name)
}

// Acknowledge drops the report of a volume that is settled.
func (g *Guard) Acknowledge(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fenced[name].Settled {
		delete(g.fenced, name)
		g.keepLocked()
	}
}

// Status describes the guard. It does not wait for anything.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{Format: format, Host: g.host, Pulse: g.pulse, Rival: g.rival, Problem: g.problem,
		Sequence: g.sequence, Watching: len(g.watched), Fenced: sorted(g.fenced)}
	if s.Pulse.Known {
		s.Age = g.Clock() - g.pulse.Began
	}
	g.rival = false
	return s
}

// Volumes lists what is watched.
func (g *Guard) Volumes() []Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	return sorted(g.watched)
}

// Idle tells whether nothing is watched and nothing fenced is left to settle.
func (g *Guard) Idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.watched) == 0 && len(g.pending) == 0 && len(g.unsettledLocked()) == 0
}

// freeze refuses new volumes while a new guard takes over, who would not know them. Only one can.
func (g *Guard) freeze() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen {
		return errors.New("another new guard is taking over already")
	}
	g.frozen = true
	return nil
}

func (g *Guard) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = false
}

// succeed beats once, in the place of a guard that goes on until this has happened.
func (g *Guard) succeed() error {
	g.beat()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.problem != "" {
		return errors.New(g.problem)
	}
	return nil
}

// beat writes one heartbeat. While it waits for the store, the others go on.
func (g *Guard) beat() {
	g.mu.Lock()
	sequence := g.sequence + 1
	g.mu.Unlock()
	start := g.Clock()
	previous, err := g.Leases.Beat(lease.Heartbeat{Identity: g.host.Identity, Sequence: sequence})
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.Log.Warn("no heartbeat", "error", err)
		g.problem = err.Error()
		return
	}
	if rivals(previous, g.host.Identity, sequence) {
		g.Log.Error("another plugin runs under this host's name: give each host its own HOST", "host", g.host.Host)
		g.rival = true
	}
	now := g.Clock()
	g.sequence, g.problem = sequence, ""
	silent := now - g.pulse.Began
	g.pulse.Confirm(start, now, g.host.FenceAfter)
	g.condemnLocked(g.uncoveredLocked(now), fmt.Sprintf("no heartbeat for %s, noticed too late", silent.Round(time.Second)), false)
	g.keepLocked()
}

// uncoveredLocked are the watched volumes that may be another host's by now.
func (g *Guard) uncoveredLocked(now time.Duration) []Volume {
	var found []Volume
	for _, v := range g.watched {
		if !g.pulse.Covers(v.Lapses, now, g.host.FenceAfter) {
			found = append(found, v)
		}
	}
	return found
}

// look fences the host once its heartbeat has lapsed, and carries out every other sentence.
func (g *Guard) look() {
	g.mu.Lock()
	now := g.Clock()
	// In time, nobody has taken a volume yet, nor will before it is flushed.
	inTime := now-g.pulse.Began < g.host.FenceAfter+time.Second
	g.condemnLocked(g.uncoveredLocked(now), silence(g.pulse, now, g.problem).Error(), inTime)
	due := len(g.pending) > 0
	g.mu.Unlock()
	if due {
		g.act()
	}
}

// act carries out the sentences that are due.
func (g *Guard) act() {
	g.acting.Lock()
	defer g.acting.Unlock()
	g.mu.Lock()
	sentences := g.pending
	g.pending = nil
	g.mu.Unlock()
	for _, s := range sentences {
		g.note(g.Fence(s.volumes, s.mayFlush))
	}
}

// condemnLocked decides that volumes are fenced; from now on they cannot be watched.
func (g *Guard) condemnLocked(volumes []Volume, reason string, mayFlush bool) {
	if len(volumes) == 0 {
		return
	}
	for _, v := range volumes {
		g.Log.Error("volume is fenced", "volume", v.Name, "epoch", v.Epoch, "reason", reason)
		delete(g.watched, v.Name)
		g.fenced[v.Name] = Report{Volume: v, Reason: reason, At: time.Now()}
	}
	g.pending = append(g.pending, sentence{volumes, mayFlush})
	g.keepLocked()
}

// note adds what was done to the reports.
func (g *Guard) note(done []Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range done {
		r, known := g.fenced[d.Volume.Name]
		if !known {
			continue
		}
		if !r.done || len(d.Killed) > 0 || !slices.Equal(d.Stuck, r.Stuck) || d.Problem != r.Problem {
			g.Log.Warn("volume fenced", "volume", d.Volume.Name, "killed", d.Killed, "stuck", d.Stuck, "spared", d.Spared,
				"shutdown", d.Shutdown, "error", d.Problem)
		}
		r.Killed = append(r.Killed, d.Killed...)
		r.Stuck, r.Spared, r.Problem = d.Stuck, d.Spared, d.Problem
		r.Shutdown = r.Shutdown || d.Shutdown
		r.done = true
		g.fenced[d.Volume.Name] = r
	}
	g.keepLocked()
}

// sweep fences again what is not settled: a container may have been on its way when its volume was
// fenced, and a process that was stuck may be dead by now.
func (g *Guard) sweep() {
	if !g.acting.TryLock() {
		return
	}
	defer g.acting.Unlock()
	g.mu.Lock()
	var volumes []Volume
	if len(g.pending) == 0 {
		for _, r := range g.unsettledLocked() {
			volumes = append(volumes, r.Volume)
		}
	}
	g.mu.Unlock()
	if len(volumes) > 0 {
		g.note(g.Fence(volumes, false))
	}
}

func (g *Guard) unsettledLocked() []Report {
	return slices.DeleteFunc(sorted(g.fenced), func(r Report) bool { return r.Settled })
}

func (g *Guard) keepLocked() { g.Keep(g.pulse, sorted(g.fenced)) }

func sorted[T any](m map[string]T) []T {
	list := make([]T, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[name])
	}
	return list
}
