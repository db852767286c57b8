package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

const (
	replayNodes  = 1_000
	replayAgents = 10_000
)

func manyOffers(now time.Time, agents int) coordinator.Offers {
	e := coordinator.Offers{At: now}
	for i := range agents {
		o := offer(fmt.Sprintf("a%d", i))
		o.ID = fmt.Sprintf("%s-%d", o.ID, now.Unix())
		o.Attributes = map[string]string{"rack": fmt.Sprintf("r%d", i%40)}
		e.Offers = append(e.Offers, o)
	}
	return e
}

// A day of a large cluster: all nodes start, a rack dies every hour and comes back, a scheduler restarts twice.
func TestADayOfTenThousandAgents(t *testing.T) {
	s := newScript(t, replayNodes)
	s.rules.SpreadBy = "rack"
	s.play(manyOffers(s.now, replayAgents))
	require.Len(t, launches(s.actions), replayNodes)
	reportAll(s)
	for hour := range 24 {
		s.after(time.Hour)
		lost := 0
		for id := range replayNodes {
			if n := s.state.Nodes[id]; n.Place.Zone == fmt.Sprintf("r%d", hour) {
				s.play(coordinator.AgentLost{At: s.now, Agent: n.Place.Agent})
				lost++
			}
		}
		require.NotZero(t, lost)
		require.Len(t, launches(s.play(manyOffers(s.now, replayAgents))), lost)
		if hour%12 == 11 {
			s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
		}
		reportAll(s)
		s.tick()
	}
	racks := map[string]int{}
	for _, n := range s.state.Nodes {
		require.Equal(t, coordinator.Running, n.Phase, "node %d", n.ID)
		racks[n.Place.Zone]++
	}
	for rack, nodes := range racks {
		require.Equal(t, replayNodes/40, nodes, rack)
	}
}

func reportAll(s *script) {
	for _, n := range s.state.Nodes {
		if n.Phase == coordinator.Claimed || !n.Settled {
			s.report(n.ID, coordinator.Alive, ready("uuid"))
		}
	}
}

func BenchmarkTenThousandOffersThousandNodes(b *testing.B) {
	rules := coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true}
	state, _ := rules.Step(coordinator.NewState("es", replayNodes), coordinator.Subscribed{At: t0, FrameworkID: "f1"})
	offers := manyOffers(t0, replayAgents)
	for b.Loop() {
		rules.Step(state, offers)
	}
}

func BenchmarkReportToThousandNodes(b *testing.B) {
	rules := coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true}
	state, _ := rules.Step(coordinator.NewState("es", replayNodes), coordinator.Subscribed{At: t0, FrameworkID: "f1"})
	state, _ = rules.Step(state, manyOffers(t0, replayAgents))
	report := coordinator.Report{At: t0, Task: "es-500-1", Agent: "a499", Outcome: coordinator.Alive, UUID: "u"}
	for b.Loop() {
		rules.Step(state, report)
	}
}
