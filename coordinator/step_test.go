package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

func TestNodesGetTheLowestIDsOnHostsOfTheirOwn(t *testing.T) {
	s := newScript(t, 3)
	got := s.offer("a1", "a1", "a2", "a3", "a4")
	assert.Equal(t, []string{"1@a1/1", "2@a2/1", "3@a3/1"}, launches(got))
	assert.Equal(t, []string{"offer-of-a1", "offer-of-a1"}, of[coordinator.Launch](got)[0].Offers, "offers of one agent go together")
	assert.Equal(t, []coordinator.Decline{{Offers: []string{"offer-of-a4"}, Refuse: time.Hour, Reason: "nothing to launch"}},
		of[coordinator.Decline](got))
	assert.Len(t, of[coordinator.Suppress](got), 1)
}

func TestALostAgentsNodeComesBackElsewhereUnderItsID(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	got := s.play(coordinator.AgentLost{At: s.now, Agent: "a2"})
	require.Len(t, of[coordinator.Revive](got), 1)
	got = s.offer("a4")
	assert.Equal(t, []string{"2@a4/2"}, launches(got))
	assert.Equal(t, []coordinator.Kill{{Task: "es-2-1", Agent: "a2"}}, of[coordinator.Kill](got), "the old task must not come back")
	task := of[coordinator.Launch](got)[0].Task
	assert.True(t, task.Joined)
	assert.Equal(t, "uuid", task.ClusterUUID)
	assert.Empty(t, task.InitialMasters, "a cluster is founded once")
	assert.Contains(t, task.Seeds, "host-of-a1:9300")
}

func TestAnAgentThatReturnsIsNotGivenASecondCopy(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a2"})
	s.offer("a4")
	s.report(2, coordinator.Alive)
	before := s.node(2)
	got := s.play(coordinator.Report{At: s.now, Task: "es-2-1", Agent: "a2", Outcome: coordinator.Alive, UUID: "u"})
	assert.Equal(t, []coordinator.Action{
		coordinator.Kill{Task: "es-2-1", Agent: "a2"},
		coordinator.Acknowledge{Task: "es-2-1", Agent: "a2", UUID: "u"},
	}, got)
	assert.Equal(t, before, s.node(2))
	assert.Empty(t, launches(s.offer("a2")))
}

func TestAnUnreachableNodeThatReturnsInTimeIsKept(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Away)
	assert.Equal(t, coordinator.Lost, s.node(1).Phase)
	s.report(1, coordinator.Alive)
	assert.Equal(t, coordinator.Running, s.node(1).Phase)
	assert.EqualValues(t, 1, s.node(1).Epoch)
}

func TestWithoutFencingALostNodeWaitsForItsAgent(t *testing.T) {
	s := newScript(t, 1)
	s.rules.Fencing = false
	s.running(1)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	got := s.after(time.Hour).offer("a2")
	assert.Empty(t, launches(got))
	assert.Equal(t, []coordinator.Note{{Node: 1, Text: "waits for its last agent a1 (host-of-a1)"}}, of[coordinator.Note](got))
	assert.Empty(t, launches(s.after(time.Hour).offer("a2")), "however long")
	assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a2", "a1")), "the new executor there stops what is left")

	s.report(1, coordinator.Away)
	s.play(coordinator.Forgive{At: s.now, Node: 1})
	assert.Equal(t, []string{"1@a2/3"}, launches(s.after(time.Minute).offer("a2")), "an operator knows that the host is gone")
}

func TestWithoutFencingAHostThatIsGoneForGoodFreesItsNode(t *testing.T) {
	s := newScript(t, 1)
	s.rules.Fencing = false
	s.running(1)
	s.report(1, coordinator.Away)
	s.report(1, coordinator.Gone)
	assert.Equal(t, []string{"1@a2/2"}, launches(s.offer("a2")))
}

func TestANodeWaitsAWhileForItsLastAgent(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Over, fault(coordinator.FaultNode, "exit code 1"))
	assert.Empty(t, launches(s.after(2*time.Second).offer("a2")))
	assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a2", "a1")))
	s.report(1, coordinator.Over, fault(coordinator.FaultNode, "exit code 1"))
	assert.Equal(t, []string{"1@a2/3"}, launches(s.after(time.Minute).offer("a2")))
}

