package scheduler

import (
	"context"

	"mooring/coordinator"
)

// Store keeps the state of one framework. Both methods are called by one goroutine only.
type Store interface {
	// Load returns the state saved last. It never returns an empty state in place of one that it cannot read.
	Load(ctx context.Context) (coordinator.State, error)
	// Save makes after durable before it returns, all of it or nothing. It may write only what differs from before, which is
	// what it saved last; before is the zero State if that is not known, and then everything is written.
	Save(ctx context.Context, before, after coordinator.State) error
}
