package silence_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/plugin/lease"
	"mooring/plugin/silence"
)

const (
	after  = 20 * time.Second
	beat   = 3 * time.Second
	looked = 500 * time.Millisecond
)

// scene is a store with hosts that beat, and one who watches them. Its clock goes as fast as the test likes.
type scene struct {
	t        *testing.T
	now      time.Duration
	observer *silence.Observer
	beats    map[string]lease.Heartbeat
	living   map[string]bool
	leases   map[string]lease.Lease
	policies map[string]lease.Policy
	away     error                      // the store does not answer
	torn     map[string]bool            // heartbeats caught while they are written
	volumes  map[string][]string        // that are asked for, by host
	looks    int                        // at heartbeats
	stale    map[string]lease.Heartbeat // what is read instead of beats; nil: the truth
}

func newScene(t *testing.T, living ...string) *scene {
	s := &scene{t: t, now: time.Hour, beats: map[string]lease.Heartbeat{}, living: map[string]bool{}, leases: map[string]lease.Lease{},
		policies: map[string]lease.Policy{}, torn: map[string]bool{}, volumes: map[string][]string{"a": {"es1config", "es1data"}}}
	for _, host := range living {
		s.living[host], s.beats[host] = true, lease.Heartbeat{Identity: identity(host), Sequence: 1}
	}
	for _, volume := range s.volumes["a"] {
		s.leases[volume] = lease.Lease{}.Next(volume, identity("a"))
	}
	s.anew()
	return s
}

func identity(host string) lease.Identity {
	return lease.Identity{Host: host, Boot: "boot", Instance: "run"}
}

func (s *scene) anew() { s.observer = silence.New(s, after, func() time.Duration { return s.now }) }

func (s *scene) Leases() (silence.Leases, error)            { return s, s.away }
func (s *scene) Policy(l lease.Lease) (lease.Policy, error) { return s.policies[l.Volume], nil }
func (s *scene) Size(string) (int64, error)                 { return 0, nil }
func (s *scene) Current(volume string) (lease.Lease, error) { return s.leases[volume], s.away }
func (s *scene) Hosts() (names []string, err error) {
	for host := range s.beats {
		names = append(names, host)
	}
	return names, s.away
}

func (s *scene) ReadBeat(host string) (lease.Heartbeat, error) {
	s.looks++
	if s.torn[host] {
		return lease.Heartbeat{}, errors.New("its checksum is wrong")
	}
	if s.stale != nil {
		return s.stale[host], nil
	}
	return s.beats[host], nil
}

// pass lets time pass without a look.
func (s *scene) pass(d time.Duration) {
	for range d / looked {
		s.now += looked
		for host, b := range s.beats {
			if s.living[host] && s.now%beat == 0 {
				b.Sequence++
				s.beats[host] = b
			}
		}
	}
}

func (s *scene) look() (map[string]coordinator.Sight, error) {
	return s.observer.Look(s.t.Context(), s.volumes)
}

// watch lets time pass while somebody looks, and returns what he saw last.
func (s *scene) watch(d time.Duration) (sights map[string]coordinator.Sight, err error) {
	for range d / looked {
		s.pass(looked)
		sights, err = s.look()
	}
	return sights, err
}

func (s *scene) requireAlive(d time.Duration) {
	s.t.Helper()
	for range d / looked {
		sights, err := s.watch(looked)
		require.NoError(s.t, err)
		require.False(s.t, sights["a"].Silent)
	}
}

func TestAHostThatStandsStillIsSilentInTime(t *testing.T) {
	s := newScene(t, "a", "b")
	s.requireAlive(time.Minute)
	s.living["a"] = false
	s.requireAlive(after - beat)
	died := s.now - after + beat
	for {
		sights, err := s.watch(looked)
		require.NoError(t, err)
		if sights["a"].Silent {
			assert.Empty(t, sights["a"].Kept)
			break
		}
		require.Less(t, s.now-died, after+2*looked, "it is time")
	}
	s.living["a"] = true
	sights, err := s.watch(beat)
	require.NoError(t, err)
	assert.True(t, sights["a"].Beats)
	assert.False(t, sights["a"].Silent)
}

func TestALivingHostIsNotLookedAtMoreOftenThanItBeats(t *testing.T) {
	s := newScene(t, "a", "b")
	s.requireAlive(time.Minute)
	s.looks = 0
	s.requireAlive(time.Minute)
	assert.LessOrEqual(t, s.looks, 3*int(time.Minute/beat), "the other one is of no interest")
}