func TestOffersThatAreTooSmallAreExplained(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*coordinator.Offer)
		reason string
	}{
		"cpus":        {func(o *coordinator.Offer) { o.CPUs = 499 }, "with less than 1 CPUs"},
		"memory":      {func(o *coordinator.Offer) { o.MemoryMB = 511 }, "with less than 1024 MB of memory"},
		"no port":     {func(o *coordinator.Offer) { o.Ports = nil }, "with less than 2 ports"},
		"one port":    {func(o *coordinator.Offer) { o.Ports = []coordinator.PortRange{{First: 9200, Last: 9200}} }, "with less than 2 ports"},
		"maintenance": {func(o *coordinator.Offer) { o.Unavailable = true }, "going down for maintenance"},
		"attribute":   {func(o *coordinator.Offer) { o.Attributes = map[string]string{"disk": "slow"} }, "without attribute disk:fast"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 1)
			s.rules.Require = map[string]string{"disk": "fast"}
			small := offer("a1")
			small.Attributes = map[string]string{"disk": "fast"}
			c.change(&small)
			got := s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{small, small}})
			assert.Empty(t, launches(got))
			assert.Equal(t, []coordinator.Note{{Node: 1, Text: "no offer fits: 2 " + c.reason}}, of[coordinator.Note](got))
			assert.Equal(t, c.reason, of[coordinator.Decline](got)[0].Reason)
		})
	}
}

func TestPortsComeFromTheOffer(t *testing.T) {
	for name, c := range map[string]struct {
		ranges []coordinator.PortRange
		want   []int
	}{
		"usual":               {[]coordinator.PortRange{{First: 9000, Last: 9999}}, []int{9200, 9300}},
		"only usual HTTP":     {[]coordinator.PortRange{{First: 9200, Last: 9201}}, []int{9200, 9201}},
		"only usual, reverse": {[]coordinator.PortRange{{First: 9299, Last: 9300}}, []int{9299, 9300}},
		"two ranges":          {[]coordinator.PortRange{{First: 31005, Last: 31005}, {First: 31001, Last: 31001}}, []int{31001, 31005}},
		"overlapping ranges":  {[]coordinator.PortRange{{First: 31000, Last: 31000}, {First: 31000, Last: 31001}}, []int{31000, 31001}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 1)
			o := offer("a1")
			o.Ports = c.ranges
			got := of[coordinator.Launch](s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{o}}))
			require.Len(t, got, 1)
			assert.Equal(t, c.want, got[0].Ports)
			assert.Equal(t, c.want, []int{got[0].Task.Place.HTTPPort, got[0].Task.Place.TransportPort})
		})
	}
}

func TestNodesAreSpreadOverZones(t *testing.T) {
	s := newScript(t, 4)
	s.rules.SpreadBy = "zone"
	var offers []coordinator.Offer
	for _, at := range []struct{ agent, zone string }{{"a1", "x"}, {"a2", "x"}, {"a3", "x"}, {"a4", "y"}, {"a5", "z"}} {
		o := offer(at.agent)
		o.Attributes = map[string]string{"zone": at.zone}
		offers = append(offers, o)
	}
	got := s.play(coordinator.Offers{At: s.now, Offers: offers})
	assert.Equal(t, []string{"1@a1/1", "2@a4/1", "3@a5/1", "4@a2/1"}, launches(got))
}

func TestTwoAgentsOfOneHostGetOneNode(t *testing.T) {
	s := newScript(t, 2)
	one, two := offer("a1"), offer("a2")
	two.Host = one.Host
	assert.Equal(t, []string{"1@a1/1"}, launches(s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{one, two}})))
	s.rules.MaxPerHost = 2
	assert.Equal(t, []string{"2@a1/1"}, launches(s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{one}})))
}

func TestFailuresAreRetriedLaterAndLater(t *testing.T) {
	s := newScript(t, 1)
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		s.after(time.Minute).offer("a1")
		s.report(1, coordinator.Over, fault(coordinator.FaultNode, "exit code 1"))
		assert.Equal(t, s.now.Add(wait*time.Second), s.node(1).NotBefore)
		assert.Empty(t, launches(s.after(wait*time.Second-1).offer("a1")))
		s.after(1)
	}
	s.offer("a1")
	s.report(1, coordinator.Alive)
	s.after(10*time.Minute).report(1, coordinator.Over, fault(coordinator.FaultNode, ""))
	assert.Equal(t, s.now.Add(time.Second), s.node(1).NotBefore, "a long run forgives")
}

