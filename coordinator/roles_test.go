package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

// to is an offer to a role.
func to(role, id, agent string, change ...func(*coordinator.Offer)) coordinator.Offer {
	o := offer(agent)
	o.ID, o.Role = id, role
	for _, c := range change {
		c(&o)
	}
	return o
}

func reserved(cpus, memory int64) func(*coordinator.Offer) {
	return func(o *coordinator.Offer) { o.Reserved = coordinator.Amount{CPUs: cpus, MemoryMB: memory} }
}

func sized(cpus, memory int64) func(*coordinator.Offer) {
	return func(o *coordinator.Offer) { o.CPUs, o.MemoryMB = cpus, memory }
}

func TestOffersToDifferentRolesAreNeverAcceptedTogether(t *testing.T) {
	s := newScript(t, 1)
	half := sized(500, 4096)
	got := s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{to("a", "o1", "a1", half), to("b", "o2", "a1", half), to("a", "o3", "a1", half)}})
	assert.Equal(t, []string{"o1", "o3"}, of[coordinator.Launch](got)[0].Offers, "two to one role add up")
	assert.Equal(t, []string{"o2"}, of[coordinator.Decline](got)[0].Offers)

	s = newScript(t, 1)
	got = s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{to("a", "o1", "a1", half), to("b", "o2", "a1", half)}})
	assert.Empty(t, launches(got))
	assert.Equal(t, "no offer fits: 2 with less than 1 CPUs", of[coordinator.Note](got)[0].Text)
}

func TestAnAgentThatOffersToTwoRolesGetsOneNode(t *testing.T) {
	s := newScript(t, 2)
	both := []coordinator.Offer{to("a", "o1", "a1"), to("b", "o2", "a1")}
	assert.Equal(t, []string{"1@a1/1"}, launches(s.play(coordinator.Offers{At: s.now, Offers: both})))
	s.report(1, coordinator.Over)
	assert.Equal(t, []string{"1@a1/2"}, launches(s.after(time.Second).play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{to("b", "o3", "a1")}})), "it comes back by whichever role")
}

func TestWhatIsReservedIsTakenFirst(t *testing.T) {
	s := newScript(t, 3)
	got := s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{
		to("a", "o1", "free"), to("a", "o2", "some", reserved(500, 0)), to("a", "o3", "all", reserved(1000, 1024)),
	}})
	assert.Equal(t, []string{"1@all/1", "2@some/1", "3@free/1"}, launches(got))
	s = newScript(t, 1).running(1)
	s.report(1, coordinator.Over)
	got = s.after(time.Second).play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{to("a", "o1", "a1"), to("b", "o2", "a1", reserved(1000, 1024)), to("a", "o3", "all", reserved(1000, 1024))}})
	assert.Equal(t, []string{"o2"}, of[coordinator.Launch](got)[0].Offers, "on its last agent, and there what is reserved")
}

func TestASpreadComesBeforeWhatIsReserved(t *testing.T) {
	s := newScript(t, 2)
	s.rules.SpreadBy = "rack"
	in := func(rack string) func(*coordinator.Offer) {
		return func(o *coordinator.Offer) { o.Attributes = map[string]string{"rack": rack} }
	}
	got := s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{
		to("a", "o1", "a1", in("x")), to("a", "o2", "a2", in("y"), reserved(1000, 1024)), to("a", "o3", "a3", in("y"), reserved(1000, 1024)),
	}})
	assert.Equal(t, []string{"1@a2/1", "2@a1/1"}, launches(got))
}
