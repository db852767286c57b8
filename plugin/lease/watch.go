package lease

import (
	"sync"
	"time"
)

// Heartbeat shows that a host lives: its sequence grows as long as its plugin runs and reaches the store.
type Heartbeat struct {
	Format int `json:"format"`
	Identity
	Sequence uint64 `json:"sequence"`
}

// Sight is what a Watch knows about one host.
type Sight struct {
	Still time.Duration // how long its heartbeat has stood still
	Beats uint64        // how often it was seen to move
}

// Watch times the heartbeats of other hosts on this host's own clock. Times are readings of a clock
// that does not run backwards. The zero Watch is ready for use, also concurrently.
type Watch struct {
	// Gap is the longest time between two looks over which standing still counts: of a longer one it is
	// not known that this host was awake and the store answered all along. 0 means no limit.
	Gap time.Duration

	mu     sync.Mutex
	seen   map[string]*record
	leases map[string]leaseRecord
}

type record struct {
	beat   Heartbeat
	since  time.Duration
	looked time.Duration
	beats  uint64
}

type leaseRecord struct {
	lease Lease
	since time.Duration
}

// See notes the heartbeat of a host (the zero one if there is none), as read from time began to time
// now. What was read is as old as began at worst, and as new as now at best: standing still counts from
// the end of one read to the start of another.
func (w *Watch) See(host string, beat Heartbeat, began, now time.Duration) Sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[string]*record{}
	}
	r, known := w.seen[host]
	switch {
	case !known:
		r = &record{beat: beat, since: now}
		w.seen[host] = r
	case r.beat != beat:
		r.beat, r.since = beat, now
		r.beats++
	case w.Gap > 0 && now-r.looked > w.Gap:
		r.since = now
	}
	r.looked = now
	return Sight{Still: max(0, began-r.since), Beats: r.beats}
}

// Age notes a lease as read by time now, and tells for how long at least it has been there. A heartbeat
// that stood still before says nothing about its holder.
func (w *Watch) Age(l Lease, now time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leases == nil {
		w.leases = map[string]leaseRecord{}
	}
	r, known := w.leases[l.Volume]
	if !known || r.lease != l {
		r = leaseRecord{lease: l, since: now}
		w.leases[l.Volume] = r
	}
	return now - r.since
}
