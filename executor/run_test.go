package executor_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/rundir"
)

const name = "mooring-es-2"

func TestLifeOfATask(t *testing.T) {
	s := newScene(t)
	s.agent.watch = func(status mesos.TaskStatus) {
		if status.GetState() == mesos.TASK_KILLED {
			_, exists := s.runtime.Spec(name)
			require.False(t, exists, "the last word comes after the container is gone")
		}
	}
	s.start()
	s.launch()
	status := s.agent.untilStates("STARTING RUNNING")
	require.Equal(t, coordinator.RunReport{}, runReport(t, status))
	require.Equal(t, "ex", status.ExecutorID.Value)

	spec, ok := s.runtime.Spec(name)
	require.True(t, ok)
	require.Equal(t, map[string]string{"mooring.framework": "es", "mooring.node": "2", "mooring.epoch": "3", "mooring.run": string(s.run)}, spec.Labels)
	require.Equal(t, []string{"ELASTICSEARCH_NODE_ID=2", "MESOS_AGENT_ENDPOINT=" + s.agent.endpoint()}, spec.Env)
	task, err := s.run.Task()
	require.NoError(t, err)
	require.Equal(t, s.task, task)

	s.cluster.Store("U1")
	status = s.agent.untilStates("STARTING RUNNING RUNNING")
	require.Equal(t, coordinator.RunReport{Ready: true, Cluster: "U1", Version: "8.19.5"}, runReport(t, status))
	joined, ok, err := s.run.Joined()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, rundir.Joined{Cluster: "U1", Version: "8.19.5"}, joined)
	beat, err := s.run.LastBeat()
	require.NoError(t, err)
	require.Positive(t, beat)

	message := func(text string) mesosexec.Event {
		return mesosexec.Event{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: []byte(text)}}
	}
	s.agent.send(message(`{"seeds":["10.0.0.1:9300"]}`))
	s.agent.until("seeds", func() bool {
		seeds, ok, err := s.run.Seeds()
		return err == nil && ok && len(seeds) == 1 && seeds[0] == "10.0.0.1:9300"
	})

	s.agent.send(message(`{"seeds":["10.0.0.1:9300"],"tell":true}`))
	status = s.agent.untilStates("STARTING RUNNING RUNNING RUNNING")
	require.Equal(t, coordinator.RunReport{Ready: true, Cluster: "U1", Version: "8.19.5"}, runReport(t, status), "said again")

	s.kill(0)
	status = s.agent.untilStates("STARTING RUNNING RUNNING RUNNING KILLING KILLED")
	require.Equal(t, coordinator.FaultNone, runReport(t, status).Fault)
	require.NoError(t, s.end())
	require.Equal(t, []string{"start " + name, "stop " + name + " 7s", "remove " + name}, s.runtime.Calls())
	require.Empty(t, s.agent.subscribes[0].UnacknowledgedTasks)
	require.Len(t, s.agent.subscribes, 1)
}

// The calls of a recorded executor, for one task: SUBSCRIBE, STARTING, RUNNING, KILLED.
func TestSameOrderAsRecorded(t *testing.T) {
	s := newScene(t)
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.kill(0)
	s.agent.untilStates("STARTING RUNNING KILLING KILLED")
	require.NoError(t, s.end())

	text, err := os.ReadFile("testdata/custom-executor.txt")
	require.NoError(t, err)
	var recorded []string
	for line := range strings.Lines(string(text)) {
		var call mesosexec.Call
		body, ok := strings.CutPrefix(line, ">>> ")
		if !ok || json.Unmarshal([]byte(body), &call) != nil || call.Update == nil || call.Update.Status.TaskID.Value != "c1" {
			continue
		}
		recorded = append(recorded, call.Update.Status.GetState().String())
	}
	require.Equal(t, []string{"TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"}, recorded)
	var own []string
	for _, status := range s.agent.statuses {
		if status.GetState() != mesos.TASK_KILLING { // frameworks that know the state want it
			own = append(own, status.GetState().String())
		}
	}
	require.Equal(t, recorded, own)
}

// Mesos says of a task whose agent was away that it runs, and nothing of what its executor told before.
func TestTheSchedulerIsToldAgain(t *testing.T) {
	s := newScene(t)
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.cluster.Store("U1")
	before := runReport(t, s.agent.untilStates("STARTING RUNNING RUNNING"))
	s.agent.send(mesosexec.Event{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: []byte(`{"seeds":["10.0.0.1:9300"],"tell":true}`)}})
	require.Equal(t, before, runReport(t, s.agent.untilStates("STARTING RUNNING RUNNING RUNNING")))
	s.agent.send(mesosexec.Event{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: []byte(`{"seeds":["10.0.0.2:9300"]}`)}})
	s.agent.until("seeds", func() bool {
		seeds, _, _ := s.run.Seeds()
		return len(seeds) == 1 && seeds[0] == "10.0.0.2:9300"
	})
	s.kill(0)
	s.agent.untilStates("STARTING RUNNING RUNNING RUNNING KILLING KILLED")
	require.NoError(t, s.end())
}

func TestKillPolicies(t *testing.T) {
	s := newScene(t)
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.send(mesosexec.Event{Type: mesosexec.Event_KILL, Kill: &mesosexec.Event_Kill{TaskID: mesos.TaskID{Value: "es-9-9"}}})
	s.kill(42 * time.Second)
	s.agent.untilStates("STARTING RUNNING KILLING KILLED")
	require.NoError(t, s.end())
	require.Contains(t, s.runtime.Calls(), "stop "+name+" 42s")
}

