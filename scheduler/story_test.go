package scheduler_test

import (
	"encoding/json"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

func TestOffersBecomeRunningNodes(t *testing.T) {
	r := newRig(t, 3)
	r.agents(1, 3)
	r.start()
	r.running(1, 2, 3)
	assert.Equal(t, []string{"es-1-1", "es-2-1", "es-3-1"}, r.runningTasks())
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "every update is acknowledged")
	for _, task := range r.master.Tasks(mesos.TASK_RUNNING) {
		var told coordinator.Task
		require.NoError(t, json.Unmarshal(task.Data, &told))
		assert.Equal(t, task.TaskID.Value, told.ID())
		assert.Equal(t, r.node(told.Node).Place, told.Place)
	}
	assert.Len(t, r.master.Calls(v1.Call_ACCEPT), 3)
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_SUPPRESS)) == 1 }, "no more offers are wanted")
}

func TestReadinessAndVersionComeFromTheExecutor(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	r.master.Update("es-1-1", mesos.TASK_RUNNING, []byte(`{"ready":true,"cluster":"uuid-1","version":"8.19.5"}`))
	r.eventually(func() bool { return r.node(1).Ready }, "the node is ready")
	v := r.scheduler.View()
	assert.Equal(t, "uuid-1", v.State.ClusterUUID)
	assert.Equal(t, "8.19.5", v.Details[1].Version)
}

func TestSeedsGoToExecutors(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.running(1, 2)
	r.eventually(func() bool {
		for _, c := range r.master.Calls(v1.Call_MESSAGE) {
			if c.Message.ExecutorID.Value == "es-1-1" && string(c.Message.Data) == `{"seeds":["10.0.0.1:9300","10.0.0.2:9300"]}` {
				return true
			}
		}
		return false
	}, "node 1 is told where both are")
}

func TestALostAgentsNodeStartsElsewhereAndTheOldTaskIsKilledOnReturn(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 3)
	r.start()
	r.running(1, 2)
	lost := r.node(1).Place.Agent
	r.master.LoseAgent(lost)
	r.eventually(func() bool { n := r.node(1); return n.Phase == coordinator.Running && n.Epoch == 2 }, "node 1 runs again")
	assert.NotEqual(t, lost, r.node(1).Place.Agent)
	assert.EqualValues(t, 1, r.node(2).Epoch, "node 2 is left alone")

	r.master.ReturnAgent(lost)
	r.eventually(func() bool {
		tasks := r.runningTasks()
		return len(tasks) == 2 && tasks[0] == "es-1-2" && r.master.Unacknowledged() == 0
	}, "the task of epoch 1 is killed, the one of epoch 2 is not")
	assert.EqualValues(t, 2, r.node(1).Epoch)
}

func TestWithoutFencingALostNodeWaitsForItsAgent(t *testing.T) {
	r := newRig(t, 1)
	r.rules.Fencing = false
	r.agents(1, 2)
	r.start()
	r.running(1)
	lost := r.node(1).Place.Agent
	r.master.LoseAgent(lost)
	r.eventually(func() bool { return r.scheduler.View().Notes[1].Text != "" }, "an operator can see that it waits")
	assert.Contains(t, r.scheduler.View().Notes[1].Text, "waits for its last agent "+lost)
	r.master.ReturnAgent(lost)
	r.running(1)
	assert.EqualValues(t, 1, r.node(1).Epoch, "it is the same launch")
}

func TestAFailedLaunchBlamesTheAgentAndIsTriedAgain(t *testing.T) {
	r := newRig(t, 1)
	r.master.AutoRun = false
	r.agents(1, 1)
	r.start()
	staged := func(id string) func() bool {
		return func() bool {
			tasks := r.master.Tasks(mesos.TASK_STAGING)
			return len(tasks) == 1 && tasks[0].TaskID.Value == id
		}
	}
	r.eventually(staged("es-1-1"), "the first launch")
	r.master.FailExecutor("es-1-1", mesos.REASON_CONTAINER_LAUNCH_FAILED, "Failed to launch container: no such image")
	r.eventually(func() bool { return r.node(1).Phase == coordinator.Vacant }, "the launch is over")
	assert.Contains(t, r.node(1).Problem, "no such image")
	assert.Contains(t, r.scheduler.View().State.Agents, "agent-1")
	r.eventually(staged("es-1-2"), "the second launch, after a wait")
}

