package coordinator_test

import (
	"slices"

	"mooring/coordinator"
)

// healthChanges has the cluster fall ill or recover, and the executor of some node, whose node is the master now, say so; or nobody.
func (h *history) healthChanges() {
	all := []coordinator.Health{
		{}, green, {Status: "yellow", Nodes: 9, Unassigned: 1}, {Status: "red", Nodes: 9, Unassigned: 1},
		{Status: "yellow", Nodes: 9, Initializing: 1}, {Status: "yellow", Nodes: 9, Delayed: 1, Unassigned: 1},
	}
	h.health = all[h.rng.IntN(len(all))]
	h.someTask(h.hosts[h.rng.IntN(len(h.hosts))], func(t *task) {
		if !t.orphan {
			t.say(coordinator.Alive, coordinator.FaultNone)
		}
	})
}

// checkHealth: no node that is in its cluster is moved, or restarted as a matter of course, while the cluster is known to be unwell.
func (h *history) checkHealth(before, after coordinator.State) {
	ill := slices.ContainsFunc(after.Nodes, func(n coordinator.Node) bool {
		return n.Health.Status == "red" || n.Health.Initializing > 0 || n.Health.Delayed > 0
	})
	if !ill {
		return
	}
	for i, was := range before.Nodes {
		is := after.Nodes[i]
		moved := is.Intent == coordinator.Move && was.Intent != coordinator.Move
		restarted := is.Intent == coordinator.Restart && was.Killed.IsZero() && !is.Killed.IsZero()
		if was.Ready && is.Ready && is.Epoch == was.Epoch && after.Wanted()[i] && (moved || restarted) {
			h.fail("no node is stopped without need while the cluster is unwell: node %d", is.ID)
		}
	}
}

// allGreen is a state in which the cluster is well, whatever was told.
func allGreen(s coordinator.State) coordinator.State {
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Health.Status != "" {
			n.Health = green
		}
	}
	return s
}

// asTold puts back what allGreen changed and the step has left.
func asTold(before, after coordinator.State) coordinator.State {
	for i, was := range before.Nodes {
		if n := &after.Nodes[i]; n.Health == green && n.HealthAt.Equal(was.HealthAt) {
			n.Health = was.Health
		}
	}
	return after
}
