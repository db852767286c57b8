package lease_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"mooring/plugin/lease"
)

// rules are what the hosts of a history do and what their world may do to them. The zero one, filled up
// by withDefaults, is what Mooring does and what it takes for granted; each field that is set breaks one
// of the two.
type rules struct {
	self, take time.Duration

	// Broken rules.
	fromConfirmation bool // a heartbeat counts from its confirmation instead of its start
	wallClock        bool // the taker compares the holder's time stamps with its own clock
	unattendedByTime bool // a silent host's unattended lease is taken
	unguardedByTime  bool // a silent host's unguarded lease is taken
	renamedEpoch     bool // a new epoch replaces an existing one, as a rename does
	noSecondLook     bool // who created an epoch doesn't look whether it was an old, pruned one
	noGap            bool // standing still counts also over times without a look
	readEnd          bool // standing still counts up to the end of a read
	keepAfterFence   bool // a fenced host goes on under its old lease
	noAge            bool // standing still counts from before the lease
	noLapses         bool // a lease counts although the heartbeat lapsed since it was wanted
	noConfirm        bool // a mount isn't confirmed by the guard before a container gets it
	freshGuard       bool // a new guard counts from its own start
	leftByRewrite    bool // a lease becomes an unattended one by rewriting it
	heldFirst        bool // an unattended lease is taken back before the guard watches over its containers
	releaseFirst     bool // a lease is released before the containers have stopped
	noClone          bool // a takeover goes on with the old image
	debtForgotten    bool // a clone that a takeover owes isn't owed by the next one
	lyingOperator    bool // takeovers are ordered from hosts that live

	// The world: what is taken for granted.
	bothFail bool          // a guard dies while its plugin doesn't run
	drift    int           // percent
	stale    time.Duration // age of a read
	stall    time.Duration // of a guard, and of a whole host
	freeze   time.Duration // of a whole host; needs clones
}

func (r rules) withDefaults() rules {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&r.self, 10*time.Second)
	set(&r.take, 20*time.Second)
	set(&r.stale, lease.Stale)
	set(&r.stall, 2*time.Second)
	if r.drift == 0 {
		r.drift = lease.Drift
	}
	return r
}

// killing is how long a guard that runs takes to stop all writers at most.
const killing = 1500 * time.Millisecond

// history is one run of a small world: hosts that want one volume, and a store that they share.
type history struct {
	rules
	rng               *rand.Rand
	close             bool // all that happens is that links break and requests are slow, just as long as it matters
	slow              int  // one of so many requests is slow
	slowest           time.Duration
	shortest, longest time.Duration // that a host is cut off
	now               time.Duration // true time, which nobody knows
	queue             []due         // a heap
	events            []event
	free              []int // of events
	count             int
	hosts             []*host
	store             server
	story             func(format string, args ...any) // nil if nobody listens

	failure string
	counts  counts
}

// counts show that histories are about something.
type counts struct {
	histories, events, writers, takeovers, fences, adoptions, late, orders int
}

func (c *counts) add(o counts) {
	c.histories += o.histories
	c.events += o.events
	c.writers += o.writers
	c.takeovers += o.takeovers
	c.fences += o.fences
	c.adoptions += o.adoptions
	c.late += o.late
	c.orders += o.orders
}

// event is something that happens, to a process unless it ended meanwhile.
type event struct {
	who  *process
	life int
	run  func()
}

// due is when an event happens. The queue holds no pointers, which makes it fast.
type due struct {
	at    time.Duration
	order int // of events at the same time
	event int // in events
}

func (d due) before(o due) bool { return d.at < o.at || d.at == o.at && d.order < o.order }

// process is something that can be paused and killed. What happens to it while paused happens later.
type process struct {
	life   int
	up     bool
	paused time.Duration // until then
}

func (p *process) start() { p.life, p.up = p.life+1, true }
func (p *process) kill()  { p.life, p.up = p.life+1, false }

// in schedules an event after a true time.
func (h *history) in(d time.Duration, who *process, run func()) {
	e := event{who: who, run: run}
	if who != nil {
		e.life = who.life
	}
	slot := len(h.events)
	if n := len(h.free); n > 0 {
		slot = h.free[n-1]
		h.free = h.free[:n-1]
		h.events[slot] = e
	} else {
		h.events = append(h.events, e)
	}
	h.count++
	h.push(due{at: h.now + d, order: h.count, event: slot})
}

func (h *history) push(d due) {
	h.queue = append(h.queue, d)
	i := len(h.queue) - 1
	for i > 0 && d.before(h.queue[(i-1)/2]) {
		h.queue[i] = h.queue[(i-1)/2]
		i = (i - 1) / 2
	}
	h.queue[i] = d
}

func (h *history) pop() due {
	first, n := h.queue[0], len(h.queue)-1
	d := h.queue[n]
	h.queue = h.queue[:n]
	i := 0
	for child := 1; child < n; child = 2*i + 1 {
		if child+1 < n && h.queue[child+1].before(h.queue[child]) {
			child++
		}
		if d.before(h.queue[child]) {
			break
		}
		h.queue[i] = h.queue[child]
		i = child
	}
	if n > 0 {
		h.queue[i] = d
	}
	return first
}

// play runs a history to its end or its first violation.
func (h *history) play() {
	for len(h.queue) > 0 && h.failure == "" {
		d := h.pop()
		if d.at > length {
			return
		}
		h.now = d.at
		e := h.events[d.event]
		if e.who != nil && e.who.life == e.life && e.who.paused > h.now {
			d.at = e.who.paused
			h.push(d)
			continue
		}
		h.free = append(h.free, d.event)
		if e.who == nil || e.who.life == e.life {
			h.counts.events++
			e.run()
		}
	}
}

// upTo draws a time below a limit; tens of microseconds apart, so that orders vary.
func (h *history) upTo(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(h.rng.Int64N(int64(limit)))
}

func (h *history) between(low, high time.Duration) time.Duration { return low + h.upTo(high-low) }

// step is how long a process takes from one thing it does to the next. It may be paused just there.
func (h *history) step() time.Duration {
	if h.chance(30) {
		return h.upTo(40 * time.Second)
	}
	return h.upTo(20 * time.Millisecond)
}

// chance is true once in n times.
func (h *history) chance(n int) bool { return h.rng.IntN(n) == 0 }

func (h *history) fail(format string, args ...any) {
	if h.failure == "" {
		h.failure = fmt.Sprintf("at %s: ", h.now) + fmt.Sprintf(format, args...)
	}
}

func (h *history) tell(format string, args ...any) {
	if h.story != nil {
		h.story("%12s  %s", h.now.Round(time.Microsecond), fmt.Sprintf(format, args...))
	}
}

// clock is a host's boot-time clock: it starts anywhere, and runs too fast or too slow.
type clock struct {
	rate    float64
	at      time.Duration // true time of the reading
	reading time.Duration
	stopped bool
}

func (c *clock) read(now time.Duration) time.Duration {
	if c.stopped {
		return c.reading
	}
	return c.reading + time.Duration(c.rate*float64(now-c.at))
}

// stop and resume are those of a paused virtual machine, whose clock doesn't notice.
func (c *clock) stop(now time.Duration)   { c.reading, c.at, c.stopped = c.read(now), now, true }
func (c *clock) resume(now time.Duration) { c.at, c.stopped = now, false }

// lasts is the true length of a time measured by the clock.
func (c *clock) lasts(d time.Duration) time.Duration { return time.Duration(float64(d) / c.rate) }
