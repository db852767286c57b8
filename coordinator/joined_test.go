package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

// What Mesos says of a task that was lost for a while comes without what its executor had said along with it.
func TestWhetherANodeHasJoinedIsAskedForAgain(t *testing.T) {
	s := newScript(t, 2).running(1, 2)
	s.report(1, coordinator.Away)
	got := of[coordinator.Seeds](s.report(1, coordinator.Alive))
	assert.Equal(t, []coordinator.Seeds{{Task: "es-1-1", Agent: "a1", Seeds: []string{"host-of-a1:9300", "host-of-a2:9300"}, Ask: true}}, got[:1])
	last := got[len(got)-1]
	assert.Equal(t, []any{"es-2-1", false}, []any{last.Task, last.Ask}, "node 2 has joined")
	assert.Equal(t, []coordinator.NodeID{1}, s.state.Unwell())
	got = of[coordinator.Seeds](s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"}))
	assert.True(t, got[0].Ask, "a message may get lost: it is asked for with each that is sent")
	s.report(1, coordinator.Alive, ready("uuid"))
	assert.Empty(t, s.state.Unwell())

	s.report(1, coordinator.Away)
	assert.False(t, of[coordinator.Seeds](s.report(1, coordinator.Alive, ready("uuid")))[0].Ask, "it says so by itself")
}

// Nothing that Mesos says brings a node back while its host is silent. That it had joined stays true.
func TestThatANodeOfASilentHostJoinedIsKept(t *testing.T) {
	s := newScript(t, 1)
	s.offer("a1")
	s.starts(1, "h1")
	s.silent("h1")
	s.report(1, coordinator.Alive, on("h1"), ready("uuid"))
	n := s.node(1)
	assert.Equal(t, []any{coordinator.Lost, false, true, "uuid"}, []any{n.Phase, n.Ready, n.Joined, s.state.ClusterUUID})
	s.beats("h1")
	assert.True(t, of[coordinator.Seeds](s.report(1, coordinator.Alive))[0].Ask)
}
