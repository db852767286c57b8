package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// told brings nodes up, each on an agent and a host of its own: node 1 on a1 and h1, and so on. Mesos' agents go on whatever their hosts do.
func told(t *testing.T, nodes ...coordinator.NodeID) *script {
	s := newScript(t, len(nodes)).running(nodes...)
	for _, id := range nodes {
		s.report(id, coordinator.Alive, ready("uuid"), on(hostOf(id)))
	}
	return s
}

func hostOf(id coordinator.NodeID) string { return "h" + string(rune('0'+id)) }

func (s *script) silent(host string) []coordinator.Action {
	return s.play(coordinator.HostSilent{At: s.now, Host: host, Since: s.now.Add(-20 * time.Second)})
}

func (s *script) beats(host string) []coordinator.Action {
	return s.play(coordinator.HostBeats{At: s.now, Host: host})
}

func TestASilentHostsNodeIsLaunchedElsewhereBeforeMesosSpeaks(t *testing.T) {
	s := told(t, 1, 2)
	got := s.silent("h1")
	assert.Len(t, of[coordinator.Revive](got), 1)
	got = s.offer("a1", "a3")
	assert.Equal(t, []string{"1@a3/2"}, launches(got), "not on the silent host, which Mesos still offers")
	assert.Equal(t, []coordinator.Kill{{Task: "es-1-1", Agent: "a1"}}, of[coordinator.Kill](got))
	assert.Equal(t, "on a silent host", of[coordinator.Decline](got)[0].Reason)
	assert.EqualValues(t, 1, s.node(2).Epoch)

	s.report(1, coordinator.Alive, on("h3"))
	before := s.state
	s.silent("h1") // it is said for as long as it is so
	assert.Equal(t, before, s.state)
	got = s.play(coordinator.Report{At: s.now, Task: "es-1-1", Agent: "a1", Outcome: coordinator.Alive})
	assert.Equal(t, []coordinator.Kill{{Task: "es-1-1", Agent: "a1"}}, of[coordinator.Kill](got), "the old one shows up")
}

// Until its agent's pings fail Mesos says that a task runs whose host is dead.
func TestWhatMesosSaysOfASilentHostIsNotBelieved(t *testing.T) {
	s := told(t, 1)
	s.silent("h1")
	got := s.after(time.Minute).tick()
	require.Len(t, of[coordinator.Reconcile](got), 1)
	s.report(1, coordinator.Alive)
	assert.Equal(t, coordinator.Lost, s.node(1).Phase)
	assert.Empty(t, launches(s.offer("a1")))

	got = s.beats("h1")
	assert.Contains(t, got, coordinator.Reconcile{Tasks: []coordinator.TaskRef{{Task: "es-1-1", Agent: "a1"}}})
	assert.Contains(t, got, coordinator.Reconcile{}, "what runs there in earlier epochs comes to light")
	s.report(1, coordinator.Alive)
	assert.Equal(t, coordinator.Running, s.node(1).Phase, "nothing had become of it")
	assert.EqualValues(t, 1, s.node(1).Epoch)
	assert.Empty(t, s.state.Silent)
}

func TestAHostThatBeatsAgainIsLaunchedOnAgain(t *testing.T) {
	s := told(t, 1, 2)
	s.silent("h1")
	s.offer("a2")
	assert.Empty(t, launches(s.after(time.Minute).offer("a1")))
	s.beats("h1")
	assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a1")))
}

func TestANodeDoesNotHurryBackToAHostThatComesAndGoes(t *testing.T) {
	s := told(t, 1)
	s.silent("h1")
	s.report(1, coordinator.Over)
	s.beats("h1")
	s.after(2 * time.Second)
	assert.Equal(t, []string{"1@a2/2"}, launches(s.offer("a1", "a2")), "its last agent is as good as any that failed once")
}

func TestNodesWhoseVolumesNobodyTakesAreLeftAlone(t *testing.T) {
	s := told(t, 1)
	s.play(coordinator.HostSilent{At: s.now, Host: "h1", Since: s.now, Kept: map[coordinator.NodeID]string{1: "es1data is unguarded"}})
	assert.Equal(t, coordinator.Running, s.node(1).Phase)
	assert.Empty(t, launches(s.offer("a2")))
	assert.Equal(t, "es1data is unguarded", s.state.Silent["h1"].Kept[1])
	s.report(1, coordinator.Away)
	s.report(1, coordinator.Alive)
	assert.Equal(t, coordinator.Running, s.node(1).Phase, "Mesos is believed then")
	s.silent("h1")
	assert.Equal(t, coordinator.Lost, s.node(1).Phase, "they became such that somebody takes them")
}

func TestANodeThatStartsOnASilentHostStartsElsewhere(t *testing.T) {
	s := told(t, 1)
	s.report(1, coordinator.Over, fault(coordinator.FaultHost, "container was ended from outside"))
	s.after(2 * time.Second)
	require.Equal(t, []string{"1@a1/2"}, launches(s.offer("a1")))
	s.silent("h1")
	assert.Equal(t, []string{"1@a2/3"}, launches(s.offer("a1", "a2")))
}