func TestStandingStillCountsOnlyWhileOneCouldLook(t *testing.T) {
	for name, trouble := range map[string]func(s *scene){
		"the store is away": func(s *scene) {
			s.away = errors.New("stale file handle")
			_, err := s.watch(time.Minute)
			require.ErrorContains(t, err, "stale file handle")
			s.away = nil
		},
		"the watcher stands still": func(s *scene) { s.pass(time.Minute) },
		"a heartbeat cannot be read": func(s *scene) {
			s.torn["a"] = true
			sights, err := s.watch(time.Minute)
			require.Error(t, err)
			require.NotContains(t, sights, "a")
			s.torn["a"] = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "a", "b")
			s.requireAlive(time.Minute)
			s.living["a"] = false
			s.requireAlive(after - beat - time.Second)
			trouble(s)
			s.requireAlive(after)
			sights, err := s.watch(time.Second)
			require.NoError(t, err)
			assert.True(t, sights["a"].Silent, "it has stood still for long enough by now")
		})
	}
}

// A copy of the store that stands still, or a store that nobody can write, looks as if all hosts had died at once.
func TestWhenNobodyMovesNobodyIsSilent(t *testing.T) {
	s := newScene(t, "a", "b")
	s.requireAlive(time.Minute)
	s.stale = map[string]lease.Heartbeat{"a": s.beats["a"], "b": s.beats["b"]}
	sights, err := s.watch(time.Minute)
	require.ErrorContains(t, err, "no host's heartbeat moves")
	assert.False(t, sights["a"].Silent)
	s.stale = nil
	s.requireAlive(time.Minute)
}

func TestANewWatcherKnowsOfNobodysDeath(t *testing.T) {
	s := newScene(t, "a", "b")
	s.requireAlive(time.Minute)
	s.living["a"] = false
	s.requireAlive(after - beat - time.Second)
	s.anew()
	s.requireAlive(after)
	sights, err := s.watch(time.Second)
	require.NoError(t, err)
	assert.True(t, sights["a"].Silent)
	assert.GreaterOrEqual(t, sights["a"].Still, after)
}

func TestNothingIsSaidOfAHostThatNeverBeat(t *testing.T) {
	s := newScene(t, "a", "b")
	s.volumes["nobody"] = nil
	sights, err := s.watch(time.Minute)
	require.NoError(t, err)
	assert.NotContains(t, sights, "nobody")
}

func TestWhatNobodyTakesByTimeIsKept(t *testing.T) {
	other := lease.Lease{}.Next("es1data", identity("b"))
	for name, c := range map[string]struct {
		change func(s *scene, l *lease.Lease)
		says   string
	}{
		"held":       {func(*scene, *lease.Lease) {}, ""},
		"released":   {func(_ *scene, l *lease.Lease) { l.State = lease.Released }, ""},
		"none":       {func(_ *scene, l *lease.Lease) { *l = lease.Lease{} }, ""},
		"another's":  {func(_ *scene, l *lease.Lease) { *l = other }, ""},
		"unattended": {func(_ *scene, l *lease.Lease) { l.State = lease.Unattended }, "is unattended"},
		"unguarded":  {func(_ *scene, l *lease.Lease) { l.Unguarded = true }, "is unguarded"},
		"by order":   {func(s *scene, _ *lease.Lease) { s.policies["es1data"] = lease.Manual }, "is not taken over by time (takeover=manual)"},
		"never":      {func(s *scene, _ *lease.Lease) { s.policies["es1data"] = lease.Never }, "is not taken over by time (takeover=never)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "a", "b")
			l := s.leases["es1data"]
			c.change(s, &l)
			s.leases["es1data"] = l
			s.requireAlive(time.Minute)
			s.living["a"] = false
			sights, err := s.watch(after + time.Second)
			require.NoError(t, err)
			require.True(t, sights["a"].Silent)
			if c.says == "" {
				assert.Empty(t, sights["a"].Kept)
			} else {
				assert.Contains(t, sights["a"].Kept["es1data"], c.says)
			}
		})
	}
}

// A heartbeat that stood still before a lease was there says nothing about its holder.
func TestALeaseMustBeAsOldAsTheSilence(t *testing.T) {
	s := newScene(t, "a", "b")
	s.requireAlive(time.Minute)
	s.living["a"] = false
	s.requireAlive(after / 2)
	s.leases["es1data"] = s.leases["es1data"].Next("es1data", identity("a"))
	sights, err := s.watch(after/2 + time.Second)
	require.NoError(t, err)
	assert.Contains(t, sights["a"].Kept["es1data"], "was taken there only lately")
	sights, err = s.watch(after/2 + beat)
	require.NoError(t, err)
	assert.Empty(t, sights["a"].Kept)
}

// hanging is a store whose reads do not return.
type hanging struct {
	*scene
	release chan struct{}
}

func (h hanging) Leases() (silence.Leases, error) {
	<-h.release
	return h.scene, nil
}

func TestAStoreThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{newScene(t, "a", "b"), make(chan struct{})}
		begin := time.Now()
		o := silence.New(h, after, func() time.Duration { return time.Since(begin) })
		for range 3 {
			_, err := o.Look(t.Context(), h.volumes)
			require.ErrorContains(t, err, "does not answer")
		}
		close(h.release)
		synctest.Wait()
		sights, err := o.Look(t.Context(), h.volumes)
		require.NoError(t, err)
		assert.Contains(t, sights, "a")
	})
}