func TestAnAgentWhereThreeNodesFailedIsSetAside(t *testing.T) {
	s := newScript(t, 3)
	for id := coordinator.NodeID(1); id <= 3; id++ {
		require.NotEmpty(t, launches(s.after(time.Minute).offer("bad")))
		s.report(id, coordinator.Over, fault(coordinator.FaultAgent, "no such driver"))
		s.state.Nodes[id-1].NotBefore = s.now.Add(time.Hour) // let the next ID have its turn
	}
	s.state.Nodes[0].NotBefore = time.Time{}
	got := s.after(29 * time.Minute).offer("bad")
	assert.Empty(t, launches(got))
	assert.Equal(t, "no offer fits: 1 set aside after failures there", of[coordinator.Note](got)[0].Text)
	assert.Equal(t, []string{"1@good/2"}, launches(s.offer("bad", "good")))
}

func TestANodeThatItsHostEndedWaitsLongOnlyIfItNeverJoined(t *testing.T) {
	s := newScript(t, 1)
	ended := fault(coordinator.FaultHost, "container was ended from outside")
	for range 5 {
		s.after(time.Second).running(1)
		s.report(1, coordinator.Over, ended)
		assert.Equal(t, s.now.Add(time.Second), s.node(1).NotBefore)
	}
	for _, outcome := range []coordinator.Outcome{coordinator.Over, coordinator.Unsure} {
		s.after(time.Minute).running(1)
		s.report(1, outcome, ended)
		assert.Equal(t, s.now.Add(time.Second), s.node(1).NotBefore)
		for _, wait := range []time.Duration{2, 4, 8} {
			require.NotEmpty(t, launches(s.after(time.Minute).offer("a1")))
			s.report(1, coordinator.Alive)
			s.report(1, outcome, ended)
			assert.Equal(t, s.now.Add(wait*time.Second), s.node(1).NotBefore)
		}
	}
	assert.Empty(t, s.state.Agents, "it goes back to its last agent, where the rest of it is")
}

func TestANodeLeavesAnAgentThatCouldNotStartIt(t *testing.T) {
	s := newScript(t, 1).running(1)
	failed := fault(coordinator.FaultAgent, "the engine does not see the plugin's mounts")
	s.report(1, coordinator.Over, failed)
	assert.Equal(t, []string{"1@a1/2"}, launches(s.after(time.Minute).offer("a1")), "where else")
	s.report(1, coordinator.Over, failed)
	assert.Equal(t, []string{"1@a2/3"}, launches(s.after(time.Minute).offer("a1", "a2")))
	s.report(1, coordinator.Over, failed)
	assert.Equal(t, []string{"1@a2/4"}, launches(s.after(time.Minute).offer("a1", "a2")), "which failed less often")
	s.report(1, coordinator.Over, failed)
	assert.Equal(t, []string{"1@a3/5"}, launches(s.after(time.Minute).offer("a1", "a2", "a3")))
}

func TestWithoutFencingANodeThatMayRunStaysWithItsAgentWhateverFailedThere(t *testing.T) {
	s := newScript(t, 1)
	s.rules.Fencing = false
	s.running(1)
	s.report(1, coordinator.Unsure, fault(coordinator.FaultAgent, "cannot tell whether the container is gone"))
	assert.Equal(t, []string{"1@a1/2"}, launches(s.after(time.Minute).offer("a2", "a1")))
}

func TestAVolumeHeldElsewhereIsRetriedSoonWithoutBlame(t *testing.T) {
	s := newScript(t, 1)
	for range 5 {
		s.after(2 * time.Second).offer("a1")
		s.report(1, coordinator.Over, fault(coordinator.FaultVolume, "held by host h2"))
		assert.Equal(t, s.now.Add(2*time.Second), s.node(1).NotBefore)
		assert.Equal(t, "held by host h2", s.node(1).Problem)
	}
	assert.Empty(t, s.state.Agents)
}

func TestANodeThatRefusesItsVolumesWaitsForAnOperator(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Over, fault(coordinator.FaultRefused, "data volume is empty"))
	assert.Empty(t, launches(s.after(time.Hour).offer("a1")))
	assert.Equal(t, "data volume is empty", s.node(1).Held)
	s.play(coordinator.Forgive{At: s.now, Node: 1})
	got := of[coordinator.Launch](s.offer("a1"))
	require.Len(t, got, 1)
	assert.False(t, got[0].Task.Joined, "it may begin empty")
}

