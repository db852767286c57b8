package lease_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/lease"
)

const self = 10 * time.Second

func TestAPulseCountsFromTheStartOfTheWrite(t *testing.T) {
	var p lease.Pulse
	assert.False(t, p.Alive(0, self), "a host that never beat")
	p.Confirm(100*time.Second, 104*time.Second, self)
	assert.True(t, p.Alive(110*time.Second-1, self))
	assert.False(t, p.Alive(110*time.Second, self))
}

func TestALapseCannotBeMadeGood(t *testing.T) {
	var p lease.Pulse
	p.Confirm(100*time.Second, 100*time.Second, self)
	before := p.Lapses
	p.Confirm(109*time.Second, 109*time.Second, self)
	assert.True(t, p.Covers(before, 109*time.Second, self))
	p.Confirm(118*time.Second, 119*time.Second, self)
	assert.True(t, p.Alive(119*time.Second, self))
	assert.False(t, p.Covers(before, 119*time.Second, self), "it was confirmed when the last one was 10 s old")
	assert.True(t, p.Covers(p.Lapses, 119*time.Second, self))
}

func TestLost(t *testing.T) {
	me := lease.Identity{Host: "a", Boot: "1", Instance: "x"}
	of := func(epoch uint64, host string, state lease.State) lease.Lease {
		return lease.Lease{Volume: "v", Epoch: epoch, Identity: lease.Identity{Host: host, Boot: "1"}, State: state}
	}
	for _, row := range []struct {
		name    string
		current lease.Lease
		want    bool
	}{
		{"an old answer", of(2, "b", lease.Held), false},
		{"no lease, in an old answer", lease.Lease{}, false},
		{"our own", of(3, "a", lease.Held), false},
		{"our own, left unattended", of(4, "a", lease.Unattended), false},
		{"our own, taken anew", of(4, "a", lease.Held), false},
		{"our own, released", of(3, "a", lease.Released), true},
		{"another host's", of(4, "b", lease.Held), true},
		{"another host's before", of(5, "b", lease.Released), true},
	} {
		assert.Equal(t, row.want, lease.Lost(3, row.current, me), row.name)
	}
}

func TestTimesMustFitTogether(t *testing.T) {
	require.NoError(t, lease.CheckTimes(self, after))
	require.NoError(t, lease.CheckTimes(self, lease.LeastTake(self)))
	assert.Equal(t, 19922*time.Millisecond, lease.LeastTake(self))
	assert.EqualError(t, lease.CheckTimes(self, 15*time.Second),
		"a silent host's volumes are taken after 15s, but it may write for 10s without a heartbeat: take them after 19.922s or later "+
			"(clocks may differ by 20 %, stopping its containers takes up to 4s, answers of the store are up to 3s old)")
	assert.ErrorContains(t, lease.CheckTimes(0, after), "give a positive one, such as 10s")
}

func TestPoliciesAndOrders(t *testing.T) {
	me := lease.Identity{Host: "a", Boot: "1", Instance: "x"}
	other := lease.Lease{Volume: "v", Epoch: 3, Identity: lease.Identity{Host: "b", Boot: "1"}, State: lease.Held}
	unguarded, unattended := other, other
	unguarded.Unguarded = true
	unattended.State = lease.Unattended
	mine, left := other, unattended
	mine.Identity, left.Identity = me, me
	for _, row := range []struct {
		name    string
		current lease.Lease
		still   time.Duration
		terms   lease.Terms
		want    lease.Verdict
	}{
		{"by time", other, after, lease.Terms{}, lease.Take},
		{"manual", other, time.Hour, lease.Terms{Policy: lease.Manual}, lease.Refuse},
		{"never", other, time.Hour, lease.Terms{Policy: lease.Never}, lease.Refuse},
		{"a policy of the future", other, time.Hour, lease.Terms{Policy: "soon"}, lease.Refuse},
		{"unguarded", unguarded, time.Hour, lease.Terms{}, lease.Refuse},
		{"ordered", other, after, lease.Terms{Policy: lease.Manual, Ordered: true}, lease.Take},
		{"ordered too early", other, after - 1, lease.Terms{Policy: lease.Manual, Ordered: true}, lease.Wait},
		{"ordered, unguarded", unguarded, after, lease.Terms{Ordered: true}, lease.Take},
		{"ordered, unattended", unattended, after, lease.Terms{Ordered: true}, lease.Take},
		{"ordered, never", other, time.Hour, lease.Terms{Policy: lease.Never, Ordered: true}, lease.Refuse},
		{"going on", mine, 0, lease.Terms{}, lease.Keep},
		{"fenced since", mine, 0, lease.Terms{Anew: true}, lease.Take},
		{"taken back", left, 0, lease.Terms{Policy: lease.Never}, lease.Take},
	} {
		row.terms.After = after
		assert.Equal(t, row.want, lease.Decide(row.current, me, lease.Watched{Still: row.still}, row.terms), row.name)
	}
}
