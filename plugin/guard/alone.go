package guard

import (
	"context"
	"errors"
	"io"
	"sync"

	"mooring/plugin/lease"
)

// Alone keeps the heartbeat in the plugin's own process and fences nothing: with it leases are marked
// unguarded, and no other host takes them over by time alone. Its zero value is ready for use.
type Alone struct {
	Leases string // their address with the password, if they are not in the store

	mu       sync.Mutex
	host     Host
	beats    Leases
	sequence uint64
}

// Attach beats.
func (a *Alone) Attach(_ context.Context, host Host) (Status, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.beats == nil || a.host != host {
		beats, err := place(host, a.Leases, nil)
		if err = errors.Join(err, a.hangUp()); err != nil {
			return Status{}, err
		}
		a.host, a.beats, a.sequence = host, beats, 0
	}
	previous, err := a.beats.Beat(lease.Heartbeat{Identity: host.Identity, Sequence: a.sequence + 1})
	if err != nil {
		return Status{}, err
	}
	a.sequence++
	return Status{Format: format, Host: host, Pulse: lease.Pulse{Known: true}, Sequence: a.sequence,
		Rival: rivals(previous, host.Identity, a.sequence)}, nil
}

// Watch agrees.
func (*Alone) Watch(context.Context, Volume) error { return nil }

// Forget does nothing.
func (*Alone) Forget(context.Context, string) error { return nil }

// Acknowledge does nothing.
func (*Alone) Acknowledge(context.Context, string) error { return nil }

// Leave ends the connection to where leases are kept.
func (a *Alone) Leave(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hangUp()
}

func (a *Alone) hangUp() error {
	c, connected := a.beats.(io.Closer)
	a.beats = nil
	if !connected {
		return nil
	}
	return c.Close()
}
