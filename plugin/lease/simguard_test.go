package lease_test

import (
	"strconv"
	"time"

	"mooring/plugin/lease"
)

const (
	beatEvery = 3 * time.Second
	// noticing is how long a host that was frozen, without its clock noticing, may write on after it woke or
	// after its volume was taken. Then its guard must have seen the new lease, or its pulse ended.
	noticing = 30 * time.Second
)

// host is one of a history's machines.
type host struct {
	*history
	name    int
	boot    int
	guarded bool
	up      bool
	clock   clock
	wall    time.Duration // what its wall clock is ahead of its boot-time clock
	cut     time.Duration // no way to the store until then
	cutErrs bool          // and requests fail at once instead of waiting
	stalls  time.Duration // the next stall isn't before then

	frozen, frozenAt, slept time.Duration

	guard, plugin, engine process

	// In the kernel.
	mount    use
	writing  bool
	thawed   time.Duration // when it last woke from a freeze
	fencedTo uint64        // the highest epoch whose use a fence ended
	// In the guard, and in a file for the next guard of this boot.
	pulse    lease.Pulse
	admitted use
	// In the guard.
	sequence uint64
	beating  bool
	fencing  bool
	armed    bool
	// In the plugin.
	runs     int
	wants    bool // the engine wants a container with the volume
	busy     bool
	attempt  int
	watching int // bits of the hosts whose heartbeat is being read
	watch    *lease.Watch

	beatCache  []cached[beatFile]
	leaseCache cached[lease.Lease]
}

// use is that of the volume under one epoch.
type use struct {
	epoch, image, lapses uint64
}

func (h *host) self() lease.Identity {
	return lease.Identity{Host: hostName(h.name), Boot: strconv.Itoa(h.boot), Instance: strconv.Itoa(h.runs)}
}

func hostName(host int) string { return string(rune('a' + host)) }

func (h *host) read() time.Duration { return h.clock.read(h.now) }

// awake is a clock that doesn't count sleep.
func (h *host) awake() time.Duration {
	if h.now < h.frozen {
		return h.frozenAt - h.slept
	}
	return h.now - h.slept
}

// keeper is the process that beats.
func (h *host) keeper() *process {
	if h.guarded {
		return &h.guard
	}
	return &h.plugin
}

// startGuard starts a guard, perhaps after another one that died.
func (h *host) startGuard() {
	h.guard.start()
	h.beating, h.fencing, h.armed = false, false, false
	if h.freshGuard {
		h.pulse.Began = h.read()
	}
	h.tell("%s: guard starts", hostName(h.name))
	h.judge()
	h.arm()
	h.beatOn()
}

// beatOn beats, and again after a while.
func (h *host) beatOn() {
	h.beat()
	h.in(h.clock.lasts(beatEvery), h.keeper(), h.beatOn)
}

// beat writes the heartbeat unless the last write still hangs.
func (h *host) beat() {
	if h.beating {
		return
	}
	h.beating = true
	h.sequence++
	began := h.read()
	file := beatFile{beat: lease.Heartbeat{Identity: h.self(), Sequence: h.sequence}, stamp: began + h.wall}
	h.call(h.keeper(), func() error {
		switch h.rng.IntN(100) {
		case 0:
			file.torn = h.now + h.upTo(5*time.Second)
		case 1, 2, 3, 4, 5:
			file.torn = h.now + h.upTo(50*time.Millisecond)
		}
		h.store.beats[h.name] = file
		return nil
	}, func(err error) { h.beaten(began, err) })
}

func (h *host) beaten(began time.Duration, err error) {
	h.beating = false
	if err == nil {
		if h.fromConfirmation {
			began = h.read()
		}
		h.pulse.Confirm(began, h.read(), h.rules.self)
		h.arm()
	}
	h.judge()
	if h.guarded {
		h.lookForLoss()
	}
}

