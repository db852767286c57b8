package coordinator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// notice announces that agents go down in so long, for an hour.
func (s *script) notice(in time.Duration, agents ...string) []coordinator.Action {
	m := coordinator.Maintenance{At: s.now}
	for _, a := range agents {
		m.Notices = append(m.Notices, coordinator.Notice{ID: "notice-of-" + a, Agent: a, Window: coordinator.Window{Start: s.now.Add(in), End: s.now.Add(in + time.Hour)}})
	}
	return s.play(m)
}

func kills(actions []coordinator.Action) []string {
	var found []string
	for _, k := range of[coordinator.Kill](actions) {
		found = append(found, k.Task)
	}
	return found
}

func TestNodesLeaveHostsThatGoDownOneAtATime(t *testing.T) {
	s := newScript(t, 3).running(1, 2, 3)
	got := s.notice(10*time.Minute, "a1", "a2")
	assert.Equal(t, []coordinator.AnswerNotice{{Notices: []string{"notice-of-a1", "notice-of-a2"}, Accept: true, Refuse: 30 * time.Second}}, of[coordinator.AnswerNotice](got))
	assert.Empty(t, kills(got), "no place elsewhere is known yet")
	assert.Len(t, of[coordinator.Revive](got), 1)

	assert.Equal(t, []string{"es-1-1"}, kills(s.offer("a4", "a5")))
	assert.Equal(t, coordinator.Move, s.node(1).Intent)
	got = s.notice(10*time.Minute, "a2")
	assert.False(t, of[coordinator.AnswerNotice](got)[0].Accept, "not while node 1 is away")
	assert.Empty(t, kills(s.offer("a4", "a5")))

	got = s.report(1, coordinator.Over)
	assert.Len(t, of[coordinator.Revive](got), 1)
	assert.Equal(t, []string{"1@a4/2"}, launches(s.offer("a4", "a5")), "at once, and not where it was")
	s.report(1, coordinator.Alive)
	assert.Empty(t, kills(s.offer("a5")), "node 1 has not joined yet")
	got = s.report(1, coordinator.Alive, ready("uuid"))
	assert.Len(t, of[coordinator.Revive](got), 1)
	assert.Equal(t, []string{"es-2-1"}, kills(s.offer("a5")))
	s.report(2, coordinator.Over)
	assert.Equal(t, []string{"2@a5/2"}, launches(s.offer("a5")))
}

func TestANodeStaysWhereItIsWithoutAPlaceElsewhere(t *testing.T) {
	s := newScript(t, 2).running(1, 2)
	s.notice(time.Minute, "a1")
	small := offer("a3")
	small.MemoryMB = 1
	down := offer("a4")
	down.Unavailable = true
	got := s.play(coordinator.Offers{At: s.now, Offers: []coordinator.Offer{small, down}})
	assert.Empty(t, kills(got))
	assert.Equal(t, coordinator.Keep, s.node(1).Intent)
	assert.Len(t, of[coordinator.Revive](s.after(10*time.Second).tick()), 1, "it goes on asking")
}

func TestNodesLeaveAHostSoonBeforeItGoesDownOnly(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.notice(time.Hour, "a1")
	assert.Empty(t, kills(s.offer("a2")))
	for range 45 { // Mesos repeats its notices
		s.after(time.Minute)
		s.play(coordinator.Maintenance{At: s.now, Notices: []coordinator.Notice{{ID: "again", Agent: "a1", Window: s.state.Leaving["a1"]}}})
	}
	assert.Len(t, of[coordinator.Revive](s.actions), 1)
	assert.Equal(t, []string{"es-1-1"}, kills(s.offer("a2")))
}

func TestNoNodeMovesWhileAnotherIsUnwell(t *testing.T) {
	for name, unwell := range map[string]func(s *script){
		"lost":      func(s *script) { s.play(coordinator.AgentLost{At: s.now, Agent: "a2"}) },
		"failed":    func(s *script) { s.report(2, coordinator.Over, fault(coordinator.FaultNode, "exit code 1")) },
		"restarted": func(s *script) { s.play(coordinator.Order{At: s.now, Node: 2, Intent: coordinator.Restart}) },
		"missing":   func(s *script) { s.play(coordinator.Scale{At: s.now, Target: 3}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2).running(1, 2)
			unwell(s)
			got := s.notice(time.Minute, "a1")
			require.Len(t, of[coordinator.AnswerNotice](got), 1)
			assert.False(t, of[coordinator.AnswerNotice](got)[0].Accept)
			s.offer("a3", "a4")
			assert.Equal(t, coordinator.Keep, s.node(1).Intent)
		})
	}
}

func TestAnAnnouncementThatIsTakenBackIsForgotten(t *testing.T) {
	for name, back := range map[string]func(s *script){
		"no notice comes any more": func(s *script) { s.after(3 * time.Minute).tick() },
		"the agent is offered":     func(s *script) { s.offer("a1") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2).running(1, 2)
			s.notice(10*time.Minute, "a1")
			back(s)
			assert.Empty(t, s.state.Leaving)
			assert.Empty(t, kills(s.offer("a3")))
		})
	}
}

func TestAWindowThatIsOverIsForgotten(t *testing.T) {
	s := newScript(t, 1).running(1)
	s.notice(-59*time.Minute, "a1")
	require.Len(t, s.state.Leaving, 1)
	s.after(time.Minute).tick()
	assert.Empty(t, s.state.Leaving)
}

func TestADrainedNodeStartsElsewhereAtOnce(t *testing.T) {
	for name, o := range map[string]coordinator.Outcome{"it ran": coordinator.Over, "its launch came too late": coordinator.Absent} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 1).running(1)
			s.report(1, o, fault(coordinator.FaultNone, "agent draining"), func(r *coordinator.Report) { r.Draining = true })
			assert.Zero(t, s.node(1).Failures)
			assert.Equal(t, []string{"1@a2/2"}, launches(s.offer("a2")))
		})
	}
}
