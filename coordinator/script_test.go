package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// script plays events against rules and keeps what came of them.
type script struct {
	t       *testing.T
	rules   coordinator.Rules
	state   coordinator.State
	now     time.Time
	actions []coordinator.Action // of the latest event
}

func newScript(t *testing.T, target int) *script {
	s := &script{
		t:     t,
		rules: coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true},
		state: coordinator.NewState("es", target),
		now:   t0,
	}
	s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
	return s
}

func (s *script) play(e coordinator.Event) []coordinator.Action {
	s.state, s.actions = s.rules.Step(s.state, e)
	return s.actions
}

func (s *script) after(d time.Duration) *script {
	s.now = s.now.Add(d)
	return s
}

func (s *script) tick() []coordinator.Action { return s.play(coordinator.Tick{At: s.now}) }

func offer(agent string) coordinator.Offer {
	return coordinator.Offer{
		ID: "offer-of-" + agent, Agent: agent, Host: "host-of-" + agent, CPUs: 2000, MemoryMB: 4096,
		Ports: []coordinator.PortRange{{First: 9200, Last: 9399}},
	}
}

func (s *script) offer(agents ...string) []coordinator.Action {
	var offers []coordinator.Offer
	for _, a := range agents {
		offers = append(offers, offer(a))
	}
	return s.play(coordinator.Offers{At: s.now, Offers: offers})
}

// report sends a status of the current epoch of a node.
func (s *script) report(id coordinator.NodeID, o coordinator.Outcome, change ...func(*coordinator.Report)) []coordinator.Action {
	n := s.node(id)
	r := coordinator.Report{At: s.now, Task: coordinator.TaskID("es", id, n.Epoch), Agent: n.Place.Agent, Outcome: o}
	for _, c := range change {
		c(&r)
	}
	return s.play(r)
}

func (s *script) node(id coordinator.NodeID) coordinator.Node { return s.state.Nodes[id-1] }

// running brings nodes up, each on an agent of its own: node 1 on a1 and so on.
func (s *script) running(ids ...coordinator.NodeID) *script {
	for _, id := range ids {
		s.offer(fmt.Sprintf("a%d", id))
		require.Equal(s.t, coordinator.Claimed, s.node(id).Phase)
		s.report(id, coordinator.Alive, ready("uuid"))
	}
	return s
}

// ready is what the executor of a node says that is in its cluster, which is well.
func ready(cluster string) func(*coordinator.Report) {
	return func(r *coordinator.Report) { r.Told, r.Ready, r.Cluster, r.Health = true, true, cluster, green }
}

var green = coordinator.Health{Status: "green", Nodes: 9}

func fault(f coordinator.Fault, message string) func(*coordinator.Report) {
	return func(r *coordinator.Report) { r.Fault, r.Message = f, message }
}

// of picks the actions of one type.
func of[A coordinator.Action](actions []coordinator.Action) []A {
	var found []A
	for _, a := range actions {
		if a, ok := a.(A); ok {
			found = append(found, a)
		}
	}
	return found
}

// launches says where nodes were launched, as "ID@agent/epoch".
func launches(actions []coordinator.Action) []string {
	var found []string
	for _, l := range of[coordinator.Launch](actions) {
		found = append(found, fmt.Sprintf("%d@%s/%d", l.Task.Node, l.Task.Place.Agent, l.Task.Epoch))
	}
	return found
}
