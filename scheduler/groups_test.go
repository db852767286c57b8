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

// Dedicated masters in one role, data nodes in another; each gets what its group is to have, also after the scheduler was killed.
func TestGroupsOfTwoRoles(t *testing.T) {
	r := newRig(t, 0)
	r.options.Roles = []string{"small", "hot"}
	r.rules.Roles = r.options.Roles
	r.rules.Groups = []coordinator.Group{
		{Name: "masters", Nodes: 1, CPUs: 500, MemoryMB: 512, Role: "small", Settings: r.rules.Settings},
		{Name: "data", Nodes: 2, CPUs: 2000, MemoryMB: 2048, Role: "hot", NeverMaster: true, Settings: r.rules.Settings},
	}
	r.rules.Groups[1].Settings.Roles = []string{"data"}
	for i := 1; i <= 3; i++ {
		a := agent(i)
		a.CPUs, a.MemoryMB = 1, 600
		if i > 1 {
			a.Reserved = []mesos.Resource{reservedScalar("cpus", 2, "hot"), reservedScalar("mem", 2048, "hot"), reservedPorts(9500, 9510, "hot")}
		}
		r.master.AddAgent(a)
	}
	r.start()
	r.running(1, 2, 3)
	for _, task := range r.master.Tasks(mesos.TASK_RUNNING) {
		var told coordinator.Task
		require.NoError(t, json.Unmarshal(task.Data, &told))
		role, roles, masters := "hot", []string{"data"}, []string(nil)
		if told.Node == 1 {
			role, roles, masters = "small", nil, []string{"es1"}
		}
		assert.Equal(t, roles, told.Settings.Roles)
		assert.Equal(t, masters, told.InitialMasters)
		for _, resource := range all(task) {
			assert.Equal(t, role, resource.GetAllocationInfo().GetRole())
		}
	}
	r.eventually(func() bool { return len(r.master.Suppressed()) == 2 }, "nobody wants offers")

	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Group: "data", Target: 3}))
	r.eventually(func() bool { return assert.ObjectsAreEqual([]string{"small"}, r.master.Suppressed()) }, "offers are wanted to one role only")
	r.stop()
	r.start()
	r.subscribed(2)
	assert.Equal(t, []string{"small"}, r.master.Calls(v1.Call_SUBSCRIBE)[1].Subscribe.SuppressedRoles)
	r.eventually(func() bool { return r.scheduler.View().Notes[4].Text != "" || len(r.master.Calls(v1.Call_REVIVE)) > 0 }, "node 4 waits")
	a := agent(4)
	a.Reserved = []mesos.Resource{reservedScalar("cpus", 2, "hot"), reservedScalar("mem", 2048, "hot"), reservedPorts(9500, 9510, "hot")}
	r.master.AddAgent(a)
	r.running(1, 2, 3, 4)
	assert.Equal(t, "data", r.node(4).Group)
	assert.Equal(t, []any{0, map[string]int{"masters": 1, "data": 3}}, []any{r.scheduler.View().State.Target, r.scheduler.View().State.Groups})
}
