package guard_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/guard"
	"mooring/plugin/lease"
)

// edges is a store and a kernel in memory. Beats hang while the store does.
type edges struct {
	mu      sync.Mutex
	hung    chan struct{} // closed when the store answers again; nil if it does
	failing error
	lease   lease.Lease
	fences  []time.Duration // when the volume was fenced
	flush   []bool
	stuck   []int
	begin   time.Time
}

func holder() lease.Identity { return lease.Identity{Host: "a", Boot: "1", Instance: "i"} }

func (e *edges) wait() error {
	e.mu.Lock()
	hung, err := e.hung, e.failing
	e.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return err
}

func (e *edges) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// fenced is when the volume was fenced, and whether it might be flushed.
func (e *edges) fenced() ([]time.Duration, []bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.fences), slices.Clone(e.flush)
}

func (e *edges) state() lease.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lease.State
}

func (e *edges) Beat(lease.Heartbeat) (lease.Heartbeat, error) { return lease.Heartbeat{}, e.wait() }

func (e *edges) Current(string) (lease.Lease, error) {
	err := e.wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lease, err
}

func (e *edges) Rewrite(from, to lease.Lease) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lease != from {
		return lease.ErrTaken
	}
	e.lease = to
	return nil
}

func (e *edges) options() guard.Options {
	e.begin = time.Now()
	clock := func() time.Duration { return time.Since(e.begin) }
	return guard.Options{
		Leases: e,
		Fence: func(volumes []guard.Volume, mayFlush bool) []guard.Report {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.fences, e.flush = append(e.fences, clock()), append(e.flush, mayFlush)
			return []guard.Report{{Volume: volumes[0], Stuck: e.stuck}}
		},
		Keep: func(lease.Pulse, []guard.Report) {}, Clock: clock, Log: hclog.NewNullLogger(),
	}
}

// play runs a guard with one watched volume in virtual time.
func play(t *testing.T, story func(e *edges, g *guard.Guard, v guard.Volume)) {
	synctest.Test(t, func(t *testing.T) {
		e := &edges{lease: lease.Lease{}.Next("v", holder())}
		host := guard.Host{Identity: holder(), Heartbeat: 3 * time.Second, FenceAfter: 10 * time.Second}
		g := guard.New(host, nil, e.options())
		ctx, end := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		synctest.Wait()
		v := guard.Volume{Name: "v", Epoch: 1, Lapses: g.Status().Pulse.Lapses}
		require.NoError(t, g.Watch(v))
		story(e, g, v)
		end()
		e.set(func() {
			if e.hung != nil {
				close(e.hung)
			}
		})
		require.NoError(t, <-ended)
	})
}

func TestABeatingHostIsNotFenced(t *testing.T) {
	play(t, func(e *edges, g *guard.Guard, v guard.Volume) {
		time.Sleep(time.Hour)
		fences, _ := e.fenced()
		assert.Empty(t, fences)
		assert.False(t, g.Idle())
		g.Forget("v")
		assert.True(t, g.Idle())
	})
}

// The time counts from the start of the last confirmed write, also while the next one hangs.
func TestAHungBeatIsFencedInTime(t *testing.T) {
	play(t, func(e *edges, g *guard.Guard, v guard.Volume) {
		time.Sleep(time.Minute + time.Second)
		last := g.Status().Pulse.Began
		e.set(func() { e.hung, e.stuck = make(chan struct{}), []int{7} })
		time.Sleep(10*time.Second + 250*time.Millisecond)
		fences, flush := e.fenced()
		require.NotEmpty(t, fences)
		assert.InDelta(t, (last + 10*time.Second).Seconds(), fences[0].Seconds(), 0.251)
		assert.True(t, flush[0])
		assert.ErrorContains(t, g.Watch(v), "volume v was fenced on this host (no heartbeat for 10s: the store does not answer)")
		require.ErrorContains(t, g.Watch(guard.Volume{Name: "new"}), "no heartbeat for ")

		e.set(func() { close(e.hung); e.hung = nil })
		time.Sleep(time.Minute)
		assert.Equal(t, lease.Held, e.lease.State, "not as long as a process is stuck")
		e.set(func() { e.stuck = nil })
		time.Sleep(5 * time.Second)
		assert.Equal(t, lease.Released, e.state())
		require.Len(t, g.Status().Fenced, 1)
		assert.True(t, g.Status().Fenced[0].Settled)
		before, _ := e.fenced()
		time.Sleep(time.Minute)
		after, _ := e.fenced()
		assert.Equal(t, before, after, "what is settled is left alone")

		assert.Error(t, g.Watch(v))
		v.Epoch, v.Lapses = 2, g.Status().Pulse.Lapses
		assert.NoError(t, g.Watch(v))
		g.Acknowledge("v")
		assert.Empty(t, g.Status().Fenced)
	})
}

func TestABeatThatFailsCountsAsNone(t *testing.T) {
	play(t, func(e *edges, g *guard.Guard, v guard.Volume) {
		e.set(func() { e.failing = errors.New("write heartbeat: no space left on device") })
		time.Sleep(11 * time.Second)
		assert.Len(t, g.Status().Fenced, 1)
		assert.Contains(t, g.Status().Fenced[0].Reason, "no space left on device")
	})
}

// The lease was taken before a lapse that the plugin did not notice: the guard kills what is there.
func TestALeaseFromBeforeALapseIsNotWatched(t *testing.T) {
	play(t, func(e *edges, g *guard.Guard, v guard.Volume) {
		g.Forget("v")
		e.set(func() { e.failing = errors.New("no") })
		time.Sleep(11 * time.Second)
		e.set(func() { e.failing = nil })
		time.Sleep(4 * time.Second)
		assert.ErrorContains(t, g.Watch(v), "its heartbeat lapsed since it took the lease (epoch 1)")
		time.Sleep(time.Second)
		fences, _ := e.fenced()
		assert.NotEmpty(t, fences)
	})
}

func TestAnOldAnswerIsNoLoss(t *testing.T) {
	play(t, func(e *edges, g *guard.Guard, v guard.Volume) {
		g.Forget("v")
		v.Epoch = 5
		require.NoError(t, g.Watch(v))
		time.Sleep(time.Minute)
		fences, _ := e.fenced()
		assert.Empty(t, fences, "epoch 1 was read, from before epoch 5")
		e.set(func() { e.lease = lease.Lease{Epoch: 5}.Next("v", lease.Identity{Host: "b"}) })
		time.Sleep(4 * time.Second)
		fences, flush := e.fenced()
		require.NotEmpty(t, fences)
		assert.False(t, flush[0], "the new holder has the file system")
	})
}
