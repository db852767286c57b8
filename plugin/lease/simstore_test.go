package lease_test

import (
	"errors"
	"time"

	"mooring/plugin/lease"
)

var (
	errNoAnswer = errors.New("no answer")
	errTorn     = errors.New("torn heartbeat")
)

// server is the store. What is in it changes in single steps; what hosts learn of it is late or old.
type server struct {
	down   time.Duration // it answers nobody until then
	beats  []beatFile    // by host
	leases []lease.Lease
	top    uint64 // the highest epoch there ever was
	images []uint64
	grants map[uint64]int  // epoch to the host that was told it's its own
	clones map[uint64]bool // epochs that owe a clone of the image
	taken  time.Duration   // when the last epoch began
}

type beatFile struct {
	beat  lease.Heartbeat
	stamp time.Duration // the writer's wall clock
	torn  time.Duration // until then
}

func (s *server) current() lease.Lease {
	var current lease.Lease
	for _, l := range s.leases {
		if l.Epoch > current.Epoch {
			current = l
		}
	}
	return current
}

// put makes or replaces the file of an epoch.
func (s *server) put(l lease.Lease) {
	for i := range s.leases {
		if s.leases[i].Epoch == l.Epoch {
			s.leases[i] = l
			return
		}
	}
	s.leases = append(s.leases, l)
}

func (s *server) exists(epoch uint64) bool {
	for _, l := range s.leases {
		if l.Epoch == epoch {
			return true
		}
	}
	return false
}

// prune is what Create does after it won.
func (s *server) prune(current uint64) {
	kept := s.leases[:0]
	for _, l := range s.leases {
		if l.Epoch+1 >= current {
			kept = append(kept, l)
		}
	}
	s.leases = kept
}

// image is the one that a host with the epoch finds: the newest that isn't of a later epoch.
func (s *server) image(epoch uint64) uint64 {
	var found uint64
	for _, i := range s.images {
		if i <= epoch && i > found {
			found = i
		}
	}
	return found
}

// cached is what a host remembers of a file.
type cached[T any] struct {
	value T
	err   error
	known bool
	awake time.Duration // reading of the host's jiffies, which don't count sleep
}

// call sends a request of a process to the store, where work happens in one step, and brings the answer
// back. Requests and answers are slow, lost, and overtake each other; who sent one may be dead when it
// arrives. What failed may have happened all the same.
func (h *host) call(p *process, work func() error, answer func(error)) {
	if h.chance(40) { // lost
		h.in(h.between(time.Second, 4*time.Second), p, func() { answer(errNoAnswer) })
		return
	}
	life := p.life
	h.in(h.latency(), nil, func() { h.arrive(p, life, work, answer) })
}

func (h *host) arrive(p *process, life int, work func() error, answer func(error)) {
	blocked := max(h.store.down, h.cut)
	if h.now < blocked {
		if h.now < h.cut && h.cutErrs {
			h.answer(p, life, h.between(time.Second, 4*time.Second), errNoAnswer, answer)
			return
		}
		h.in(blocked-h.now+h.latency(), nil, func() { h.arrive(p, life, work, answer) })
		return
	}
	err := work()
	if h.chance(40) {
		err = errNoAnswer
	}
	h.answer(p, life, h.latency(), err, answer)
}

// answer brings an answer back, after the time a broken link takes to heal.
func (h *host) answer(p *process, life int, after time.Duration, err error, answer func(error)) {
	if p.life != life {
		return
	}
	if h.now < h.cut && !h.cutErrs {
		after += h.cut - h.now
	}
	h.in(after, p, func() { answer(err) })
}

// latency is how long a request or an answer takes. One in so many is slow.
func (h *host) latency() time.Duration {
	if h.chance(h.slow) {
		return h.upTo(h.slowest)
	}
	return h.upTo(10 * time.Millisecond)
}

// readBeat reads a host's heartbeat, perhaps out of this host's memory.
func (h *host) readBeat(p *process, of int, answer func(beatFile, error)) {
	c := &h.beatCache[of]
	if h.remembers(c.known, c.awake) {
		h.in(h.upTo(time.Millisecond), p, func() { answer(c.value, c.err) })
		return
	}
	var got beatFile
	h.call(p, func() error {
		got = h.store.beats[of]
		var err error
		if h.now < got.torn {
			err = errTorn
		}
		*c = cached[beatFile]{value: got, err: err, known: true, awake: h.awake()}
		return err
	}, func(err error) { answer(got, err) })
}

// readCurrent reads the volume's lease. Fresh is for after a change of one's own: that clears the memory.
func (h *host) readCurrent(p *process, fresh bool, answer func(lease.Lease, error)) {
	c := &h.leaseCache
	if !fresh && h.remembers(c.known, c.awake) {
		value := c.value
		h.in(h.upTo(time.Millisecond), p, func() { answer(value, nil) })
		return
	}
	var got lease.Lease
	h.call(p, func() error {
		got = h.store.current()
		*c = cached[lease.Lease]{value: got, known: true, awake: h.awake()}
		return nil
	}, func(err error) { answer(got, err) })
}

func (h *host) remembers(known bool, awake time.Duration) bool {
	return known && h.awake()-awake <= h.rules.stale && !h.chance(4)
}

// create makes a lease the current one: link(2), then a look at what is there.
// Owed says that the old image may still have a writer.
func (h *host) create(l lease.Lease, owed bool, answer func(error)) {
	h.call(&h.plugin, func() error { return h.link(l, owed) }, func(err error) {
		if err != nil || h.noSecondLook {
			answer(err)
			return
		}
		h.readCurrent(&h.plugin, true, func(current lease.Lease, err error) {
			if err == nil && current.Epoch != l.Epoch {
				err = lease.ErrTaken
			}
			answer(err)
		})
	})
}

func (h *host) link(l lease.Lease, owed bool) error {
	if h.store.exists(l.Epoch) && !h.renamedEpoch {
		return lease.ErrTaken
	}
	h.tell("store: lease.%d is %s's", l.Epoch, l.Host)
	h.store.put(l)
	h.store.prune(l.Epoch)
	h.store.clones[l.Epoch] = owed
	h.store.taken = h.now
	if h.rules.freeze > 0 {
		h.in(noticing, nil, h.check)
	}
	if top := h.store.current().Epoch; top < h.store.top {
		h.fail("the current epoch fell from %d to %d", h.store.top, top)
	} else {
		h.store.top = top
	}
	return nil
}

// rewrite changes a lease of this host, and looks whether it's still the current one.
func (h *host) rewrite(p *process, l lease.Lease, answer func(error)) {
	h.call(p, func() error {
		h.tell("store: lease.%d of %s is %s", l.Epoch, l.Host, l.State)
		h.store.put(l)
		return nil
	}, func(err error) {
		if err != nil {
			answer(err)
			return
		}
		h.readCurrent(p, true, func(current lease.Lease, err error) {
			if err == nil && current.Epoch != l.Epoch {
				err = lease.ErrTaken
			}
			answer(err)
		})
	})
}
