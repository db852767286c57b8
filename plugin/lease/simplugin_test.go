package lease_test

import (
	"time"

	"mooring/plugin/lease"
)

// startPlugin starts the plugin, and the guard if there should be one and is none.
func (h *host) startPlugin() {
	h.plugin.start()
	h.runs++
	h.busy, h.watching = false, 0
	h.attempt++
	h.watch = &lease.Watch{Gap: h.take / 2}
	if h.noGap {
		h.watch.Gap = 0
	}
	h.tell("%s: plugin starts, boot %d run %d", hostName(h.name), h.boot, h.runs)
	if !h.guarded {
		h.beating = false
		h.beatOn()
	} else if !h.guard.up {
		h.startGuard()
	}
	h.in(0, &h.plugin, h.adopt)
	h.in(h.upTo(beatEvery), &h.plugin, h.watchOn)
	h.in(h.upTo(time.Second), &h.plugin, h.serveOn)
}

// watchOn looks at the other hosts' heartbeats, and again after a while.
func (h *host) watchOn() {
	for other := range h.hosts {
		if other != h.name && h.watching&(1<<other) == 0 {
			h.watching |= 1 << other
			h.look(other, func(lease.Sight, error) { h.watching &^= 1 << other })
		}
	}
	h.in(h.clock.lasts(beatEvery), &h.plugin, h.watchOn)
}

func (h *host) look(other int, answer func(lease.Sight, error)) {
	began := h.read()
	h.readBeat(&h.plugin, other, func(file beatFile, err error) {
		if err != nil {
			answer(lease.Sight{}, err)
			return
		}
		now := h.read()
		if h.readEnd {
			began = now
		}
		sight := h.watch.See(hostName(other), file.beat, began, now)
		if h.wallClock {
			sight.Still = now + h.wall - file.stamp
		}
		answer(sight, nil)
	})
}

// serveOn does what the engine wants, and again after a while.
func (h *host) serveOn() {
	if h.guarded && !h.guard.up {
		h.startGuard()
		h.busy = false // whatever asked the old one gets no answer
		h.attempt++
	}
	switch {
	case h.busy:
	case h.wants && h.mount.epoch == 0:
		h.begin(h.acquire)
	case !h.wants && h.mount.epoch > 0:
		h.begin(h.stop)
	}
	h.in(h.between(300*time.Millisecond, 1200*time.Millisecond), &h.plugin, h.serveOn)
}

// begin starts work that has several steps; done says whether an answer belongs to work given up.
func (h *host) begin(work func(id int)) {
	h.busy = true
	h.attempt++
	work(h.attempt)
}

func (h *host) done(id int) {
	if h.attempt == id {
		h.busy = false
	}
}

// acquire is a Mount: it reads the lease and its holder's heartbeat, and decides.
func (h *host) acquire(id int) {
	h.readCurrent(&h.plugin, false, func(current lease.Lease, err error) {
		if err != nil || h.attempt != id {
			h.done(id)
			return
		}
		age := h.watch.Age(current, h.read())
		if current.Epoch == 0 || current.Host == hostName(h.name) {
			h.decide(id, current, lease.Watched{})
			return
		}
		h.look(int(current.Host[0]-'a'), func(sight lease.Sight, err error) {
			if err != nil || h.attempt != id {
				h.done(id)
				return
			}
			if h.noAge || h.wallClock {
				age = sight.Still
			}
			h.decide(id, current, lease.Watched{Still: min(age, sight.Still)})
		})
	})
}

func (h *host) decide(id int, current lease.Lease, holder lease.Watched) {
	seen := current
	if h.unattendedByTime && seen.State == lease.Unattended {
		seen.State = lease.Held
	}
	seen.Unguarded = seen.Unguarded && !h.unguardedByTime
	terms := lease.Terms{After: h.take, Anew: !h.keepAfterFence, Ordered: h.ordered(current)}
	verdict := lease.Decide(seen, h.self(), holder, terms)
	lapses := h.pulse.Lapses
	ready := !h.guarded || h.pulse.Alive(h.read(), h.rules.self) || h.noLapses
	if !ready || verdict == lease.Wait || verdict == lease.Refuse {
		h.done(id)
		return
	}
	if verdict == lease.Keep {
		h.attach(id, current, use{epoch: current.Epoch, lapses: lapses})
		return
	}
	if terms.Ordered {
		h.counts.orders++
	}
	h.thawed = 0 // what was missed before doesn't count for the use that begins
	h.in(h.step(), &h.plugin, func() { h.win(id, current, lapses) })
}

// ordered is the operator, who orders takeovers from hosts that are down.
func (h *host) ordered(current lease.Lease) bool {
	if current.Epoch == 0 || current.Host == hostName(h.name) {
		return false
	}
	holder := h.hosts[current.Host[0]-'a']
	return !holder.up || h.lyingOperator
}

// win creates the next epoch.
func (h *host) win(id int, current lease.Lease, lapses uint64) {
	next := current.Next(current.Volume, h.self())
	next.Unguarded = !h.guarded
	taken := current.Epoch > 0 && current.State != lease.Released && current.Host != hostName(h.name)
	h.create(next, taken || h.owes(current.Epoch), func(err error) {
		if err != nil {
			h.done(id)
			return
		}
		if other, granted := h.store.grants[next.Epoch]; granted {
			h.fail("epoch %d was created by host %s and by host %s", next.Epoch, hostName(other), hostName(h.name))
		}
		h.store.grants[next.Epoch] = h.name
		if taken {
			h.counts.takeovers++
		}
		if h.attempt == id {
			h.attach(id, next, use{epoch: next.Epoch, lapses: lapses})
		}
	})
}

