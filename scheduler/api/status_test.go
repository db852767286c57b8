package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/api"
)

// well is a scheduler whose only node is ready.
func well() *fake {
	f := newFake()
	f.view.State.Target, f.view.State.Nodes = 1, f.view.State.Nodes[:1]
	f.view.State.Nodes[0].Holder = coordinator.Holder{Epoch: 4, Agent: "a1", Host: "h1"}
	return f
}

func TestStatusShowsEveryNodeAndThatAllIsWell(t *testing.T) {
	var s api.Status
	get(t, well(), "/v1/status", &s)
	assert.Equal(t, []any{"es", "id-1", "uuid-1", "master:5050", 1, 1}, []any{s.Framework, s.FrameworkID, s.ClusterUUID, s.Master, s.Target, s.Ready})
	assert.Empty(t, s.Problems)
	require.Len(t, s.Nodes, 1)
	assert.Equal(t, "h1", s.Nodes[0].Holder.Host)
	assert.Equal(t, []string{"es1config", "es1data"}, s.Nodes[0].Volumes)
}

var silentSince = time.Now().UTC().Add(-40 * time.Second)

func silent(s coordinator.Silence) map[string]coordinator.Silence {
	s.Since, s.Agents = silentSince, []string{"a9"}
	return map[string]coordinator.Silence{"h9": s}
}

func TestASilentHostIsShownAndNoProblemOnceMesosHasGivenItUp(t *testing.T) {
	f := well()
	f.view.State.Silent = silent(coordinator.Silence{Lost: true})
	var s api.Status
	get(t, f, "/v1/status", &s)
	assert.Empty(t, s.Problems)
	require.Len(t, s.Silent, 1)
	assert.Equal(t, []any{"h9", []string{"a9"}}, []any{s.Silent[0].Host, s.Silent[0].Agents})
}

func TestStatusSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	lost := func(n *coordinator.Node) {
		n.Phase, n.Ready, n.AgentGone, n.Problem = coordinator.Lost, false, true, ""
	}
	for name, c := range map[string]struct {
		change   func(v *scheduler.View, n *coordinator.Node)
		what, do string
		node     coordinator.NodeID
	}{
		"no master": {func(v *scheduler.View, _ *coordinator.Node) {
			v.Subscribed, v.Unsubscribed = "", "m1: refused\nm2: refused"
		},
			"no subscription with a Mesos master: nodes go on, but none is launched or ended. The latest try: m1: refused; m2: refused",
			"see that a master leads and that the scheduler reaches it (--master); its log says more", 0},
		"no leader": {func(v *scheduler.View, _ *coordinator.Node) { v.Standby = true },
			"no scheduler leads: nodes go on, but none is launched or ended",
			"wait some seconds; then see that schedulers run and reach ZooKeeper (--zookeeper)", 0},
		"no store": {func(v *scheduler.View, _ *coordinator.Node) { v.StoreError = "save state: disk full" },
			"save state: disk full", "mend the store: until then nothing is launched, and no order is taken", 0},
		"agent set aside": {func(v *scheduler.View, _ *coordinator.Node) {
			v.State.Agents = map[string]coordinator.Agent{"a9": {NotBefore: time.Now().Add(30 * time.Minute), Failed: []coordinator.NodeID{1, 2, 3}}}
		}, "agent a9 is left alone for 30m0s: nodes [1 2 3] failed there", "look at its Docker engine and volume driver", 0},
		"uninstalled": {func(v *scheduler.View, _ *coordinator.Node) { v.State.Removal = coordinator.Stopping },
			"the framework is being uninstalled (stopping), 1 node(s) are not over yet",
			"wait: the scheduler ends when Mesos has forgotten the framework; the volumes are kept", 0},
		"blind": {func(v *scheduler.View, _ *coordinator.Node) {
			v.Watch = scheduler.Watch{On: true, Seen: silentSince, Error: "stale file handle"}
		}, "hosts' heartbeats were not seen since " + silentSince.Format(time.RFC3339) + ": stale file handle",
			"see that this scheduler reaches them (--heartbeats); until then a dead host is one that Mesos gives up", 0},
		"silent": {func(v *scheduler.View, _ *coordinator.Node) { v.State.Silent = silent(coordinator.Silence{}) },
			"host h9 is silent since " + silentSince.Format(time.RFC3339) + ", and Mesos still counts on its agent a9: nothing is launched there",
			"see that it runs, and that its volume driver runs and reaches the store; launches go there again when it beats", 0},
		"kept": {func(v *scheduler.View, _ *coordinator.Node) {
			v.State.Silent = silent(coordinator.Silence{Lost: true, Kept: map[coordinator.NodeID]string{1: "volume es1data is unguarded"}})
		}, "host h9 is silent since " + silentSince.Format(time.RFC3339) + ", and the node stays there: volume es1data is unguarded",
			"bring that host or its volume driver back; if nothing on it writes any more: `mooring volumes takeover` on another host", 1},
		"lost with its host": {func(v *scheduler.View, n *coordinator.Node) {
			lost(n)
			v.State.Silent = map[string]coordinator.Silence{"h1": {Since: silentSince, Agents: []string{"a1"}, Lost: true}}
			v.Notes = map[coordinator.NodeID]coordinator.Note{1: {Node: 1, Text: "no offer fits: 2 on a silent host"}}
		}, "its host h1 (10.0.0.1) is silent: no offer fits: 2 on a silent host", "give Mesos agents that fit, or bring the host back", 1},
		"held": {func(_ *scheduler.View, n *coordinator.Node) { n.Held = "volume es1data is empty" },
			"volume es1data is empty", "find out where its documents are; `mooring forgive 1` lets it begin with an empty data volume", 1},
		"lost": {func(_ *scheduler.View, n *coordinator.Node) { lost(n) },
			"may still run on agent a1 (10.0.0.1), which Mesos lost: lost, and no offer so far: ",
			"bring the agent back, or mark it gone in Mesos; if you know that the node does not run: `mooring forgive 1`", 1},
		"loose": {func(v *scheduler.View, n *coordinator.Node) {
			v.Rules.Fencing, n.Phase, n.Ready, n.Loose = false, coordinator.Vacant, false, true
		}, "a container of it may still run on agent a1 (10.0.0.1): no offer so far",
			"bring the agent back, or mark it gone in Mesos; if you know that the node does not run: `mooring forgive 1`", 1},
		"failing": {func(_ *scheduler.View, n *coordinator.Node) {
			n.Phase, n.Ready, n.Failures, n.Problem, n.NotBefore = coordinator.Vacant, false, 2, "no such image", time.Now().Add(time.Hour)
		}, "next try in 1h0m0s after 2 failure(s): no such image", "it is tried again by itself; the sandbox of task es-1-4 in Mesos has its log", 1},
		"refused": {func(_ *scheduler.View, n *coordinator.Node) {
			n.Phase, n.Ready, n.Problem, n.NotBefore = coordinator.Vacant, false, "volume es1data is held by host h9", time.Now().Add(time.Hour)
		}, "next try in 1h0m0s: volume es1data is held by host h9", "it is tried again by itself", 1},
		"no offer": {func(v *scheduler.View, n *coordinator.Node) {
			n.Phase, n.Ready = coordinator.Vacant, false
			v.Notes[1] = coordinator.Note{Node: 1, Text: "no offer fits: 14 with less than 2 ports"}
		}, "no offer fits: 14 with less than 2 ports", "give Mesos agents that fit, or want fewer nodes (`mooring scale`)", 1},
		"does not start": {func(_ *scheduler.View, n *coordinator.Node) {
			n.Phase, n.Ready, n.Since = coordinator.Claimed, false, time.Now().Add(-time.Hour)
		}, "was launched 1h0m0s ago on agent a1 (10.0.0.1) and does not run yet",
			"look at the sandbox of task es-1-4 in Mesos; a first pull of the image may take its time", 1},
		"maintenance": {func(v *scheduler.View, _ *coordinator.Node) {
			v.State.Leaving = map[string]coordinator.Window{"a1": {Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
		}, "its host goes down for maintenance at 2026-01-02T03:04:05Z; no offer elsewhere fits so far",
			"give Mesos an agent that fits; otherwise the node goes down with its host, in order, and waits", 1},
		"does not join": {func(_ *scheduler.View, n *coordinator.Node) { n.Ready, n.Since = false, time.Now().Add(-time.Hour) },
			"runs for 1h0m0s but is in no cluster", "look at its log: `docker logs` on 10.0.0.1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			f.view.Rules.Fencing = true
			c.change(&f.view, &f.view.State.Nodes[0])
			var s api.Status
			get(t, f, "/v1/status", &s)
			assert.Equal(t, []api.Problem{{Node: c.node, What: c.what, Do: c.do}}, s.Problems)
		})
	}
}

func TestANodeThatIsNotWantedIsNoProblem(t *testing.T) {
	f := well()
	f.view.State.Nodes[0].Phase, f.view.State.Nodes[0].Ready, f.view.State.Nodes[0].Intent = coordinator.Vacant, false, coordinator.Retire
	var s api.Status
	get(t, f, "/v1/status", &s)
	assert.Empty(t, s.Problems)
}

func TestANodeThatIsToMoveSaysWhatItWaitsFor(t *testing.T) {
	f := newFake()
	f.view.State.Leaving = map[string]coordinator.Window{"a1": {Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	var n api.Node
	get(t, f, "/v1/nodes/1", &n)
	assert.Equal(t, "its host goes down for maintenance at 2026-01-02T03:04:05Z; it is not moved yet: nodes [2 3] have not joined", n.Waits)
	f.view.State.Nodes[0].Intent = coordinator.Move
	get(t, f, "/v1/nodes/1", &n)
	assert.Equal(t, "is stopped to be launched elsewhere: its host goes down for maintenance at 2026-01-02T03:04:05Z", n.Waits)
}

func TestOneNode(t *testing.T) {
	var n api.Node
	get(t, newFake(), "/v1/nodes/1", &n)
	assert.Equal(t, "es1", n.Name)
	status, body := ask(t, newFake(), "GET", "/v1/nodes/4", "")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "node 4: there are nodes 1 to 3")
}
