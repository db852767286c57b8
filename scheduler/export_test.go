package scheduler

import (
	"context"
	"net"
	"time"
)

// Within are the same options for a scheduler that reaches masters by dial, and whose chance is the test's.
func (o Options) Within(dial func(ctx context.Context, network, address string) (net.Conn, error), chance func(time.Duration) time.Duration) Options {
	o.dial, o.chance = dial, chance
	return o
}
