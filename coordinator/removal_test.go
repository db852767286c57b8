package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

func TestUninstallEndsEveryNodeBeforeMesosForgetsTheFramework(t *testing.T) {
	s := newScript(t, 3).running(1, 2)
	s.offer("a3")
	got := s.play(coordinator.Uninstall{At: s.now})
	assert.Len(t, of[coordinator.Kill](got), 3)
	assert.Equal(t, coordinator.Stopping, s.state.Removal)
	assert.Len(t, of[coordinator.Kill](s.after(10*time.Second).tick()), 3, "a kill may get lost")
	assert.Empty(t, launches(s.after(time.Minute).offer("a4")))
	s.report(1, coordinator.Over)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a2"})
	got = s.report(3, coordinator.Absent)
	assert.Empty(t, of[coordinator.Teardown](got), "node 2 may still run")
	assert.Empty(t, launches(s.offer("a4", "a5")))
	got = s.report(2, coordinator.Gone)
	assert.Len(t, of[coordinator.Teardown](got), 1)
	assert.Equal(t, coordinator.TearingDown, s.state.Removal)
	assert.Empty(t, of[coordinator.Teardown](s.after(9*time.Second).tick()))
	assert.Len(t, of[coordinator.Teardown](s.after(time.Second).tick()), 1, "it may get lost")
	assert.Len(t, of[coordinator.Teardown](s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})), 1, "the subscription would have failed")
	s.play(coordinator.Removed{At: s.now})
	assert.Equal(t, coordinator.Uninstalled, s.state.Removal)
	assert.Equal(t, s.now, s.state.Removing)
	assert.Empty(t, of[coordinator.Teardown](s.after(time.Hour).tick()))
	assert.Len(t, s.state.Nodes, 3, "epochs are kept")
	s.play(coordinator.Uninstall{At: s.now})
	assert.Equal(t, coordinator.Uninstalled, s.state.Removal)
}

func TestTheWordOfAnOperatorEndsALostNodeOfAFrameworkThatGoes(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.play(coordinator.AgentLost{At: s.now, Agent: "a1"})
	assert.Empty(t, of[coordinator.Teardown](s.play(coordinator.Uninstall{At: s.now})))
	assert.Len(t, of[coordinator.Teardown](s.play(coordinator.Forgive{At: s.now, Node: 1})), 1)
}

func TestANodeThatSpeaksIsEndedBeforeMesosForgetsTheFramework(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.play(coordinator.Uninstall{At: s.now})
	s.report(1, coordinator.Over)
	assert.Equal(t, coordinator.TearingDown, s.state.Removal)
	got := s.after(time.Minute).report(1, coordinator.Alive)
	assert.Equal(t, coordinator.Stopping, s.state.Removal)
	assert.Len(t, of[coordinator.Kill](got), 1)
	assert.Empty(t, of[coordinator.Teardown](got))
}

func TestWithoutASubscriptionThereIsNobodyToTell(t *testing.T) {
	state, actions := coordinator.Rules{}.Step(coordinator.NewState("es", 1), coordinator.Uninstall{At: t0})
	assert.Empty(t, of[coordinator.Teardown](actions))
	_, actions = coordinator.Rules{}.Step(state, coordinator.Subscribed{At: t0, FrameworkID: "f1"})
	assert.Len(t, of[coordinator.Teardown](actions), 1)
}

func TestAFrameworkThatMesosForgotByItselfIsNotUninstalled(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.play(coordinator.Removed{At: s.now})
	assert.Equal(t, coordinator.Installed, s.state.Removal)
}
