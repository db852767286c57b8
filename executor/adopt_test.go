package executor_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/executor"
	"mooring/executor/rundir"
)

// left puts a container there as an earlier executor left it.
func (s *scene) left(epoch string, running bool) (run rundir.Dir) {
	s.t.Helper()
	run = rundir.Dir(s.t.TempDir())
	require.NoError(s.t, run.Beat(100))
	s.runtime.Put(executor.Spec{Name: name, Labels: map[string]string{
		"mooring.framework": "es", "mooring.node": "2", "mooring.epoch": epoch, "mooring.run": string(run),
	}}, running)
	return run
}

func TestSameLaunchIsAdopted(t *testing.T) {
	s := newScene(t)
	run := s.left("3", true)
	s.marks = run
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.until("a beat", func() bool { beat, err := run.LastBeat(); return err == nil && beat > 100 })
	s.cluster.Store("U1")
	s.agent.untilStates("STARTING RUNNING RUNNING")
	_, ok, err := run.Joined()
	require.NoError(t, err)
	require.True(t, ok)
	s.stop()
	require.NotContains(t, s.runtime.Calls(), "start "+name)
}

func TestOlderLaunchIsReplaced(t *testing.T) {
	for _, running := range []bool{true, false} {
		s := newScene(t)
		s.left("2", running)
		s.start()
		s.launch()
		s.agent.untilStates("STARTING RUNNING")
		require.Equal(t, []string{"stop " + name + " 7s", "remove " + name, "start " + name}, s.runtime.Calls())
		s.stop()
	}
}

// A host died and returned, and its node runs elsewhere by then; or an executor died, and its container later by itself. What is left of
// such a container goes when another node of the framework runs there.
func TestWhatOtherNodesLeftIsRemoved(t *testing.T) {
	of := func(framework, node string) executor.Spec {
		return executor.Spec{Name: "mooring-" + framework + "-" + node, Labels: map[string]string{
			"mooring.framework": framework, "mooring.node": node, "mooring.epoch": "1",
		}}
	}
	s := newScene(t)
	s.runtime.Put(of("es", "5"), false)
	s.runtime.Put(of("es", "6"), true)
	s.runtime.Put(of("other", "5"), false)
	own := of("es", "2")
	own.Name += "-of-old"
	s.runtime.Put(own, false) // how one of this node ended is asked elsewhere
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.agent.until("what is left to be removed", func() bool { return slices.Contains(s.runtime.Calls(), "remove mooring-es-5") })
	s.stop()
	require.ElementsMatch(t, []string{"start " + name, "remove mooring-es-5", "stop " + name + " 7s", "remove " + name}, s.runtime.Calls())
}

func TestNewerLaunchIsNotTouched(t *testing.T) {
	s := newScene(t)
	s.left("4", true)
	s.start()
	s.launch()
	status := s.agent.untilStates("STARTING FAILED")
	require.Equal(t, "launch 4 of node 2 runs on this agent, this is only launch 3", status.GetMessage())
	require.NoError(t, s.end())
	require.Empty(t, s.runtime.Calls())
}

func TestForeignContainerIsNotTouched(t *testing.T) {
	s := newScene(t)
	s.runtime.Put(executor.Spec{Name: name}, true)
	s.start()
	s.launch()
	status := s.agent.untilStates("STARTING FAILED")
	require.Contains(t, status.GetMessage(), "container mooring-es-2 on this agent is not of Mooring")
	require.NoError(t, s.end())
	require.Empty(t, s.runtime.Calls())
}
