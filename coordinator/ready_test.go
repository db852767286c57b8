package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

// Mesos says of a task whose agent is back only that it runs: its executor is asked how it is, for it told so already.
func TestANodeWhoseAgentIsBackIsAskedHowItIs(t *testing.T) {
	s := newScript(t, 1).running(1)
	asked := func(actions []coordinator.Action) (tasks []string) {
		for _, a := range of[coordinator.Seeds](actions) {
			if a.Ask {
				tasks = append(tasks, a.Task)
			}
		}
		return tasks
	}
	s.report(1, coordinator.Away)
	assert.Equal(t, []string{"es-1-1"}, asked(s.report(1, coordinator.Alive)))
	assert.False(t, s.node(1).Ready)
	assert.Equal(t, []string{"es-1-1"}, asked(s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})), "a message may get lost")
	s.report(1, coordinator.Alive)
	assert.Equal(t, []string{"es-1-1"}, asked(s.after(time.Minute).tick()), "so may any other")
	assert.Empty(t, asked(s.after(59*time.Second).tick()))
	s.report(1, coordinator.Alive, ready("uuid"))
	assert.True(t, s.node(1).Ready)
	s.report(1, coordinator.Alive)
	assert.True(t, s.node(1).Ready, "Mesos' own word says nothing of that")
	assert.Empty(t, asked(s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})))
}

func TestANodeThatFellOutOfItsClusterIsNotReady(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.report(1, coordinator.Alive, func(r *coordinator.Report) { r.Told = true })
	assert.False(t, s.node(1).Ready)
}
