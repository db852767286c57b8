// Package silence tells which hosts are silent, for one who watches heartbeats without holding a lease: whoever decides where
// containers go. It decides nothing about leases: a host is silent when package lease would let another one take its volumes. To
// the same one it tells who holds volumes.
package silence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mooring/coordinator"
	"mooring/plugin/lease"
)

const (
	rest       = 2 * time.Second // a host that has just beaten does so again after 3 s: it is not looked at for that long
	readLeases = 3 * time.Second // between two looks at a volume's lease while all is well
	lookTime   = 5 * time.Second // for one look; a store that takes longer says nothing
)

// Source is where heartbeats and leases are.
type Source interface {
	// Leases is asked before each look. It fails if the place is away, or is another one than before.
	Leases() (Leases, error)
	// Policy says how the volume of a lease may be taken over.
	Policy(lease.Lease) (lease.Policy, error)
	// Size says how large a volume may become, in bytes; 0: without a limit of its own, or not known here.
	Size(volume string) (int64, error)
}

// Leases is what is read there; see plugin.Leases.
type Leases interface {
	Current(volume string) (lease.Lease, error)
	ReadBeat(host string) (lease.Heartbeat, error)
	Hosts() ([]string, error)
}

// Observer watches heartbeats. What it saw counts from its making: a new one knows of nobody's death.
type Observer struct {
	source Source
	after  time.Duration
	clock  func() time.Duration
	turn   chan struct{} // holds one element while somebody looks, perhaps for longer than his caller waits

	watch lease.Watch // this and the rest belong to whoever looks
	hosts map[string]*host
}

// host is what was seen of one host.
type host struct {
	news  time.Duration // when it was last seen to have moved
	beats uint64        // how often it was seen to move
	still time.Duration
	read  time.Duration // when its volumes' leases were read
}

// New begins to watch. After is how long a heartbeat must stand still before others take its host's volumes; the clock must not
// stop while the machine sleeps.
func New(source Source, after time.Duration, clock func() time.Duration) *Observer {
	return &Observer{source: source, after: after, clock: clock, turn: make(chan struct{}, 1), watch: lease.Watch{Gap: after / 2}, hosts: map[string]*host{}}
}

// Look looks at the heartbeats of hosts, each given with the volumes of which somebody wants to know whether they could be taken
// over. It says nothing of a host that never beat, or could not be read. With an error it may still return what was seen.
//
// Standing still counts only while this observer could look: when its store is away, or it stood still itself, it knows of
// nobody's death. And it counts only while some other host is seen to move: when nobody moves, the store is not what it was, or
// nobody can write it, and there is no host to go to.
func (o *Observer) Look(ctx context.Context, volumes map[string][]string) (map[string]coordinator.Sight, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, errors.New("the store of heartbeats does not answer")
	}
	type result struct {
		sights map[string]coordinator.Sight
		err    error
	}
	done := make(chan result, 1)
	go func() { // the kernel lets nobody give up waiting for a file
		defer func() { <-o.turn }()
		sights, err := o.look(volumes)
		done <- result{sights, err}
	}()
	select {
	case r := <-done:
		return r.sights, r.err
	case <-ctx.Done():
		return nil, errors.New("the store of heartbeats does not answer")
	}
}

func (o *Observer) look(volumes map[string][]string) (map[string]coordinator.Sight, error) {
	leases, err := o.source.Leases()
	if err != nil {
		return nil, err
	}
	var errs []error
	sights, longest := map[string]coordinator.Sight{}, time.Duration(0)
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		h, err := o.see(leases, name)
		if err == nil && h != nil {
			sights[name] = coordinator.Sight{Still: h.still, Beats: o.moves(h)}
			longest = max(longest, h.still)
			err = o.watchLeases(leases, h, volumes[name])
		}
		errs = append(errs, err)
	}
	if longest > o.after/4 {
		errs = append(errs, o.seeOthers(leases, volumes))
	}
	if longest >= o.after {
		errs = append(errs, o.judge(leases, volumes, sights))
	}
	return sights, errors.Join(errs...)
}

