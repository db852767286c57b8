// Package lease decides which host may write a volume. A lease is held by one host under an epoch
// that only grows; a host shows that it lives by a heartbeat, however many leases it holds. No two
// clocks are ever compared: an observer times on its own clock how long a heartbeat stands still.
// This file is the rules and does no I/O; where leases and heartbeats are kept is a store's matter, and
// Files is one. What every store must do is in leasetest.
package lease

import (
	"fmt"
	"time"
)

// State says what a lease means for others.
type State string

const (
	Held       State = "held"       // its host may write; taken over only when its heartbeat stands still
	Unattended State = "unattended" // its host may still write, without a heartbeat; never taken over by time
	Released   State = "released"   // nobody writes; the last state of an epoch
)

// Identity is one run of the plugin on one host.
type Identity struct {
	Host     string `json:"host"`
	Boot     string `json:"boot"`     // of the host's kernel; another boot has none of the earlier containers
	Instance string `json:"instance"` // of the process
}

// Lease is the right of one host to write one volume. The zero Lease is that of a volume never held.
type Lease struct {
	Format int    `json:"format"`
	Volume string `json:"volume"`
	Epoch  uint64 `json:"epoch"`
	// ID is made up when the lease is created. It tells the lease from one of the same epoch that the same
	// run took of a volume that was removed and made again.
	ID string `json:"id,omitempty"`
	Identity
	State State `json:"state"`
	// Unguarded says that nothing on the holder stops its writers when it is cut off.
	Unguarded bool `json:"unguarded,omitempty"`
	// Takeover names the policy by which others may take the volume, for those who see its lease alone. Empty: a plugin that did
	// not say so yet.
	Takeover string `json:"takeover,omitempty"`
	// Taken is the epoch under which the volume was last taken from a host that had not given it back; 0 if it never was.
	// Image is the epoch under which the volume's image file was made; 0 is the first one. All later leases keep both.
	Taken uint64 `json:"taken,omitempty"`
	Image uint64 `json:"image,omitempty"`
}

// Next is the lease that i creates after l.
func (l Lease) Next(volume string, i Identity) Lease {
	next := Lease{Volume: volume, Epoch: l.Epoch + 1, Identity: i, State: Held, Takeover: l.Takeover, Taken: l.Taken, Image: l.Image}
	if l.Epoch > 0 && l.State != Released && l.Host != i.Host {
		next.Taken = next.Epoch
	}
	return next
}

// Exposed tells whether the volume's image is one that a host had mounted from which the volume was taken later. If that host
// was frozen, its kernel may write there when it wakes, before anything on it can know better.
func (l Lease) Exposed() bool { return l.Image < l.Taken }

// Of tells whether this boot of the host holds the lease, under whichever run of the plugin.
func (l Lease) Of(i Identity) bool {
	return l.Host == i.Host && l.Boot == i.Boot && (l.State == Held || l.State == Unattended)
}

// Verdict is what a host that wants a volume does about its current lease.
type Verdict int

const (
	Take   Verdict = iota // create the next epoch
	Keep                  // it is this host's own already
	Wait                  // the holder shows no life, but not yet for long enough
	Refuse                // another host holds it
)

// Watched is what the one who wants a lease has seen of its holder's heartbeat.
type Watched struct {
	Still time.Duration // how long it has stood still under this lease
	Beat  bool          // it moved since the lease was wanted
}

// Policy says whether a volume may be taken from a host that seems dead.
type Policy string

const (
	Auto   Policy = ""       // by time
	Manual Policy = "manual" // by an operator's order
	Never  Policy = "never"  // not at all: the holder gives it back, or starts again and takes it
)

// Policies are the policies by name.
func Policies() []Policy { return []Policy{Auto, Manual, Never} }

func (p Policy) String() string {
	if p == Auto {
		return "auto"
	}
	return string(p)
}

// ParsePolicy knows a policy by its name.
func ParsePolicy(name string) (Policy, error) {
	for _, p := range Policies() {
		if name == p.String() {
			return p, nil
		}
	}
	return Auto, fmt.Errorf("takeover %q is unknown: use %s, %s or %s", name, Auto, Manual, Never)
}

// Terms are those of one who wants a lease.
type Terms struct {
	// After is how long a heartbeat must stand still before its host counts as dead: longer than that
	// host needs to notice and to stop its own writers. CheckTimes knows how long.
	After  time.Duration
	Policy Policy
	// Ordered says that an operator, who knows that nothing on the holder writes any more, orders the
	// takeover.
	Ordered bool
	// Anew says that nothing of an earlier use on this host goes on: nothing is mounted, or it was fenced.
	// What a host reads may be old, so only a new epoch makes it a writer.
	Anew bool
}

// Decide applies the rules.
func Decide(current Lease, self Identity, holder Watched, terms Terms) Verdict {
	byTime := current.State == Held && !current.Unguarded && terms.Policy == Auto
	byOrder := terms.Ordered && terms.Policy != Never && (current.State == Held || current.State == Unattended)
	switch {
	case current.Epoch == 0 || current.State == Released:
		return Take
	case current.Of(self) && current.State == Held && !terms.Anew:
		return Keep
	case current.Host == self.Host:
		return Take // its containers ended with an earlier boot, were fenced, or go on under the new epoch
	case !byTime && !byOrder:
		return Refuse
	case holder.Still >= terms.After:
		return Take
	case holder.Beat:
		return Refuse
	}
	return Wait
}

// HeldError says that a volume is another host's, and what can be done about it.
type HeldError struct {
	Lease  Lease
	Still  time.Duration // since the holder's last heartbeat
	After  time.Duration // when a heartbeat this old lets others take the volume
	Policy Policy
}

func (e *HeldError) Error() string {
	l := e.Lease
	if l.State == Unattended {
		return fmt.Sprintf("volume %s is held by host %s (epoch %d, unattended: its plugin was stopped while containers used the volume); "+
			"start the plugin there again, or restart that host with its plugin", l.Volume, l.Host, l.Epoch)
	}
	switch {
	case e.Policy == Never:
		return fmt.Sprintf("volume %s is held by host %s (epoch %d) and is never taken over (takeover=%s); "+
			"stop its container there, or start that host again with its plugin", l.Volume, l.Host, l.Epoch, e.Policy)
	case e.Policy != Auto:
		return fmt.Sprintf("volume %s is held by host %s (epoch %d) and is taken over by order only (takeover=%s); "+
			"stop its container there, or, if that host is down for certain: mooring volumes takeover %s --force --reason TEXT",
			l.Volume, l.Host, l.Epoch, e.Policy, l.Volume)
	case l.Unguarded:
		return fmt.Sprintf("volume %s is held by host %s (epoch %d, heartbeat %s ago, unguarded: nothing there stops its containers when "+
			"the host is cut off); stop its container there, or restart that host with its plugin", l.Volume, l.Host, l.Epoch, e.Still.Round(time.Second))
	}
	return fmt.Sprintf("volume %s is held by host %s (epoch %d, heartbeat %s ago); "+
		"stop its container there or wait until that host is down (no heartbeat for %s)",
		l.Volume, l.Host, l.Epoch, e.Still.Round(time.Second), e.After)
}