func TestAStrayTaskIsKilled(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 2)
	r.start()
	r.running(1)
	stray := r.master.Tasks(mesos.TASK_RUNNING)[0]
	stray.TaskID.Value = "es-9-4"
	r.master.Stray(stray, mesos.TASK_RUNNING)
	r.eventually(func() bool { return len(r.runningTasks()) == 1 && r.master.Unacknowledged() == 0 }, "the stray task is gone")
	assert.Equal(t, []string{"es-1-1"}, r.runningTasks())
}

func TestOffersThatAreTooSmallAreExplained(t *testing.T) {
	r := newRig(t, 1)
	for i := 1; i <= 3; i++ {
		a := agent(i)
		a.MemoryMB = 512
		r.master.AddAgent(a)
	}
	r.start()
	r.eventually(func() bool { return r.scheduler.View().Notes[1].Text != "" }, "node 1 waits for a reason")
	assert.Contains(t, r.scheduler.View().Notes[1].Text, "3 with less than 1024 MB of memory")
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_DECLINE)) > 0 }, "the offers go back")
	assert.GreaterOrEqual(t, r.scheduler.Counters()[`mooring_offers_declined_total{reason="with less than 1024 MB of memory"}`], int64(3))
	r.agents(4, 4)
	r.running(1)
	assert.Empty(t, r.scheduler.View().Notes, "it waits no longer")
}

func TestScaleUpAndDown(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 3)
	r.start()
	r.running(1)
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Target: 3}))
	r.running(1, 2, 3)
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Target: 1}))
	r.eventually(func() bool { return len(r.runningTasks()) == 1 }, "two nodes stop")
	assert.Equal(t, []string{"es-1-1"}, r.runningTasks())
}

func TestOffersOfOneAgentAreAcceptedTogether(t *testing.T) {
	r := newRig(t, 1)
	role := "test"
	small := agent(1)
	small.CPUs, small.MemoryMB = 0.5, 4096
	small.Reserved = []mesos.Resource{{
		Name: "cpus", Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: 0.7},
		Reservations: []mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_STATIC.Enum(), Role: &role}},
	}}
	r.master.AddAgent(small)
	r.start()
	r.running(1)
	var cpus float64
	task := r.master.Tasks(mesos.TASK_RUNNING)[0]
	for _, resource := range append(task.Resources, task.Executor.Resources...) {
		if resource.Name == "cpus" {
			cpus += resource.Scalar.Value
		}
	}
	assert.InDelta(t, 1.0, cpus, 1e-9, "reserved and unreserved CPUs add up")
}

func TestANodeOfAnAgentMarkedGoneStartsElsewhereAndItsHostIsNamed(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 2)
	r.start()
	r.running(1)
	r.master.Update("es-1-1", mesos.TASK_RUNNING, []byte(`{"host":"h1"}`))
	r.eventually(func() bool { return r.node(1).Holder.Host == "h1" }, "the holder of the volumes is known")
	r.master.MarkGone(r.node(1).Place.Agent)
	r.eventually(func() bool { n := r.node(1); return n.Phase == coordinator.Running && n.Epoch == 2 }, "node 1 runs again")
	tasks := r.master.Tasks(mesos.TASK_RUNNING)
	require.Len(t, tasks, 1)
	var told coordinator.Task
	require.NoError(t, json.Unmarshal(tasks[0].Data, &told))
	assert.Equal(t, "h1", told.Gone)
	assert.Equal(t, coordinator.Holder{Epoch: 2, Agent: r.node(1).Place.Agent}, r.node(1).Holder, "who has them now")
}

func TestTheSizesOfVolumesComeFromTheExecutor(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	r.master.Update("es-1-1", mesos.TASK_RUNNING, []byte(`{"host":"h1","sizes":{"data":107374182400}}`))
	r.eventually(func() bool { return r.node(1).Sizes.Data == 100<<30 }, "the size is known")
	r.stop()
	r.start()
	r.subscribed(2)
	assert.EqualValues(t, 100<<30, r.node(1).Sizes.Data, "also to the next scheduler")
}
