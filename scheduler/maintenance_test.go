package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// joined has a node report that it is part of the cluster, and the elected master of it, which is well.
func (r *rig) joined(task string) { r.reports(task, "green", 9) }

func (r *rig) reports(task, status string, nodes int) {
	r.master.Update(task, mesos.TASK_RUNNING, []byte(fmt.Sprintf(`{"ready":true,"cluster":"uuid","health":{"status":%q,"nodes":%d}}`, status, nodes)))
}

func (r *rig) ready(ids ...coordinator.NodeID) {
	r.t.Helper()
	r.eventually(func() bool {
		for _, id := range ids {
			if !r.node(id).Ready {
				return false
			}
		}
		return true
	}, "nodes have joined")
}

func TestNodesLeaveHostsUnderMaintenanceOneAtATime(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.settled()
	r.joined("es-1-1")
	r.joined("es-2-1")
	r.ready(1, 2)
	r.master.Maintain("agent-1", time.Now().Add(time.Minute), time.Hour)
	r.master.Maintain("agent-2", time.Now().Add(time.Minute), time.Hour)
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_ACCEPT_INVERSE_OFFERS)) > 0 }, "the operator hears that nodes can leave")
	r.eventually(func() bool { return len(r.scheduler.View().State.Leaving) == 2 }, "both announcements are known")
	assert.Empty(t, r.master.Calls(v1.Call_KILL), "there is no place elsewhere")

	r.agents(3, 4)
	r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs elsewhere")
	r.master.Offer()
	r.master.Announce()
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_DECLINE_INVERSE_OFFERS)) > 0 }, "the operator hears that node 2 cannot leave now")
	assert.EqualValues(t, 1, r.node(2).Epoch, "node 2 waits until node 1 has joined")
	assert.Len(t, r.master.Calls(v1.Call_KILL), 1)
	r.joined("es-1-2")
	r.eventually(func() bool { return r.runs(2, 2) }, "node 2 runs elsewhere")
	assert.Contains(t, []string{"agent-3", "agent-4"}, r.node(1).Place.Agent)
	assert.Contains(t, []string{"agent-3", "agent-4"}, r.node(2).Place.Agent)
}

func TestNoNodeLeavesOrIsRestartedWhileTheClusterIsRed(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 4)
	r.start()
	r.settled()
	r.joined("es-1-1")
	r.reports("es-2-1", "red", 2)
	r.ready(1, 2)
	r.master.Maintain(r.node(1).Place.Agent, time.Now().Add(time.Minute), time.Hour)
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_DECLINE_INVERSE_OFFERS)) > 0 }, "the operator hears that node 1 cannot leave now")
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Order{At: time.Now(), Node: 2, Intent: coordinator.Restart}))
	assert.Empty(t, r.master.Calls(v1.Call_KILL))
	r.reports("es-2-1", "yellow", 2)
	r.eventually(func() bool { return r.runs(1, 2) || r.runs(2, 2) }, "one of them")
}

func TestMaintenanceThatIsCalledOffMovesNothing(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	r.joined("es-1-1")
	r.ready(1)
	r.master.Maintain("agent-1", time.Now().Add(time.Minute), time.Hour)
	r.eventually(func() bool { return len(r.scheduler.View().State.Leaving) == 1 }, "the announcement is known")
	r.master.CancelMaintenance("agent-1")
	r.eventually(func() bool { return len(r.scheduler.View().State.Leaving) == 0 }, "and forgotten")
	r.agents(2, 2)
	r.master.Offer()
	assert.Empty(t, r.master.Calls(v1.Call_KILL))
}

func TestAMoveIsCarriedOutWhateverDies(t *testing.T) {
	dies(t, func(t *testing.T, arm func(*rig) <-chan struct{}) {
		r := newRig(t, 1)
		r.agents(1, 2)
		r.start()
		r.running(1)
		r.joined("es-1-1")
		r.ready(1)
		left := r.node(1).Place.Agent
		dead := arm(r)
		r.master.Maintain(left, time.Now().Add(time.Minute), time.Hour)
		r.eventually(func() bool { return closed(dead) || r.runs(1, 2) }, "it dies, or is done before that save")
		r.stop()
		r.store.Fail(nil, nil)
		r.start()
		r.subscribed(2)
		r.master.Announce()
		r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs elsewhere")
		assert.NotEqual(t, left, r.node(1).Place.Agent)
		require.Len(t, r.runningTasks(), 1)
	})
}

func TestADrainedAgentsNodeStartsElsewhere(t *testing.T) {
	for name, markGone := range map[string]bool{"for a while": false, "for good": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.rules.Fencing = false // its executor has seen to it that nothing is left
			r.agents(1, 2)
			r.start()
			r.running(1)
			drained := r.node(1).Place.Agent
			r.master.Drain(drained, markGone)
			r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs elsewhere")
			assert.NotEqual(t, drained, r.node(1).Place.Agent)
			assert.False(t, r.node(1).Holder.Gone)
			r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "the drain is complete once every end is acknowledged")
		})
	}
}
