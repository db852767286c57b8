package executor_test

import (
	"errors"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/rundir"
	"mooring/executor/runtimetest"
)

func TestStartFails(t *testing.T) {
	for text, fault := range map[string]coordinator.Fault{
		"start container mooring-es-2: VolumeDriver.Mount: volume es2data is held by host b (epoch 3, heartbeat 2s ago)": coordinator.FaultVolume,
		`create container mooring-es-2: plugin "mooring" not found`:                                                      coordinator.FaultAgent,
	} {
		s := newScene(t)
		s.runtime.Fail("start", errors.New(text))
		s.start()
		s.launch()
		status := s.agent.untilStates("STARTING FAILED")
		require.Equal(t, text, status.GetMessage())
		require.Equal(t, fault, runReport(t, status).Fault)
		require.NoError(t, s.end())
		_, exists := s.runtime.Spec(name)
		require.False(t, exists, "what a failed start left is removed")
	}
}

func TestNodeEnds(t *testing.T) {
	for what, c := range map[string]struct {
		status *rundir.Status
		exit   executor.Exit
		want   string
		fault  coordinator.Fault
	}{
		"refused": {&rundir.Status{Phase: rundir.Refused, Text: "volume es2data is empty", Fault: coordinator.FaultRefused}, executor.Exit{Code: 1},
			"volume es2data is empty", coordinator.FaultRefused},
		"in words": {&rundir.Status{Phase: rundir.Ended, Code: 1, Text: "unknown setting"}, executor.Exit{Code: 1},
			"Elasticsearch ended with code 1: unknown setting", coordinator.FaultNode},
		"without words":  {&rundir.Status{Phase: rundir.Ended, Code: 3}, executor.Exit{Code: 3}, "Elasticsearch ended by itself with code 3", coordinator.FaultNode},
		"out of memory":  {&rundir.Status{Phase: rundir.Started}, executor.Exit{Code: 137, OutOfMemory: true}, "ran out of its 512 MB of memory", coordinator.FaultNode},
		"from outside":   {&rundir.Status{Phase: rundir.Started}, executor.Exit{Code: 137}, "container was ended from outside with code 137", coordinator.FaultHost},
		"without a node": {nil, executor.Exit{Code: 127}, "container ended with code 127 before its node started", coordinator.FaultAgent},
	} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t)
			s.start()
			s.launch()
			s.agent.untilStates("STARTING RUNNING")
			if c.status != nil {
				require.NoError(t, s.run.SetStatus(*c.status))
			}
			s.runtime.End(name, c.exit)
			status := s.agent.untilStates("STARTING RUNNING FAILED")
			require.Equal(t, c.want, status.GetMessage())
			require.Equal(t, c.fault, runReport(t, status).Fault)
			require.NoError(t, s.end())
			require.Contains(t, s.runtime.Calls(), "remove "+name)
		})
	}
}

func TestWrongCluster(t *testing.T) {
	s := newScene(t)
	s.task.ClusterUUID = "U1"
	s.cluster.Store("U2")
	s.start()
	s.launch()
	status := s.agent.untilStates("STARTING RUNNING FAILED")
	require.Equal(t, "node 2 joined cluster U2 but belongs to U1", status.GetMessage())
	require.Equal(t, coordinator.FaultRefused, runReport(t, status).Fault)
	require.NoError(t, s.end())
	require.Equal(t, []string{"start " + name, "stop " + name + " 0s", "remove " + name}, s.runtime.Calls())
	_, marked, err := s.run.Joined()
	require.NoError(t, err)
	require.False(t, marked)
}

func TestBadTasks(t *testing.T) {
	good := newScene(t).task
	for want, change := range map[string]func(*coordinator.Task, *mesos.TaskInfo){
		"read data of task":                                    func(_ *coordinator.Task, i *mesos.TaskInfo) { i.Data = []byte("task data") },
		"carries the data of task":                             func(_ *coordinator.Task, i *mesos.TaskInfo) { i.TaskID.Value = "es-2-4" },
		"no address of the agent is given":                     func(task *coordinator.Task, _ *mesos.TaskInfo) { task.Place.Host = "" },
		"no volume driver is given":                            func(task *coordinator.Task, _ *mesos.TaskInfo) { task.Settings.Driver = "" },
		`volume paths "/data" and "/data": give two different`: func(task *coordinator.Task, _ *mesos.TaskInfo) { task.Settings.ConfigPath = "/data" },
		"ports 0 and 9300":                                     func(task *coordinator.Task, _ *mesos.TaskInfo) { task.Place.HTTPPort = 0 },
	} {
		t.Run(want, func(t *testing.T) {
			s := newScene(t)
			s.task = good
			var skip mesos.TaskInfo
			change(&s.task, &skip)
			info := s.info()
			change(&s.task, &info)
			s.start()
			s.agent.send(launchOf(info))
			require.Contains(t, s.agent.untilStates("ERROR").GetMessage(), want)
			require.NoError(t, s.end())
		})
	}
}

func TestSecondTaskIsRefused(t *testing.T) {
	s := newScene(t)
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	s.launch() // the same once more changes nothing
	other := s.info()
	other.TaskID.Value = "es-3-1"
	s.agent.send(launchOf(other))
	status := s.agent.untilStates("STARTING RUNNING ERROR")
	require.Equal(t, "es-3-1", status.TaskID.Value)
	require.Contains(t, status.GetMessage(), `this executor runs task "es-2-3" only`)
	s.stop()
	require.Equal(t, []string{"start " + name, "stop " + name + " 7s", "remove " + name}, s.runtime.Calls())
}

func TestNoAgentAtAll(t *testing.T) {
	t.Setenv("MESOS_FRAMEWORK_ID", "")
	err := executor.Run(t.Context(), &runtimetest.Fake{}, executor.Options{})
	require.ErrorContains(t, err, "an executor is started by a Mesos agent, whose variables are missing here")
}
