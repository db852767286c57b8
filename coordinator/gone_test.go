package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// on is a report from a host whose volume driver calls it so.
func on(host string) func(*coordinator.Report) {
	return func(r *coordinator.Report) { r.Host = host }
}

// goneIn is whom the only launch names as gone.
func goneIn(t *testing.T, actions []coordinator.Action) string {
	t.Helper()
	launched := of[coordinator.Launch](actions)
	require.Len(t, launched, 1)
	return launched[0].Task.Gone
}

func TestAHostThatIsGoneForGoodIsNamedAtTheNextLaunch(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Alive, on("h1"))
	s.report(1, coordinator.Alive) // as a reconciliation brings it, without the host
	s.report(1, coordinator.Gone)
	assert.Equal(t, coordinator.Vacant, s.node(1).Phase)
	assert.Equal(t, "h1", goneIn(t, s.offer("a2")), "at once, elsewhere")
	s.report(1, coordinator.Absent)
	assert.Equal(t, "h1", goneIn(t, s.after(time.Minute).offer("a3")), "until it runs")
	s.report(1, coordinator.Alive, on("h3"))
	s.report(1, coordinator.Over)
	assert.Empty(t, goneIn(t, s.after(time.Minute).offer("a3")))
}

func TestAHostThatMesosOnlyLostIsNotNamed(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Alive, on("h1"))
	s.report(1, coordinator.Away)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	assert.Empty(t, goneIn(t, s.offer("a2")))
}

func TestAHostThatSpeaksIsNotGone(t *testing.T) {
	for name, speak := range map[string]func(s *script){
		"of another node": func(s *script) { s.report(2, coordinator.Alive, on("h1")) },
		"of this one":     func(s *script) { s.report(1, coordinator.Alive, on("h1")); s.report(1, coordinator.Over) },
		"of a launch past": func(s *script) {
			s.state.Nodes[1].Epoch++
			s.play(coordinator.Report{At: s.now, Task: "es-2-1", Agent: "a1", Outcome: coordinator.Alive, Host: "h1"})
		},
		"of a node past": func(s *script) { s.play(coordinator.Report{Task: "es-9-1", Outcome: coordinator.Alive, Host: "h1"}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2).running(1, 2)
			s.report(1, coordinator.Alive, on("h1"))
			s.report(1, coordinator.Gone)
			require.True(t, s.node(1).Holder.Gone)
			speak(s)
			assert.Empty(t, goneIn(t, s.after(time.Minute).offer("a3")))
		})
	}
}

// The node was launched elsewhere when its agent was lost, and waits there for its volumes.
func TestMesosIsAskedForWhoHoldsAVolume(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Alive, on("h1"))
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	s.offer("a2")
	got := s.report(1, coordinator.Over, fault(coordinator.FaultVolume, "held by host h1"))
	asked := coordinator.Reconcile{Tasks: []coordinator.TaskRef{{Task: "es-1-1", Agent: "a1"}}}
	assert.Equal(t, []coordinator.Reconcile{asked}, of[coordinator.Reconcile](got))
	answer := coordinator.Report{At: s.now, Task: "es-1-1", Agent: "a1", Outcome: coordinator.Away}
	s.play(answer)
	assert.Empty(t, goneIn(t, s.after(2*time.Second).offer("a2")))
	s.report(1, coordinator.Over, fault(coordinator.FaultVolume, "held by host h1"))
	answer.Outcome = coordinator.Gone
	s.play(answer)
	assert.Equal(t, "h1", goneIn(t, s.after(2*time.Second).offer("a2")))
	got = s.report(1, coordinator.Over, fault(coordinator.FaultVolume, "held by host h1"))
	assert.Empty(t, of[coordinator.Reconcile](got), "it is known")
}

func TestAnotherAgentsEndSaysNothingOfTheHolder(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Alive, on("h1"))
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	s.offer("a2")
	s.report(1, coordinator.Gone)
	assert.Empty(t, goneIn(t, s.offer("a3")), "a2 never had the volumes")
}

// An agent that lives says that it does not know a task. That proves nothing of the container.
func TestWithoutFencingAForgottenNodeReturnsToItsAgentOnly(t *testing.T) {
	for name, c := range map[string]struct {
		before func(s *script)
		loose  bool
	}{
		"never arrived":      {func(*script) {}, false},
		"perhaps on its way": {func(s *script) { s.report(1, coordinator.Pending) }, false},
		"began":              {func(s *script) { s.report(1, coordinator.Pending, func(r *coordinator.Report) { r.Begun = true }) }, true},
		"ran":                {func(s *script) { s.report(1, coordinator.Alive) }, true},
		"lost its executor":  {func(s *script) { s.report(1, coordinator.Alive); s.report(1, coordinator.Unsure) }, true},
		"was away":           {func(s *script) { s.report(1, coordinator.Away) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 1)
			s.rules.Fencing = false
			s.offer("a1")
			c.before(s)
			s.report(1, coordinator.Absent)
			assert.Equal(t, coordinator.Vacant, s.node(1).Phase)
			got := launches(s.after(time.Hour).offer("a2"))
			if !c.loose {
				assert.Equal(t, []string{"1@a2/2"}, got)
				return
			}
			assert.Empty(t, got)
			assert.Equal(t, []string{"1@a1/2"}, launches(s.offer("a2", "a1")), "the new executor there ends what is left")
			s.report(1, coordinator.Absent)
			assert.Empty(t, launches(s.after(time.Hour).offer("a2")), "it never came there")
			s.offer("a1")
			s.report(1, coordinator.Over, fault(coordinator.FaultNode, "exit code 1"))
			assert.Equal(t, []string{"1@a2/4"}, launches(s.after(time.Hour).offer("a2")), "an executor there has seen to it")
		})
	}
}

func TestWithoutFencingALostNodeThatIsLaunchedAgainInVainIsStillLoose(t *testing.T) {
	s := newScript(t, 1)
	s.rules.Fencing = false
	s.running(1)
	s.report(1, coordinator.Unsure)
	assert.Equal(t, []string{"1@a1/2"}, launches(s.after(time.Minute).offer("a1")))
	s.report(1, coordinator.Absent)
	assert.Empty(t, launches(s.after(time.Hour).offer("a2")))
	assert.Equal(t, []string{"1@a1/3"}, launches(s.offer("a1")))
	s.report(1, coordinator.Alive)
	s.report(1, coordinator.Over)
	assert.Equal(t, []string{"1@a2/4"}, launches(s.after(time.Hour).offer("a2")))
}

func TestALostNodeCanBeRetiredAndItsContainerIsNotForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		word  func(s *script)
		frees bool
	}{
		"nobody":          {func(*script) {}, false},
		"another agent":   {func(s *script) { s.play(coordinator.AgentLost{At: s.now, Agent: "a9"}) }, false},
		"an operator":     {func(s *script) { s.play(coordinator.Forgive{At: s.now, Node: 1}) }, true},
		"the end of host": {func(s *script) { s.report(1, coordinator.Gone) }, true},
		"its executor":    {func(s *script) { s.report(1, coordinator.Over) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2)
			s.rules.Fencing = false
			s.running(1, 2)
			s.report(1, coordinator.Unsure)
			s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Retire})
			s.report(1, coordinator.Absent) // the answer to the kill
			assert.Equal(t, coordinator.Vacant, s.node(1).Phase)
			c.word(s)
			s.play(coordinator.Scale{At: s.now, Target: 2})
			got := launches(s.after(time.Hour).offer("a3"))
			assert.Equal(t, c.frees, len(got) == 1, "%v", got)
		})
	}
}
