package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// tells has the executor of the elected master say how the cluster is; the zero Health: it is the master no more.
func (s *script) tells(master coordinator.NodeID, h coordinator.Health) []coordinator.Action {
	return s.report(master, coordinator.Alive, ready("uuid"), func(r *coordinator.Report) { r.Health = h })
}

// joins has a node say that it is in the cluster, of which it is not the master.
func (s *script) joins(id coordinator.NodeID) []coordinator.Action {
	return s.tells(id, coordinator.Health{})
}

// cluster is three nodes, of which node 3 is the elected master.
func cluster(t *testing.T) *script {
	s := newScript(t, 3).running(1, 2, 3)
	s.joins(1)
	s.joins(2)
	return s.after(time.Hour)
}

func (s *script) restart(ids ...coordinator.NodeID) {
	for _, id := range ids {
		s.play(coordinator.Order{At: s.now, Node: id, Intent: coordinator.Restart})
	}
}

var bad = map[string]coordinator.Health{
	"the cluster is red, 2 unassigned":               {Status: "red", Nodes: 3, Unassigned: 2},
	"the cluster is yellow, 1 initializing":          {Status: "yellow", Nodes: 3, Initializing: 1},
	"the cluster is yellow, 3 delayed, 3 unassigned": {Status: "yellow", Nodes: 3, Delayed: 3, Unassigned: 3},
	"the elected master sees 2 of 3 nodes":           {Status: "green", Nodes: 2},
}

var good = []coordinator.Health{
	{Status: "green", Nodes: 3},
	{Status: "yellow", Nodes: 3, Unassigned: 5}, // copies that have no place
	{Status: "green", Nodes: 4, Relocating: 2},  // the source of a move is in use until its end
}

func TestNoNodeIsMovedOrRestartedWhileTheClusterIsUnwell(t *testing.T) {
	for why, h := range bad {
		t.Run(why, func(t *testing.T) {
			s := cluster(t)
			s.tells(3, h)
			s.restart(2)
			got := s.notice(time.Minute, "a1")
			assert.False(t, of[coordinator.AnswerNotice](got)[0].Accept)
			assert.Empty(t, kills(s.offer("a4", "a5")))
			assert.Empty(t, kills(s.after(time.Hour).tick()), "for as long as it is so")
			assert.Equal(t, why, s.state.Waits(s.node(1), s.now))
			assert.Equal(t, []string{"es-2-1"}, kills(s.tells(3, good[0])), "the restart was waiting for that")
		})
	}
}

func TestAYellowClusterMovesItsNodes(t *testing.T) {
	for _, h := range good {
		t.Run(h.String(), func(t *testing.T) {
			s := cluster(t)
			s.tells(3, h)
			got := s.notice(time.Minute, "a1")
			assert.True(t, of[coordinator.AnswerNotice](got)[0].Accept)
			assert.Equal(t, []string{"es-1-1"}, kills(s.offer("a4")))
		})
	}
}

func TestRestartsThatAreOrderedAtOnceGoOneByOne(t *testing.T) {
	s := cluster(t)
	s.restart(1, 2)
	require.False(t, s.node(1).Killed.IsZero())
	require.True(t, s.node(2).Due())
	s.tells(3, coordinator.Health{Status: "yellow", Nodes: 2, Delayed: 4, Unassigned: 4})
	s.report(1, coordinator.Over)
	assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a1")))
	s.report(1, coordinator.Alive, func(r *coordinator.Report) { r.Told = true })
	assert.Equal(t, "nodes [1] have not joined", s.state.Waits(s.node(2), s.now))
	assert.Empty(t, kills(s.joins(1)))
	assert.Empty(t, kills(s.tells(3, coordinator.Health{Status: "yellow", Nodes: 3, Initializing: 2, Unassigned: 2})))
	assert.Empty(t, kills(s.after(time.Hour).tick()))
	assert.Equal(t, []string{"es-2-1"}, kills(s.tells(3, green)))
	assert.Empty(t, kills(s.tick()))
}

// What was told before a node was back says nothing of what its return has the cluster do.
func TestHealthFromBeforeTheLatestNodeRanIsNotGoneBy(t *testing.T) {
	s := cluster(t)
	s.restart(1, 2)
	s.report(1, coordinator.Over)
	s.after(time.Second).offer("a1")
	s.joins(1)
	assert.Equal(t, "the cluster's health was not told since the latest node began to run", s.state.Waits(s.node(2), s.now))
	assert.Empty(t, kills(s.after(59*time.Second).tick()))
	assert.Equal(t, []string{"es-2-1"}, kills(s.after(time.Second).tick()), "one that does not change is not told again")
}

