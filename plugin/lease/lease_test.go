package lease_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring/plugin/lease"
)

const after = 20 * time.Second

func TestDecide(t *testing.T) {
	self := lease.Identity{Host: "a", Boot: "1", Instance: "x"}
	held := func(host, boot string, state lease.State) lease.Lease {
		return lease.Lease{Volume: "v", Epoch: 3, Identity: lease.Identity{Host: host, Boot: boot, Instance: "y"}, State: state}
	}
	still := func(d time.Duration) lease.Watched { return lease.Watched{Still: d} }
	for _, row := range []struct {
		name    string
		current lease.Lease
		holder  lease.Watched
		want    lease.Verdict
	}{
		{"never held", lease.Lease{}, still(0), lease.Take},
		{"released by another host", held("b", "1", lease.Released), still(0), lease.Take},
		{"released by this host", held("a", "1", lease.Released), still(0), lease.Take},
		{"held by an earlier run on this host", held("a", "1", lease.Held), still(0), lease.Keep},
		{"left unattended by an earlier run", held("a", "1", lease.Unattended), still(0), lease.Take},
		{"held before this host's reboot", held("a", "0", lease.Held), still(0), lease.Take},
		{"unattended before this host's reboot", held("a", "0", lease.Unattended), still(0), lease.Take},
		{"held by a host just seen alive", held("b", "1", lease.Held), lease.Watched{Still: time.Second, Beat: true}, lease.Refuse},
		{"held by a host not seen for long enough", held("b", "1", lease.Held), still(after - 1), lease.Wait},
		{"held by a silent host", held("b", "1", lease.Held), still(after), lease.Take},
		{"held by a host that beat and fell silent", held("b", "1", lease.Held), lease.Watched{Still: after, Beat: true}, lease.Take},
		{"unattended on a silent host", held("b", "1", lease.Unattended), still(time.Hour), lease.Refuse},
		{"in a state of the future", held("b", "1", "parked"), still(time.Hour), lease.Refuse},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.want, lease.Decide(row.current, self, row.holder, lease.Terms{After: after}))
		})
	}
}

func TestNextKnowsWhetherTheVolumeWasGivenBack(t *testing.T) {
	self := lease.Identity{Host: "a", Boot: "1", Instance: "x"}
	before := func(host, boot string, state lease.State) lease.Lease {
		return lease.Lease{Volume: "v", Epoch: 7, Identity: lease.Identity{Host: host, Boot: boot}, State: state, Taken: 5, Image: 5}
	}
	for _, row := range []struct {
		name    string
		before  lease.Lease
		taken   uint64
		exposed bool
	}{
		{"never held", lease.Lease{}, 0, false},
		{"given back", before("b", "1", lease.Released), 5, false},
		{"held by another host", before("b", "1", lease.Held), 8, true},
		{"left by another host", before("b", "1", lease.Unattended), 8, true},
		{"in a state of the future", before("b", "1", "parked"), 8, true},
		{"held before this host's reboot", before("a", "0", lease.Held), 5, false},
		{"held by this host", before("a", "1", lease.Held), 5, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			next := row.before.Next("v", self)
			assert.Equal(t, lease.Lease{Volume: "v", Epoch: row.before.Epoch + 1, Identity: self, State: lease.Held, Taken: row.taken, Image: row.before.Image}, next)
			assert.Equal(t, row.exposed, next.Exposed())
			later := next
			later.State = lease.Released
			later = later.Next("v", lease.Identity{Host: "c"})
			assert.Equal(t, row.exposed, later.Exposed(), "until the image is renewed, whoever has the volume")
		})
	}
}

// Whatever hosts do, as long as a host that still writes also beats, no second host gets the volume;
// and epochs only grow.
func TestNoTwoWriters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{current: lease.Lease{}, writer: -1, beats: make([]uint64, 3), watches: make([]lease.Watch, 3)}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			w.now += time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond
			host := rapid.IntRange(0, 2).Draw(t, "host")
			switch rapid.SampledFrom([]string{"beat", "want", "release", "die", "leave", "watch"}).Draw(t, "event") {
			case "beat":
				w.beats[host]++
			case "want":
				w.want(t, host)
			case "watch":
				w.see(host)
			case "release":
				w.end(host, lease.Released)
			case "leave":
				w.end(host, lease.Unattended)
			case "die":
				if w.writer == host {
					w.writer = -1
				}
			}
			if w.writer >= 0 && w.current.State == lease.Held { // a living writer beats in time
				w.beats[w.writer]++
			}
		}
	})
}

// world is one volume and three hosts of which any may die without a word.
type world struct {
	now     time.Duration
	current lease.Lease
	writer  int // the host whose containers write; -1 if none
	beats   []uint64
	watches []lease.Watch
}

func (w *world) identity(host int) lease.Identity {
	return lease.Identity{Host: string(rune('a' + host)), Boot: "1", Instance: "x"}
}

func (w *world) see(host int) lease.Watched {
	if w.current.Epoch == 0 {
		return lease.Watched{}
	}
	holder := int(w.current.Host[0] - 'a')
	beat := lease.Heartbeat{Identity: w.identity(holder), Sequence: w.beats[holder]}
	return lease.Watched{Still: w.watches[host].See(w.current.Host, beat, w.now, w.now).Still}
}