// arm has the guard look when its pulse ends, and again if that was later than it seemed.
func (h *host) arm() {
	if !h.guarded || h.armed {
		return
	}
	h.armed = true
	left := h.pulse.Began + h.rules.self - h.read()
	h.in(max(0, h.clock.lasts(left))+time.Millisecond, &h.guard, func() {
		h.armed = false
		h.judge()
		if h.pulse.Alive(h.read(), h.rules.self) {
			h.arm()
		}
	})
}

// judge fences what the pulse doesn't cover any more.
func (h *host) judge() {
	if h.guarded && h.admitted.epoch > 0 && !h.pulse.Covers(h.admitted.lapses, h.read(), h.rules.self) {
		h.fence()
	}
}

// lookForLoss fences a use whose lease another host has.
func (h *host) lookForLoss() {
	if h.admitted.epoch == 0 {
		return
	}
	h.readCurrent(&h.guard, false, func(current lease.Lease, err error) {
		if err == nil && h.admitted.epoch > 0 && lease.Lost(h.admitted.epoch, current, h.self()) {
			h.fence()
		}
	})
}

// fence stops everything that writes, which takes its time.
func (h *host) fence() {
	if h.fencing {
		return
	}
	h.fencing = true
	h.tell("%s: guard fences epoch %d", hostName(h.name), h.admitted.epoch)
	h.in(h.between(10*time.Millisecond, killing), &h.guard, func() {
		h.fencing = false
		h.fencedTo = max(h.fencedTo, h.admitted.epoch)
		h.admitted = use{}
		h.end("fenced")
		h.counts.fences++
	})
}

// end ends the use of the volume on this host: containers and mount.
func (h *host) end(why string) {
	if h.mount.epoch > 0 {
		h.tell("%s: epoch %d ends, %s", hostName(h.name), h.mount.epoch, why)
	}
	h.mount, h.writing = use{}, false
}

// admit asks the guard whether a use may begin, or whether it still may go on, and tells the plugin. The
// guard watches over it from then on.
func (h *host) admit(u use, known bool, answer func(bool)) {
	if !h.guarded {
		h.in(0, &h.plugin, func() { answer(true) })
		return
	}
	h.in(h.upTo(time.Millisecond), &h.guard, func() {
		covered := h.pulse.Covers(u.lapses, h.read(), h.rules.self) || h.noLapses
		ok := covered && !h.fencing && (!known || h.admitted.epoch == u.epoch)
		if ok {
			h.admitted = u
		}
		h.in(h.upTo(time.Millisecond), &h.plugin, func() { answer(ok) })
	})
}

// write starts the container, if its mount is still there. Without one there is nothing to write to.
func (h *host) write(u use) {
	if h.mount != u || h.writing {
		return
	}
	h.writing = true
	h.counts.writers++
	h.tell("%s: writes under epoch %d to image %d", hostName(h.name), u.epoch, u.image)
	if u.epoch <= h.fencedTo {
		h.fail("host %s writes under epoch %d although it was fenced", hostName(h.name), u.epoch)
	}
	h.check()
}

// check is the invariant: never two writers of one image; and of one volume only while a host that was
// frozen has not yet noticed.
func (h *history) check() {
	for i, a := range h.hosts {
		for _, b := range h.hosts[i+1:] {
			if !a.active() || !b.active() {
				continue
			}
			old, young := a, b
			if old.mount.epoch > young.mount.epoch {
				old, young = young, old
			}
			if old.mount.image == young.mount.image || !old.late() {
				h.fail("two writers: host %s under epoch %d to image %d, host %s under epoch %d to image %d",
					hostName(old.name), old.mount.epoch, old.mount.image, hostName(young.name), young.mount.epoch, young.mount.image)
			}
			h.counts.late++
		}
	}
}

// late tells whether the host was frozen, perhaps while another one decided to take its volume, and may
// not have noticed yet.
func (h *host) late() bool { return h.thawed > 0 && h.now < max(h.thawed, h.store.taken)+noticing }

func (h *host) active() bool { return h.writing && h.frozen <= h.now }