// see looks at one host's heartbeat, nil if it never beat.
func (o *Observer) see(leases Leases, name string) (*host, error) {
	began := o.clock()
	h := o.hosts[name]
	if h != nil && h.beats > 0 && began-h.news < rest {
		h.still = began - h.news
		return h, nil
	}
	beat, err := leases.ReadBeat(name)
	if err != nil || beat.Host == "" {
		return nil, err
	}
	now := o.clock()
	sight := o.watch.See(name, beat, began, now)
	if h == nil {
		h = &host{read: now - readLeases}
		o.hosts[name] = h
	}
	if h.still = sight.Still; sight.Beats > h.beats {
		h.beats, h.news = sight.Beats, now
	}
	return h, nil
}

// moves tells whether a host was seen to move lately.
func (o *Observer) moves(h *host) bool { return h.beats > 0 && o.clock()-h.news < o.watch.Gap }

// seeOthers looks at all hosts there are: when one stands still it matters whether any other moves.
func (o *Observer) seeOthers(leases Leases, seen map[string][]string) error {
	all, err := leases.Hosts()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range all {
		if _, done := seen[name]; !done {
			_, err := o.see(leases, name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// watchLeases notes how long leases have been there: a heartbeat that stood still before says nothing about their holder.
func (o *Observer) watchLeases(leases Leases, h *host, volumes []string) error {
	now := o.clock()
	if now-h.read < readLeases {
		return nil
	}
	for _, volume := range volumes {
		current, err := leases.Current(volume)
		if err != nil {
			return err
		}
		o.watch.Age(current, o.clock())
	}
	h.read = now
	return nil
}

// judge says which hosts are silent, and which of their volumes nobody takes by time.
func (o *Observer) judge(leases Leases, volumes map[string][]string, sights map[string]coordinator.Sight) error {
	if !slices.ContainsFunc(slices.Collect(maps.Values(o.hosts)), o.moves) {
		return errors.New("no host's heartbeat moves: either no host reaches the store, or what is read here is not the store")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(sights)) {
		sight := sights[name]
		if sight.Still < o.after {
			continue
		}
		kept, err := o.keeps(leases, name, volumes[name], sight.Still)
		if sight.Silent, sight.Kept = err == nil, kept; err != nil { // not all is known of it
			errs = append(errs, err)
		}
		sights[name] = sight
	}
	return errors.Join(errs...)
}

// keeps says which volumes nobody takes by time from a host that stood still, and why.
func (o *Observer) keeps(leases Leases, host string, volumes []string, still time.Duration) (map[string]string, error) {
	kept := map[string]string{}
	for _, volume := range volumes {
		current, err := leases.Current(volume)
		if err != nil {
			return nil, err
		}
		if current.Host != host {
			continue
		}
		policy, err := o.source.Policy(current)
		if err != nil {
			return nil, err
		}
		watched := lease.Watched{Still: min(still, o.watch.Age(current, o.clock()))}
		if verdict := lease.Decide(current, lease.Identity{}, watched, lease.Terms{After: o.after, Policy: policy}); verdict != lease.Take {
			kept[volume] = why(current, verdict, policy)
		}
	}
	return kept, nil
}

func why(l lease.Lease, verdict lease.Verdict, policy lease.Policy) string {
	switch {
	case verdict == lease.Wait:
		return fmt.Sprintf("volume %s was taken there only lately", l.Volume)
	case l.State == lease.Unattended:
		return fmt.Sprintf("volume %s is unattended: its plugin was stopped while containers used it", l.Volume)
	case policy != lease.Auto:
		return fmt.Sprintf("volume %s is not taken over by time (takeover=%s)", l.Volume, policy)
	}
	return fmt.Sprintf("volume %s is unguarded: nothing there stops its containers", l.Volume)
}
