// Package leasetest holds what every place for leases and heartbeats must do.
package leasetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/lease"
)

// Leases is one host's way to the place.
type Leases interface {
	Current(volume string) (lease.Lease, error)
	Create(after, next lease.Lease) (lease.Lease, error)
	Rewrite(from, to lease.Lease) error
	Remove(last lease.Lease) error
	Beat(beat lease.Heartbeat) (previous lease.Heartbeat, err error)
	ReadBeat(host string) (lease.Heartbeat, error)
	Hosts() ([]string, error)
}

// Place is where leases are kept.
type Place interface {
	// Open is the way of another host to the place, the same one each time.
	Open() Leases
	// Make prepares a place for a new volume.
	Make(volume string)
	// Discard does away with what Make has made, before the volume's lease is removed.
	Discard(volume string)
}

// Contract checks a kind of place; open makes a new one.
func Contract(t *testing.T, open func(t *testing.T) Place) {
	for name, check := range map[string]func(*scene){
		"epochs grow":                          epochsGrow,
		"volumes are apart":                    volumesAreApart,
		"one of many takes an epoch":           oneOfMany,
		"the whole previous lease counts":      theWholeLease,
		"an epoch long gone cannot be taken":   longGone,
		"only the current lease is rewritten":  rewritten,
		"a volume made anew is another volume": madeAnew,
		"a removed volume has no lease":        removed,
		"heartbeats":                           heartbeats,
		"beats of many hosts":                  manyHosts,
	} {
		t.Run(name, func(t *testing.T) { check(newScene(t, open(t))) })
	}
}

// Identity is a host's, in its first run.
func Identity(host string) lease.Identity {
	return lease.Identity{Host: host, Boot: "boot", Instance: "run"}
}

// scene is a place with a volume v, and two hosts' ways to it.
type scene struct {
	t     *testing.T
	place Place
	a, b  Leases
}

func newScene(t *testing.T, place Place) *scene {
	place.Make("v")
	return &scene{t: t, place: place, a: place.Open(), b: place.Open()}
}

func (s *scene) current(volume string) lease.Lease {
	s.t.Helper()
	l, err := s.b.Current(volume)
	require.NoError(s.t, err)
	return l
}

// take creates the lease after the current one.
func (s *scene) take(volume, host string) lease.Lease {
	s.t.Helper()
	current := s.current(volume)
	l, err := s.a.Create(current, current.Next(volume, Identity(host)))
	require.NoError(s.t, err)
	return l
}

// remake removes the volume, by a host that has its lease, and makes it again.
func (s *scene) remake() {
	s.t.Helper()
	last := s.take("v", "remover")
	s.place.Discard("v")
	require.NoError(s.t, s.b.Remove(last))
	s.place.Make("v")
}

func epochsGrow(s *scene) {
	require.Zero(s.t, s.current("v"))
	ids := map[string]bool{}
	for epoch := uint64(1); epoch <= 12; epoch++ { // past 9: epochs are numbers, not text
		before := s.current("v")
		created, err := s.a.Create(before, before.Next("v", Identity("a")))
		require.NoError(s.t, err)
		require.Equal(s.t, created, s.current("v"))
		require.Equal(s.t, lease.Lease{Format: 1, Volume: "v", Epoch: epoch, ID: created.ID, Identity: Identity("a"), State: lease.Held}, created)
		ids[created.ID] = true
	}
	assert.Len(s.t, ids, 12, "each lease is another one")
}

func volumesAreApart(s *scene) {
	s.place.Make("v2")
	first := s.take("v", "a")
	assert.Zero(s.t, s.current("v2"))
	s.take("v2", "b")
	assert.Equal(s.t, first, s.current("v"))
	assert.Zero(s.t, s.current("never-made"))
}

func oneOfMany(s *scene) {
	for _, after := range []lease.Lease{{}, s.take("v", "z")} {
		if after.Epoch == 0 {
			s.remake()
		} else {
			after = s.take("v", "z")
		}
		won, lost := 0, 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 20 {
			host := s.place.Open()
			all.Go(func() {
				_, err := host.Create(after, after.Next("v", Identity(fmt.Sprintf("host%d", i))))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case errors.Is(err, lease.ErrTaken):
					lost++
				default:
					s.t.Errorf("host %d: %v", i, err)
				}
			})
		}
		all.Wait()
		require.Equal(s.t, []int{1, 19}, []int{won, lost})
		require.Equal(s.t, after.Epoch+1, s.current("v").Epoch)
	}
}

