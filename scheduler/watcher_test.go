package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// slow takes its time for each look.
type slow struct {
	takes time.Duration
	asked []time.Duration
	begin time.Time
}

func (s *slow) Look(ctx context.Context, _ map[string][]string) (map[string]coordinator.Sight, error) {
	s.asked = append(s.asked, time.Since(s.begin))
	timer := time.NewTimer(s.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

// Looks come one after the other, at a steady pace, and none is waited for at the end.
func TestLooksFollowEachOther(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		asked []time.Duration
	}{
		"quick": {0, []time.Duration{0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond}},
		"slow":  {700 * time.Millisecond, []time.Duration{0, 700 * time.Millisecond, 1400 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks, h := make(chan look), &slow{takes: c.takes, begin: time.Now()}
				w := &watcher{heartbeats: h, state: func() coordinator.State { return coordinator.NewState("es", 1) }, looks: looks}
				ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- w.run(ctx) }()
				for range c.asked {
					select {
					case <-looks:
					case <-ctx.Done():
					}
				}
				require.NoError(t, <-ended)
				assert.Equal(t, c.asked, h.asked)
			})
		})
	}
}

func TestWithoutHeartbeatsNobodyWatches(t *testing.T) {
	require.NoError(t, (&watcher{}).run(t.Context()))
}