// Executors of other versions tell nothing, and neither does a master that is no node of the framework.
func TestHealthThatNobodyTellsIsWaitedForAWhile(t *testing.T) {
	s := newScript(t, 2).running(1, 2)
	s.joins(1)
	s.joins(2)
	s.restart(1)
	assert.Equal(t, "the cluster's health is not known yet", s.state.Waits(s.node(1), s.now))
	s.notice(20*time.Minute, "a2")
	assert.Empty(t, kills(s.after(59*time.Second).tick()))
	assert.Equal(t, []string{"es-1-1"}, kills(s.after(time.Second).tick()))
}

func TestARestartThatIsOrderedNowWaitsForNothing(t *testing.T) {
	s := cluster(t)
	s.tells(3, coordinator.Health{Status: "red", Nodes: 3})
	s.restart(1)
	got := s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Restart, Now: true})
	assert.Equal(t, []string{"es-1-1"}, kills(got))
	got = s.play(coordinator.Order{At: s.now, Node: 2, Intent: coordinator.Restart, Now: true})
	assert.Equal(t, []string{"es-2-1"}, kills(got))
}

func TestARestartThatWaitsIsTakenBack(t *testing.T) {
	s := cluster(t)
	s.tells(3, coordinator.Health{Status: "red", Nodes: 3})
	s.restart(1)
	s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Keep})
	assert.Empty(t, kills(s.tells(3, green)))
}

// It costs the cluster nothing, and may be what mends it.
func TestANodeOutsideOfItsClusterIsMovedAndRestartedWhateverItsHealth(t *testing.T) {
	outside := func(t *testing.T) *script {
		s := cluster(t)
		s.tells(3, coordinator.Health{Status: "red", Nodes: 2, Delayed: 2, Unassigned: 2})
		s.report(1, coordinator.Alive, func(r *coordinator.Report) { r.Told = true })
		require.False(t, s.node(1).Ready)
		return s
	}
	s := outside(t)
	assert.Empty(t, s.state.Waits(s.node(1), s.now))
	got := s.notice(time.Minute, "a1")
	assert.True(t, of[coordinator.AnswerNotice](got)[0].Accept)
	assert.Equal(t, []string{"es-1-1"}, kills(s.offer("a4")))
	s = outside(t)
	s.restart(2)
	assert.Empty(t, kills(s.actions), "another one is not touched meanwhile")
	s.restart(1)
	assert.Equal(t, []string{"es-1-1"}, kills(s.actions))
}

// Nothing else brings back the documents that a dead host's node has.
func TestALostNodeIsLaunchedWhateverTheHealth(t *testing.T) {
	s := cluster(t)
	s.tells(3, coordinator.Health{Status: "red", Nodes: 2, Delayed: 2, Unassigned: 2})
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	assert.Equal(t, []string{"1@a4/2"}, launches(s.offer("a4")))
}

func TestHealthIsForgottenWithTheMasterThatToldIt(t *testing.T) {
	for name, ends := range map[string]func(s *script){
		"another one is elected":   func(s *script) { s.joins(3) },
		"it is lost":               func(s *script) { s.play(coordinator.AgentLost{At: s.now, Agent: "a3"}) },
		"it is outside":            func(s *script) { s.report(3, coordinator.Alive, func(r *coordinator.Report) { r.Told = true }) },
		"it is over":               func(s *script) { s.report(3, coordinator.Over) },
		"it is in a wrong cluster": func(s *script) { s.report(3, coordinator.Alive, ready("other")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := cluster(t)
			ends(s)
			_, _, by := s.state.Health()
			assert.Zero(t, by)
		})
	}
}

func TestOfTwoMastersTheOneThatSeesTroubleCounts(t *testing.T) {
	red := coordinator.Health{Status: "red", Nodes: 3}
	for _, order := range [][]coordinator.NodeID{{1, 3}, {3, 1}} {
		s := cluster(t)
		s.tells(order[0], red)
		s.after(time.Second).tells(order[1], green)
		h, _, by := s.state.Health()
		assert.Equal(t, red, h)
		assert.Equal(t, order[0], by)
	}
}