func (s *script) starts(id coordinator.NodeID, host string) []coordinator.Action {
	return s.report(id, coordinator.Pending, on(host), func(r *coordinator.Report) { r.Begun = true })
}

// The executor says where it is before the node's container is there.
func TestAHostThatFallsSilentDuringTheFirstStartIsFound(t *testing.T) {
	s := newScript(t, 2)
	s.offer("a1", "a2")
	assert.Empty(t, s.state.Watched(s.now))
	s.starts(1, "h1")
	assert.Equal(t, map[string][]coordinator.NodeID{"h1": {1}}, s.state.Watched(s.now))
	assert.Zero(t, s.node(1).Holder, "the volumes may still be elsewhere")
	s.silent("h1")
	assert.Equal(t, []string{"1@a3/2"}, launches(s.offer("a1", "a3")))
	assert.Empty(t, s.node(1).Host(), "of that one nothing is known yet")
	assert.Equal(t, map[string][]coordinator.NodeID{"h1": nil}, s.state.Watched(s.now))
	s.starts(1, "h3")
	s.report(1, coordinator.Over, fault(coordinator.FaultNode, "failed"))
	assert.Contains(t, s.state.Watched(s.now), "h3", "it is to start there again")
	assert.Equal(t, []string{"1@a3/3"}, launches(s.after(2*time.Second).offer("a3")))
	assert.Equal(t, "h3", s.node(1).Host(), "an agent stays on its host")
}

// Who had the volumes before stays known until the node runs: the next executor may have to free them.
func TestANodeThatStartsElsewhereIsWatchedThoughItsHolderIsGone(t *testing.T) {
	s := told(t, 1)
	s.report(1, coordinator.Gone)
	s.offer("a2")
	s.starts(1, "h2")
	assert.Equal(t, coordinator.Holder{Epoch: 1, Agent: "a1", Host: "h1", Gone: true}, s.node(1).Holder)
	assert.Equal(t, map[string][]coordinator.NodeID{"h2": {1}}, s.state.Watched(s.now))
	s.silent("h2")
	got := of[coordinator.Launch](s.offer("a3"))
	require.Len(t, got, 1)
	assert.Equal(t, "h1", got[0].Task.Gone)
	s.starts(1, "h1")
	assert.False(t, s.node(1).Holder.Gone, "a host that tells of itself is not gone")
}

func TestANodeDoesNotWaitForAnAgentWhoseHostIsSilent(t *testing.T) {
	s := told(t, 1)
	s.report(1, coordinator.Over, fault(coordinator.FaultHost, "container was ended from outside"))
	s.after(2 * time.Second)
	require.Empty(t, launches(s.offer("a2")))
	assert.Contains(t, s.state.Watched(s.now), "h1")
	s.silent("h1")
	assert.Equal(t, []string{"1@a2/2"}, launches(s.offer("a2")))
}

func TestWithoutFencingASilentHostSaysNothing(t *testing.T) {
	s := told(t, 1)
	s.rules.Fencing = false
	before := s.state
	s.silent("h1")
	assert.Equal(t, before, s.state, "volumes that don't refuse the old writer must wait for Mesos")
}

func TestAHostThatNoNodeToldOfIsNobodysConcern(t *testing.T) {
	s := told(t, 1)
	before := s.state
	s.silent("h7")
	s.beats("h7")
	assert.Equal(t, before, s.state)
}

func TestWhichHostsAreWatched(t *testing.T) {
	s := told(t, 1, 2, 3)
	assert.Equal(t, map[string][]coordinator.NodeID{"h1": {1}, "h2": {2}, "h3": {3}}, s.state.Watched(s.now))
	s.silent("h1")
	s.offer("a4") // whose host's name is not known yet
	s.report(2, coordinator.Over)
	assert.Equal(t, map[string][]coordinator.NodeID{"h1": nil, "h2": {2}, "h3": {3}}, s.state.Watched(s.now), "a silent one until it beats")
	assert.Equal(t, map[string][]coordinator.NodeID{"h1": nil, "h3": {3}}, s.state.Watched(s.now.Add(time.Minute)), "one that nobody returns to is not")
}

func TestASilentHostIsForgottenInTheEnd(t *testing.T) {
	s := told(t, 1, 2)
	s.silent("h1")
	s.silent("h2")
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	assert.True(t, s.state.Silent["h1"].Lost)
	s.offer("a1", "a3")
	assert.False(t, s.state.Silent["h1"].Lost, "its agent is back, though the host does not beat yet")
	s.after(29 * time.Minute).tick()
	assert.Contains(t, s.state.Silent, "h1")
	s.after(2 * time.Minute).tick()
	assert.NotContains(t, s.state.Silent, "h1", "no node is there")
	assert.Contains(t, s.state.Silent, "h2", "node 2 found no place elsewhere")
	s.report(2, coordinator.Gone)
	assert.Empty(t, s.state.Silent, "it is gone for good")
}
