package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring/coordinator"
)

// Events that are taken in together have the effect that they have one by one.
func TestTogetherIsAsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: rapid.Bool().Draw(t, "fencing")}
		start, _ := rules.Step(coordinator.NewState("es", 3), coordinator.Subscribed{At: t0, FrameworkID: "f"})
		events := rapid.SliceOfN(rapid.Custom(anyEvent), 1, 30).Draw(t, "events")
		one, actions := start, []coordinator.Action(nil)
		for _, e := range events {
			after, more := rules.Step(one, e)
			one, actions = after, append(actions, more...)
		}
		together, same := rules.Step(start, events...)
		require.Equal(t, one, together)
		require.Equal(t, actions, same)
	})
}

func anyEvent(t *rapid.T) coordinator.Event {
	at := t0.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "seconds")) * time.Second)
	agent := rapid.SampledFrom([]string{"a1", "a2", "a3", "a4"}).Draw(t, "agent")
	node := coordinator.NodeID(rapid.IntRange(1, 3).Draw(t, "node"))
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0, 1:
		return coordinator.Offers{At: at, Offers: []coordinator.Offer{offer(agent)}}
	case 2:
		return coordinator.Tick{At: at}
	case 3:
		return coordinator.AgentLost{At: at, Agent: agent}
	case 4:
		return coordinator.Order{At: at, Node: node, Intent: coordinator.Restart}
	}
	return coordinator.Report{
		At: at, Task: coordinator.TaskID("es", node, uint64(rapid.IntRange(1, 2).Draw(t, "epoch"))), Agent: agent,
		Outcome: coordinator.Outcome(rapid.IntRange(0, int(coordinator.Away)).Draw(t, "outcome")), UUID: "u", Host: agent,
		Ready: true, Cluster: "uuid", Fault: coordinator.FaultNode, Message: "m",
	}
}
