package lease

import (
	"fmt"
	"time"
)

// What the rules take for granted about hosts and stores. The simulation beside this file shows that
// they hold under these bounds, and that each of them is needed.
const (
	// Drift is how far a host's clock may run fast or slow, in percent of true time.
	Drift = 10
	// FenceTime is how long a guard may take from the moment it must fence until nothing on its host
	// writes any more, the delay of its own wake-up included.
	FenceTime = 4 * time.Second
	// Stale is how old the answer of a read may be: NFS keeps the attributes of a file for 3 s.
	Stale = 3 * time.Second
)

// Pulse is a host's own heartbeat as its guard knows it, in readings of the host's boot-time clock. A
// guard that follows another on the same boot must go on with that one's Pulse: by the zero Pulse, which
// is that of a host that never beat, whatever writes here has to be fenced at once.
type Pulse struct {
	Known  bool
	Began  time.Duration // when the last confirmed write of the heartbeat was started
	Lapses uint64        // how often it was not alive in between
}

// Confirm notes at time now that the write started at began is in the store: write and sync returned.
// The time counts from the start, because others may have seen that heartbeat ever since.
func (p *Pulse) Confirm(began, now, self time.Duration) {
	if !p.Alive(now, self) {
		p.Lapses++
	}
	p.Known, p.Began = true, began
}

// Alive tells whether nobody can have concluded by now that this host is dead. Self is how long a host
// may go on without a confirmed heartbeat.
func (p Pulse) Alive(now, self time.Duration) bool {
	return p.Known && now-p.Began < self
}

// Covers tells whether this host may write, or go on writing, under a lease. Lapses is what the pulse
// counted before the lease was created. After a lapse the lease may be another host's however it reads,
// so the host must be fenced, and only a lease with a new epoch lets it write again.
func (p Pulse) Covers(lapses uint64, now, self time.Duration) bool {
	return p.Alive(now, self) && p.Lapses == lapses
}

// Lost tells whether the current lease, as read, ends the use of a volume under an epoch. An older lease
// says nothing: the answer may be old. A newer one of this host's own is the use going on.
func Lost(epoch uint64, current Lease, self Identity) bool {
	return current.Epoch >= epoch && !current.Of(self)
}

// LeastTake is how long a heartbeat must at least stand still before its host counts as dead, if that
// host goes on for self without a confirmed one: on the slowest clock there, on the fastest here, and
// with the oldest answer.
func LeastTake(self time.Duration) time.Duration {
	fenced := self*100/(100-Drift) + FenceTime + Stale
	return (fenced*(100+Drift)/100 + 1).Round(time.Millisecond)
}

// CheckTimes says what is wrong with a pair of times: after self without a confirmed heartbeat a host
// fences itself, after take others take its volumes.
func CheckTimes(self, take time.Duration) error {
	if self <= 0 {
		return fmt.Errorf("time until a cut-off host stops its containers is %s: give a positive one, such as 10s", self)
	}
	if least := LeastTake(self); take < least {
		return fmt.Errorf("a silent host's volumes are taken after %s, but it may write for %s without a heartbeat: "+
			"take them after %s or later (clocks may differ by %d %%, stopping its containers takes up to %s, answers of the store are up to %s old)",
			take, self, least, 2*Drift, FenceTime, Stale)
	}
	return nil
}