func TestANodeInAnotherClusterIsStoppedAndKept(t *testing.T) {
	s := newScript(t, 2).running(1)
	s.offer("a2")
	got := s.report(2, coordinator.Alive, ready("other"))
	assert.Equal(t, []coordinator.Kill{{Task: "es-2-1", Agent: "a2"}}, of[coordinator.Kill](got))
	assert.Equal(t, "node is in cluster other, the others are in uuid", s.node(2).Held)
	assert.Equal(t, "uuid", s.state.ClusterUUID)
}

func TestOnlyTheFirstStartNamesInitialMasters(t *testing.T) {
	s := newScript(t, 5)
	got := of[coordinator.Launch](s.offer("a1", "a2", "a3", "a4"))
	for i, l := range got[:3] {
		assert.Equal(t, []string{"es1", "es2", "es3"}, l.Task.InitialMasters, "node %d", i+1)
	}
	assert.Empty(t, got[3].Task.InitialMasters)
	s.report(1, coordinator.Over)
	s.play(coordinator.Scale{At: s.now, Target: 9})
	assert.Equal(t, []string{"es1", "es2", "es3"}, of[coordinator.Launch](s.after(time.Minute).offer("a5"))[0].Task.InitialMasters)
	s.report(2, coordinator.Alive, ready("uuid"))
	for _, l := range of[coordinator.Launch](s.offer("a6", "a7")) {
		assert.Empty(t, l.Task.InitialMasters)
	}
}

func TestSeedsMoveWithTheNodes(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a2"})
	s.offer("a4")
	want := []string{"host-of-a1:9300", "host-of-a4:9300", "host-of-a3:9300"}
	assert.Equal(t, []coordinator.Seeds{
		{Task: "es-1-1", Agent: "a1", Seeds: want}, {Task: "es-3-1", Agent: "a3", Seeds: want},
	}, of[coordinator.Seeds](s.actions))
	assert.Equal(t, []coordinator.Seeds{{Task: "es-2-2", Agent: "a4", Seeds: want}}, of[coordinator.Seeds](s.report(2, coordinator.Alive, func(r *coordinator.Report) { r.Told = true })))
}

func TestScale(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	got := s.play(coordinator.Scale{At: s.now, Target: 1})
	assert.Equal(t, []coordinator.Kill{{Task: "es-2-1", Agent: "a2"}, {Task: "es-3-1", Agent: "a3"}}, of[coordinator.Kill](got))
	assert.Empty(t, of[coordinator.Kill](s.after(9*time.Second).tick()))
	assert.Len(t, of[coordinator.Kill](s.after(time.Second).tick()), 2, "a kill may get lost")
	s.report(2, coordinator.Over)
	s.play(coordinator.Scale{At: s.now, Target: 2})
	assert.Empty(t, launches(s.after(time.Minute).offer("a4")), "node 3 still runs: two are launched")
	s.report(3, coordinator.Over)
	assert.Equal(t, []string{"2@a4/2"}, launches(s.offer("a4")))
	s.play(coordinator.Scale{At: s.now, Target: 0})
	assert.Len(t, of[coordinator.Kill](s.actions), 2)
}

func TestAForgivenNodeDoesNotWaitForAnAgentThatIsLost(t *testing.T) {
	s := newScript(t, 1)
	s.rules.Fencing = false
	s.running(1)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	s.play(coordinator.Forgive{At: s.now, Node: 1})
	assert.Equal(t, []string{"1@a2/2"}, launches(s.offer("a2")))
}

func TestAKillIsSentAgainWithTheNextSubscription(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.after(time.Second).play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Retire})
	got := s.after(time.Second).play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
	assert.Len(t, of[coordinator.Kill](got), 1, "whoever saved that it was sent may have died before it was")
	assert.Empty(t, of[coordinator.Kill](s.after(9*time.Second).tick()))
}

func TestRestartStopsANodeOnce(t *testing.T) {
	s := newScript(t, 1).running(1)
	got := s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Restart})
	assert.Equal(t, []coordinator.Kill{{Task: "es-1-1", Agent: "a1"}}, of[coordinator.Kill](got))
	s.report(1, coordinator.Over, fault(coordinator.FaultNode, "exit code 143"))
	assert.Zero(t, s.node(1).Failures, "it ended because it was told to")
	assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a1")))
	assert.Empty(t, of[coordinator.Kill](s.after(time.Hour).tick()))
}

