package lease_test

import (
	"math/rand/v2"
	"time"

	"mooring/plugin/lease"
)

const (
	hostCount = 3
	length    = 150 * time.Second
)

// newHistory is a world of hosts, some of which want the volume, and what will befall them.
func newHistory(seed uint64, r rules) *history {
	h := &history{rules: r.withDefaults(), rng: rand.New(rand.NewPCG(seed, 0))}
	h.store = server{beats: make([]beatFile, hostCount), images: []uint64{1}, grants: map[uint64]int{}, clones: map[uint64]bool{}}
	h.counts.histories = 1
	h.slow = []int{3, 20, 40}[h.rng.IntN(3)]
	h.slowest = []time.Duration{9500 * time.Millisecond, 30 * time.Second}[h.rng.IntN(2)]
	h.shortest, h.longest = 0, 45*time.Second
	if h.close = h.chance(3); h.close {
		h.slow, h.slowest = 4+h.rng.IntN(20), min(h.slowest, 20*time.Second)
		h.shortest, h.longest = 4*time.Second, 25*time.Second
	}
	for name := range hostCount {
		rate := 1 + float64(h.drift)/100*float64(h.rng.IntN(3)-1)
		host := &host{history: h, name: name, guarded: !h.chance(4), wall: h.upTo(2 * time.Minute),
			clock: clock{rate: rate, reading: h.upTo(time.Hour)}, beatCache: make([]cached[beatFile], hostCount)}
		h.hosts = append(h.hosts, host)
		host.powerOn()
		host.wants = h.close || h.chance(2)
	}
	for range 3 + h.rng.IntN(10) {
		h.in(h.upTo(length), nil, func() { h.fault(h.hosts[h.rng.IntN(hostCount)]) })
	}
	for range 2 + h.rng.IntN(8) {
		h.in(h.upTo(length), nil, func() {
			host := h.hosts[h.rng.IntN(hostCount)]
			host.wants = !host.wants || h.close
		})
	}
	return h
}

// fault lets something go wrong, most often where it matters: on the host that writes.
func (h *history) fault(on *host) {
	for _, host := range h.hosts {
		if host.writing && h.chance(2) {
			on = host
		}
	}
	if !on.up || on.frozen > h.now {
		return
	}
	kind := h.rng.IntN(12)
	if h.close {
		kind = 4 + 8*h.rng.IntN(2)
	}
	switch kind {
	case 0:
		on.crash()
	case 1, 2, 3, 4:
		on.cut, on.cutErrs = h.now+h.between(h.shortest, h.longest), h.chance(2)
		h.tell("%s: cut off until %s", hostName(on.name), on.cut)
	case 5:
		h.store.down = h.now + h.upTo(40*time.Second)
		h.tell("store: down until %s", h.store.down)
	case 6:
		on.killPlugin(h.upTo(30 * time.Second))
	case 7:
		for at := time.Duration(0); at < 8*time.Second; at += h.upTo(4 * time.Second) {
			h.in(at, &on.engine, func() { on.flurry() })
		}
	case 8:
		on.pausePlugin(h.upTo(45 * time.Second))
	case 9:
		on.leave(h.upTo(time.Minute))
	default:
		on.stall()
	}
}

// stall stops a guard or the whole host for a moment, or the host for longer if it may freeze. What
// makes a guard late comes one at a time.
func (h *host) stall() {
	if h.now < h.stalls {
		return
	}
	h.stalls = h.now + 40*time.Second
	switch {
	case h.rules.freeze > 0 && !h.chance(3):
		h.stalls = h.now + h.rules.freeze + 40*time.Second
		h.freezeFor(h.upTo(h.rules.freeze))
	case h.chance(3):
		h.freezeFor(h.upTo(h.rules.stall))
	case h.guarded && h.chance(2) && (h.plugin.up && h.plugin.paused <= h.now || h.bothFail):
		h.tell("%s: guard killed", hostName(h.name))
		h.guard.kill() // the plugin sees to that
	default:
		h.guard.paused = h.now + h.upTo(h.rules.stall)
		h.tell("%s: guard paused until %s", hostName(h.name), h.guard.paused)
	}
}