// attach mounts a volume whose lease this host has, once the guard knows of it, and gives it to a
// container once the guard, with the mount there to be fenced, still stands by that.
func (h *host) attach(id int, l lease.Lease, u use) {
	h.admit(u, false, func(ok bool) {
		if !ok || h.attempt != id {
			h.giveUp(id, l)
			return
		}
		h.in(h.step(), &h.plugin, func() {
			u.image = h.image(u.epoch)
			h.mount = u
			h.admit(u, true, func(ok bool) {
				if ok || h.noConfirm {
					h.in(h.step(), &h.engine, func() { h.write(u) })
					h.done(id)
					return
				}
				h.end("not confirmed")
				h.giveUp(id, l)
			})
		})
	})
}

// image is what a host with the epoch mounts: a new one if somebody may still write the old one.
func (h *host) image(epoch uint64) uint64 {
	if h.store.clones[epoch] && h.rules.freeze > 0 && !h.noClone && h.store.image(epoch) != epoch {
		h.store.images = append(h.store.images, epoch)
	}
	return h.store.image(epoch)
}

// owes tells whether a takeover under the epoch has not made its clone.
func (h *host) owes(epoch uint64) bool {
	return h.store.clones[epoch] && h.store.image(epoch) != epoch && !h.debtForgotten
}

// giveUp releases a lease that this host won and can't use.
func (h *host) giveUp(id int, l lease.Lease) {
	if h.attempt != id {
		return
	}
	l.State = lease.Released
	h.rewrite(&h.plugin, l, func(error) { h.done(id) })
}

// stop is an Unmount after the last container.
func (h *host) stop(id int) {
	epoch := h.mount.epoch
	if h.releaseFirst {
		h.release(id, epoch)
	}
	h.in(h.upTo(2*time.Second), &h.engine, func() {
		h.writing = false
		h.in(h.step(), &h.plugin, func() {
			if h.mount.epoch == epoch {
				h.end("unmounted")
			}
			h.admitted = use{}
			h.release(id, epoch)
		})
	})
}

// release gives back the lease of an epoch if this host has it.
func (h *host) release(id int, epoch uint64) {
	h.readCurrent(&h.plugin, false, func(current lease.Lease, err error) {
		if err != nil || !current.Of(h.self()) || current.Epoch != epoch {
			h.done(id)
			return
		}
		h.giveUp(id, current)
	})
}

// adopt is what a plugin does with what it finds when it starts.
func (h *host) adopt() {
	h.begin(func(id int) {
		if h.mount.epoch > 0 && !h.writing { // on its way to a container that will never come
			h.end("left over")
			h.admitted = use{}
		}
		h.readCurrent(&h.plugin, false, func(current lease.Lease, err error) {
			switch {
			case err != nil:
				h.in(time.Second, &h.plugin, h.adopt)
			case h.mount.epoch > 0:
				h.readopt(id, current)
			default:
				h.releaseOwn(id, current)
			}
		})
	})
}

// readopt goes on with the containers of an earlier run: under the same lease if its guard kept it, and
// under a new one if it was left unattended. The guard watches over them before a lease is held, because
// from then on it can be taken.
func (h *host) readopt(id int, current lease.Lease) {
	verdict := lease.Decide(current, h.self(), lease.Watched{}, lease.Terms{After: h.take})
	left := current.Of(h.self()) && current.State == lease.Unattended
	if !left && (verdict != lease.Keep || h.guarded && h.admitted.epoch != h.mount.epoch) {
		h.end("lost")
		h.admitted = use{}
		h.done(id)
		return
	}
	if !left { // the lease stays as it is: a rewritten one may arrive at any later time
		h.counts.adoptions++
		h.done(id)
		return
	}
	u := h.mount
	u.lapses = h.pulse.Lapses
	if h.heldFirst {
		h.goOnAnew(id, current, u)
		return
	}
	h.admit(u, false, func(ok bool) {
		if !ok {
			h.in(time.Second, &h.plugin, h.adopt)
			return
		}
		h.goOnAnew(id, current, u)
	})
}

// goOnAnew takes a lease that was left unattended, with its containers still there.
func (h *host) goOnAnew(id int, current lease.Lease, u use) {
	next := current.Next(current.Volume, h.self())
	next.Unguarded = !h.guarded
	h.create(next, h.owes(current.Epoch), func(err error) {
		if err != nil {
			h.in(time.Second, &h.plugin, h.adopt)
			return
		}
		u.epoch = next.Epoch
		h.admit(u, false, func(ok bool) {
			h.counts.adoptions++
			if ok && h.mount.epoch > 0 {
				h.mount = u
			}
			h.done(id)
		})
	})
}

// releaseOwn releases what an earlier run has left and nothing here uses.
func (h *host) releaseOwn(id int, current lease.Lease) {
	if current.Of(h.self()) && current.State == lease.Held {
		h.giveUp(id, current)
		return
	}
	h.done(id)
}
