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
// that also counts while the machine sleeps. The zero Watch is ready for use, also concurrently.
type Watch struct {
	// Gap is the longest time between two looks over which standing still counts. While the store does
	// not answer, nobody can beat, and nobody's heartbeat is judged. 0 means no limit.
	Gap time.Duration

	mu   sync.Mutex
	seen map[string]*record
}

type record struct {
	beat   Heartbeat
	since  time.Duration
	looked time.Duration
	beats  uint64
}

// See notes the heartbeat of a host (the zero one if there is none) as read at time now.
func (w *Watch) See(host string, beat Heartbeat, now time.Duration) Sight {
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
	return Sight{Still: now - r.since, Beats: r.beats}
}