func TestAgentRestarts(t *testing.T) {
	s := newScene(t)
	s.agent.silent = true
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusNotFound} {
		s.agent.set(func() { s.agent.away = status })
		s.agent.hangUp()
		s.cluster.Store("U1") // happens while the agent is away
	}
	s.agent.set(func() { s.agent.away, s.agent.silent = 0, false })
	s.agent.untilStates("STARTING RUNNING RUNNING")
	s.agent.set(func() {
		last := s.agent.subscribes[len(s.agent.subscribes)-1]
		require.Len(t, last.UnacknowledgedTasks, 1)
		require.Equal(t, s.task.ID(), last.UnacknowledgedTasks[0].TaskID.Value)
		require.GreaterOrEqual(t, len(last.UnacknowledgedUpdates), 2)
		require.Equal(t, s.agent.statuses[0].UUID, last.UnacknowledgedUpdates[0].Status.UUID)
	})
	s.agent.hangUp()
	s.agent.until("a subscription with nothing left", func() bool {
		last := s.agent.subscribes[len(s.agent.subscribes)-1]
		return len(last.UnacknowledgedTasks) == 0 && len(last.UnacknowledgedUpdates) == 0
	})
	s.stop()
	require.Len(t, s.agent.statuses, 5)
}

func TestFailedUpdateIsSentAgain(t *testing.T) {
	s := newScene(t)
	s.agent.failing = http.StatusServiceUnavailable
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.stop()
	require.Greater(t, len(s.agent.subscribes), 1)
}

func TestLastWordWaitsForItsAcknowledgement(t *testing.T) {
	s := newScene(t)
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.set(func() { s.agent.silent = true })
	s.kill(0)
	s.agent.untilStates("STARTING RUNNING KILLING KILLED")
	select {
	case <-s.ended:
		require.FailNow(t, "the executor returned before its last update was acknowledged")
	case <-time.After(200 * time.Millisecond):
	}
	s.agent.acknowledge()
	require.NoError(t, s.end())
}

// A terminating agent takes updates, but says no more that it has them (seen with Mesos 1.11).
func TestAnAgentThatTerminatesIsNotAwaited(t *testing.T) {
	for when, before := range map[string]func(*scene){
		"while the node runs":        func(*scene) {},
		"while an update is awaited": func(s *scene) { s.kill(0); s.agent.untilStates("STARTING RUNNING KILLING KILLED") },
	} {
		t.Run(when, func(t *testing.T) {
			s := newScene(t)
			s.start()
			s.launch()
			s.agent.untilStates("STARTING RUNNING")
			s.agent.set(func() { s.agent.silent = true })
			before(s)
			s.agent.send(mesosexec.Event{Type: mesosexec.Event_SHUTDOWN})
			require.NoError(t, s.end())
			s.agent.untilStates("STARTING RUNNING KILLING KILLED")
			require.Contains(t, s.runtime.Calls(), "remove "+name)
		})
	}
}

func TestAgentStaysAway(t *testing.T) {
	s := newScene(t)
	t.Setenv("MESOS_RECOVERY_TIMEOUT", "300ms")
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.set(func() { s.agent.away = http.StatusServiceUnavailable })
	s.agent.hangUp()
	require.ErrorContains(t, s.end(), "agent "+s.agent.endpoint()+" stayed away for 300ms: agent answered 503 Service Unavailable: Agent has not finished recovery")
	require.Equal(t, []string{"start " + name, "stop " + name + " 7s", "remove " + name}, s.runtime.Calls())
}

func TestWithoutCheckpointTheAgentIsNotAwaited(t *testing.T) {
	s := newScene(t)
	t.Setenv("MESOS_CHECKPOINT", "0")
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.hangUp()
	require.ErrorContains(t, s.end(), "stayed away for 0s")
	require.Contains(t, s.runtime.Calls(), "remove "+name)
}

func TestShutdown(t *testing.T) {
	for what, shut := range map[string]func(*scene){
		"by the agent": func(s *scene) { s.agent.send(mesosexec.Event{Type: mesosexec.Event_SHUTDOWN}) },
		"by a signal":  func(s *scene) { s.cancel() },
		"by an error": func(s *scene) {
			s.agent.send(mesosexec.Event{Type: mesosexec.Event_ERROR, Error: &mesosexec.Event_Error{Message: "no"}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t)
			t.Setenv("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs")
			s.start()
			s.launch()
			s.agent.untilStates("STARTING RUNNING")
			shut(s)
			s.agent.untilStates("STARTING RUNNING KILLING KILLED")
			require.NoError(t, s.end())
			require.Contains(t, s.runtime.Calls(), "stop "+name+" 2s", "less than the agent's patience")
		})
	}
}

func TestEventsThatMeanNothingToAnExecutor(t *testing.T) {
	s := newScene(t)
	s.start()
	for _, event := range []mesosexec.Event{
		{Type: mesosexec.Event_HEARTBEAT}, // every 30 minutes
		{Type: mesosexec.Event_UNKNOWN},
		{Type: 99}, // from the future
		{Type: mesosexec.Event_LAUNCH_GROUP, LaunchGroup: &mesosexec.Event_LaunchGroup{}},
		{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: []byte("no JSON")}},
		{Type: mesosexec.Event_ACKNOWLEDGED, Acknowledged: &mesosexec.Event_Acknowledged{TaskID: mesos.TaskID{Value: "es-9-9"}, UUID: []byte("0123456789abcdef")}},
	} {
		s.agent.send(event)
	}
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.stop()
}

func TestShutdownWithoutATask(t *testing.T) {
	s := newScene(t)
	s.agent.token = "secret"
	t.Setenv(executor.TokenVariable, "secret")
	s.start()
	s.agent.send(mesosexec.Event{Type: mesosexec.Event_SHUTDOWN})
	require.NoError(t, s.end())
	require.Empty(t, s.agent.statuses)
}