// freezeFor stops a host with all that runs there. Its clock notices, or doesn't.
func (h *host) freezeFor(d time.Duration) {
	h.frozen, h.frozenAt = h.now+d, h.now
	h.tell("%s: frozen until %s", hostName(h.name), h.frozen)
	for _, p := range []*process{&h.guard, &h.plugin, &h.engine} {
		p.paused = max(p.paused, h.frozen+1) // first the clock, then they
	}
	if h.chance(2) {
		h.clock.stop(h.now)
	}
	if h.rules.freeze > 0 {
		h.thawed = h.frozen
	}
	h.in(d, nil, func() {
		if h.clock.stopped {
			h.clock.resume(h.now)
		}
		h.slept += d
		h.check()
	})
}

// watched tells whether the plugin may fail: not between a guard's death and its successor's start.
func (h *host) watched() bool { return !h.guarded || h.guard.up || h.bothFail }

func (h *host) pausePlugin(d time.Duration) {
	if h.watched() {
		h.plugin.paused = h.now + d
		h.tell("%s: plugin paused until %s", hostName(h.name), h.plugin.paused)
	}
}

func (h *host) killPlugin(back time.Duration) {
	if !h.plugin.up || !h.watched() {
		return
	}
	h.tell("%s: plugin killed", hostName(h.name))
	h.plugin.kill()
	h.restart(back)
}

// restart starts the plugin again after a while, if the host is still the same.
func (h *host) restart(back time.Duration) {
	h.in(back, &h.engine, func() {
		if !h.plugin.up {
			h.plugin.paused = max(0, h.engine.paused)
			h.startPlugin()
		}
	})
}

// flurry is one of several restarts in a row.
func (h *host) flurry() {
	if h.chance(2) {
		h.killPlugin(h.upTo(time.Second))
		return
	}
	h.leave(h.upTo(time.Second))
}

// leave is a clean stop of plugin and guard while containers may go on.
func (h *host) leave(back time.Duration) {
	if !h.plugin.up || h.busy || h.plugin.paused > h.now || h.mount.epoch == 0 {
		return
	}
	h.begin(func(int) {
		h.in(h.step(), &h.plugin, func() {
			h.readCurrent(&h.plugin, false, func(current lease.Lease, err error) {
				if err == nil && current.Of(h.self()) && current.Epoch == h.mount.epoch {
					h.leaveUnattended(current, back)
					return
				}
				h.killPlugin(back)
			})
		})
	})
}

// leaveUnattended takes the next epoch, so that a host which read the lease long ago can't, and ends the
// guard when that is sure.
func (h *host) leaveUnattended(current lease.Lease, back time.Duration) {
	left := current.Next(current.Volume, h.self())
	left.State, left.Unguarded = lease.Unattended, current.Unguarded
	answer := func(err error) {
		if err == nil && h.guarded && h.pulse.Covers(h.admitted.lapses, h.read(), h.rules.self) {
			h.tell("%s: guard leaves", hostName(h.name))
			h.guard.kill()
			h.admitted = use{}
		}
		h.tell("%s: plugin leaves", hostName(h.name))
		h.plugin.kill()
		h.restart(back)
	}
	if h.leftByRewrite {
		left.Epoch = current.Epoch
		h.rewrite(&h.plugin, left, answer)
		return
	}
	h.create(left, h.owes(current.Epoch), answer)
}

// crash ends everything on a host, which may boot again.
func (h *host) crash() {
	h.tell("%s: crashes", hostName(h.name))
	for _, p := range []*process{&h.guard, &h.plugin, &h.engine} {
		p.kill()
		p.paused = 0
	}
	h.end("crashed")
	h.up, h.admitted, h.pulse = false, use{}, lease.Pulse{}
	if !h.chance(3) {
		h.in(h.between(time.Second, time.Minute), nil, h.powerOn)
	}
}

func (h *host) powerOn() {
	h.boot++
	h.up = true
	h.beatCache = make([]cached[beatFile], hostCount)
	h.leaseCache = cached[lease.Lease]{}
	h.engine.start()
	h.startPlugin()
}