func theWholeLease(s *scene) {
	current := s.take("v", "a")
	for name, change := range map[string]func(*lease.Lease){
		"epoch":    func(l *lease.Lease) { l.Epoch++ },
		"ID":       func(l *lease.Lease) { l.ID = "other" },
		"host":     func(l *lease.Lease) { l.Host = "other" },
		"boot":     func(l *lease.Lease) { l.Boot = "other" },
		"instance": func(l *lease.Lease) { l.Instance = "other" },
		"state":    func(l *lease.Lease) { l.State = lease.Released },
		"guarded":  func(l *lease.Lease) { l.Unguarded = true },
		"taken":    func(l *lease.Lease) { l.Taken = 1 },
		"image":    func(l *lease.Lease) { l.Image = 1 },
		"none":     func(l *lease.Lease) { *l = lease.Lease{} },
	} {
		after := current
		change(&after)
		_, err := s.b.Create(after, current.Next("v", Identity("b")))
		require.ErrorIs(s.t, err, lease.ErrTaken, name)
		require.Equal(s.t, current, s.current("v"), name)
	}
}

func longGone(s *scene) {
	first := s.take("v", "a")
	for range 4 {
		s.take("v", "b")
	}
	current := s.current("v")
	for _, after := range []lease.Lease{{}, first} {
		_, err := s.b.Create(after, after.Next("v", Identity("slow")))
		require.ErrorIs(s.t, err, lease.ErrTaken)
		require.Equal(s.t, current, s.current("v"))
	}
}

func rewritten(s *scene) {
	first := s.take("v", "a")
	renewed := first
	renewed.Image = first.Epoch
	require.NoError(s.t, s.a.Rewrite(first, renewed))
	require.Equal(s.t, renewed, s.current("v"))
	_, err := s.b.Create(first, first.Next("v", Identity("b")))
	require.ErrorIs(s.t, err, lease.ErrTaken, "it has been rewritten since it was read")
	first = renewed
	released := first
	released.State = lease.Released
	require.NoError(s.t, s.a.Rewrite(first, released))
	require.Equal(s.t, released, s.current("v"))
	require.ErrorIs(s.t, s.a.Rewrite(first, released), lease.ErrTaken, "it has been rewritten before")

	second := s.take("v", "b")
	require.ErrorIs(s.t, s.a.Rewrite(released, first), lease.ErrTaken)
	require.Equal(s.t, second, s.current("v"))
}

// madeAnew is about hosts that were delayed between a read and what they do about it: meanwhile the volume
// was removed, made again, and is in use, even by the same run of the same host under the same epoch.
func madeAnew(s *scene) {
	for _, epochs := range []int{0, 1, 2, 3} {
		var late lease.Lease
		for range 2 {
			late = s.take("v", "a")
		}
		s.remake()
		for range epochs {
			s.take("v", "a")
		}
		current := s.current("v")
		require.Equal(s.t, uint64(epochs), current.Epoch, "epochs start again")
		_, err := s.b.Create(late, late.Next("v", Identity("b")))
		require.ErrorIs(s.t, err, lease.ErrTaken)
		released := late
		released.State = lease.Released
		require.ErrorIs(s.t, s.b.Rewrite(late, released), lease.ErrTaken)
		require.Equal(s.t, current, s.current("v"))
		s.remake()
	}
}

func removed(s *scene) {
	last := s.take("v", "a")
	s.place.Discard("v")
	require.NoError(s.t, s.a.Remove(last))
	require.Zero(s.t, s.current("v"))
	_, err := s.b.Create(last, last.Next("v", Identity("b")))
	require.Error(s.t, err)
	require.Error(s.t, s.b.Rewrite(last, last))
	require.Zero(s.t, s.current("v"))
}

func heartbeats(s *scene) {
	none, err := s.b.ReadBeat("a")
	require.NoError(s.t, err)
	require.Zero(s.t, none)
	var before lease.Heartbeat
	for sequence := uint64(1); sequence < 12; sequence++ {
		beat := lease.Heartbeat{Identity: Identity("a"), Sequence: sequence}
		previous, err := s.a.Beat(beat)
		require.NoError(s.t, err)
		require.Equal(s.t, before, previous)
		got, err := s.b.ReadBeat("a")
		require.NoError(s.t, err)
		beat.Format = 1
		require.Equal(s.t, beat, got)
		before = beat
	}
}

func manyHosts(s *scene) {
	none, err := s.a.Hosts()
	require.NoError(s.t, err)
	require.Empty(s.t, none)
	for _, host := range []string{"a", "b", "a"} {
		_, err := s.a.Beat(lease.Heartbeat{Identity: Identity(host), Sequence: 7})
		require.NoError(s.t, err)
	}
	found, err := s.b.Hosts()
	require.NoError(s.t, err)
	assert.ElementsMatch(s.t, []string{"a", "b"}, found)
}