func TestARetiredNodeIsNotReplaced(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	got := s.play(coordinator.Order{At: s.now, Node: 2, Intent: coordinator.Retire})
	assert.Equal(t, []coordinator.Kill{{Task: "es-2-1", Agent: "a2"}}, of[coordinator.Kill](got))
	s.report(2, coordinator.Over)
	assert.Equal(t, 2, s.state.Target)
	assert.Empty(t, launches(s.after(time.Minute).offer("a4")))
	s.play(coordinator.Scale{At: s.now, Target: 3})
	assert.Equal(t, []string{"2@a4/2"}, launches(s.offer("a4")), "the lowest ID that is free")

	s.play(coordinator.Order{At: s.now, Node: 3, Intent: coordinator.Retire})
	s.play(coordinator.Order{At: s.now, Node: 3, Intent: coordinator.Keep})
	assert.Equal(t, 3, s.state.Target)
	assert.Equal(t, coordinator.Keep, s.node(3).Intent)
	s.play(coordinator.Order{At: s.now, Node: 99, Intent: coordinator.Retire})
	assert.Equal(t, 3, s.state.Target)
}

func TestEverySubscriptionReconciles(t *testing.T) {
	s := newScript(t, 3).running(1, 2)
	s.offer("a3")
	got := s.after(time.Hour).play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
	all := []coordinator.TaskRef{{Task: "es-1-1", Agent: "a1"}, {Task: "es-2-1", Agent: "a2"}, {Task: "es-3-1", Agent: "a3"}}
	assert.Equal(t, []coordinator.Reconcile{{Tasks: all}, {}}, of[coordinator.Reconcile](got))
	s.report(1, coordinator.Alive)
	s.report(3, coordinator.Pending)
	assert.Empty(t, of[coordinator.Reconcile](s.after(4*time.Second).tick()))
	assert.Equal(t, []coordinator.Reconcile{{Tasks: all[1:2]}}, of[coordinator.Reconcile](s.after(time.Second).tick()))
	assert.Empty(t, of[coordinator.Reconcile](s.after(4*time.Second).tick()))
	assert.Equal(t, []coordinator.Reconcile{{Tasks: all[1:2]}}, of[coordinator.Reconcile](s.after(time.Second).tick()))
	s.report(2, coordinator.Alive)
	assert.Equal(t, []coordinator.Reconcile{{Tasks: all[2:]}}, of[coordinator.Reconcile](s.after(time.Minute).tick()), "an unanswered launch")
	assert.Contains(t, of[coordinator.Reconcile](s.after(15*time.Minute).tick()), coordinator.Reconcile{}, "strangers are looked for")
}

func TestUnknownTasksOfOursAreKilledAndOthersLeftAlone(t *testing.T) {
	s := newScript(t, 1).running(1)
	for task, kills := range map[string]int{"es-7-1": 1, "es-1-9": 1, "other-1-1": 0, "es-x": 0} {
		got := s.play(coordinator.Report{At: s.now, Task: task, Agent: "a9", Outcome: coordinator.Alive, UUID: "u"})
		assert.Len(t, of[coordinator.Kill](got), kills, task)
		assert.Len(t, of[coordinator.Acknowledge](got), 1, task)
	}
}

func TestOffersAreAskedForWhileANodeLacksOne(t *testing.T) {
	s := newScript(t, 1).running(1)
	require.True(t, s.state.Suppressed)
	got := s.report(1, coordinator.Over, fault(coordinator.FaultNode, ""))
	assert.Empty(t, of[coordinator.Revive](got), "not during the backoff")
	assert.Len(t, of[coordinator.Revive](s.after(time.Second).tick()), 1)
	assert.Empty(t, of[coordinator.Revive](s.after(time.Second).tick()))
	assert.Len(t, of[coordinator.Revive](s.after(9*time.Second).tick()), 1, "a revive may get lost")
}

func TestARescindedOfferChangesNothing(t *testing.T) {
	s := newScript(t, 2).running(1)
	before := s.state
	assert.Empty(t, s.play(coordinator.Rescinded{At: s.now, Offer: "offer-of-a1"}))
	assert.Equal(t, before, s.state)
}