func (w *world) want(t *rapid.T, host int) {
	epoch := w.current.Epoch
	switch lease.Decide(w.current, w.identity(host), w.see(host), lease.Terms{After: after}) {
	case lease.Take:
		w.current = w.current.Next("v", w.identity(host))
		require.Greater(t, w.current.Epoch, epoch)
	case lease.Keep:
		w.current.State = lease.Held
	default:
		return
	}
	require.Contains(t, []int{-1, host}, w.writer, "host %d got the volume while another one writes", host)
	w.writer = host
}

func (w *world) end(host int, state lease.State) {
	if !w.current.Of(w.identity(host)) {
		return
	}
	w.current.State = state
	if state == lease.Released && w.writer == host {
		w.writer = -1
	}
}

func TestWatch(t *testing.T) {
	beat := func(sequence uint64) lease.Heartbeat { return lease.Heartbeat{Sequence: sequence} }
	w := lease.Watch{Gap: 10 * time.Second}
	assert.Equal(t, lease.Sight{}, w.See("b", beat(1), 100*time.Second, 100*time.Second), "the first look starts the timing")
	assert.Equal(t, lease.Sight{Still: 9 * time.Second}, w.See("b", beat(1), 109*time.Second, 109*time.Second))
	assert.Equal(t, lease.Sight{Still: 18 * time.Second}, w.See("b", beat(1), 118*time.Second, 118*time.Second))
	assert.Equal(t, lease.Sight{Beats: 1}, w.See("b", beat(2), 119*time.Second, 119*time.Second))
	assert.Equal(t, lease.Sight{Beats: 1}, w.See("b", beat(2), 140*time.Second, 140*time.Second), "time without looking is no silence")
	assert.Equal(t, lease.Sight{Beats: 1, Still: time.Second}, w.See("b", beat(2), 141*time.Second, 141*time.Second))
	assert.Equal(t, lease.Sight{}, w.See("c", lease.Heartbeat{}, 141*time.Second, 141*time.Second), "hosts are timed apart")
}

func TestASlowReadIsNoSilence(t *testing.T) {
	var w lease.Watch
	beat := lease.Heartbeat{Sequence: 1}
	w.See("b", beat, 0, 4*time.Second)
	assert.Equal(t, lease.Sight{Still: time.Second}, w.See("b", beat, 5*time.Second, 9*time.Second))
	assert.Equal(t, lease.Sight{}, w.See("b", beat, 3*time.Second, 9*time.Second), "begun before the first one ended")
}

func TestALeaseIsAsOldAsItWasSeen(t *testing.T) {
	var w lease.Watch
	l := lease.Lease{Volume: "v", Epoch: 1, State: lease.Held}
	assert.Zero(t, w.Age(l, 100*time.Second))
	assert.Equal(t, time.Minute, w.Age(l, 160*time.Second))
	assert.Zero(t, w.Age(lease.Lease{Volume: "w", Epoch: 1, State: lease.Held}, 160*time.Second))
	l.Epoch++
	assert.Zero(t, w.Age(l, 161*time.Second))
}

func TestHeldErrorNamesTheHolderAndTheRemedy(t *testing.T) {
	l := lease.Lease{Volume: "elasticsearch1data", Epoch: 3, Identity: lease.Identity{Host: "hostB"}, State: lease.Held}
	assert.EqualError(t, &lease.HeldError{Lease: l, Still: 2100 * time.Millisecond, After: after},
		"volume elasticsearch1data is held by host hostB (epoch 3, heartbeat 2s ago); "+
			"stop its container there or wait until that host is down (no heartbeat for 20s)")
	l.State = lease.Unattended
	assert.ErrorContains(t, &lease.HeldError{Lease: l}, "hostB (epoch 3, unattended")
	l.State, l.Unguarded = lease.Held, true
	assert.ErrorContains(t, &lease.HeldError{Lease: l}, "heartbeat 0s ago, unguarded: nothing there stops its containers")
	assert.EqualError(t, &lease.HeldError{Lease: l, Policy: lease.Manual},
		"volume elasticsearch1data is held by host hostB (epoch 3) and is taken over by order only (takeover=manual); stop its container there, "+
			"or, if that host is down for certain: mooring volumes takeover elasticsearch1data --force --reason TEXT")
	assert.EqualError(t, &lease.HeldError{Lease: l, Policy: lease.Never},
		"volume elasticsearch1data is held by host hostB (epoch 3) and is never taken over (takeover=never); "+
			"stop its container there, or start that host again with its plugin")
}

func TestPolicies(t *testing.T) {
	for name, want := range map[string]lease.Policy{"auto": lease.Auto, "manual": lease.Manual, "never": lease.Never} {
		got, err := lease.ParsePolicy(name)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{"", "Auto", "by hand"} {
		_, err := lease.ParsePolicy(name)
		assert.EqualError(t, err, `takeover "`+name+`" is unknown: use auto, manual or never`)
	}
	holder := lease.Lease{Volume: "v", Epoch: 3, Identity: lease.Identity{Host: "b"}, State: lease.Held}
	silent := lease.Watched{Still: time.Hour}
	for policy, want := range map[lease.Policy][2]lease.Verdict{
		lease.Auto: {lease.Take, lease.Take}, lease.Manual: {lease.Refuse, lease.Take}, lease.Never: {lease.Refuse, lease.Refuse},
		"of the future": {lease.Refuse, lease.Take},
	} {
		for n, ordered := range []bool{false, true} {
			terms := lease.Terms{After: after, Policy: policy, Ordered: ordered}
			assert.Equal(t, want[n], lease.Decide(holder, lease.Identity{Host: "a"}, silent, terms), "%s, ordered: %v", policy, ordered)
		}
	}
}
