package guard

import (
	"context"
	"sync"

	"mooring/plugin/lease"
)

// Alone keeps the heartbeat in the plugin's own process and fences nothing: with it leases are marked
// unguarded, and no other host takes them over by time alone. Its zero value is ready for use.
type Alone struct {
	mu       sync.Mutex
	beats    *inStore
	sequence uint64
}

// Attach beats.
func (a *Alone) Attach(_ context.Context, host Host) (Status, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.beats == nil || a.beats.host != host {
		a.beats, a.sequence = &inStore{host: host}, 0
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

// Leave does nothing.
func (*Alone) Leave(context.Context) error { return nil }
