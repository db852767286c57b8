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
	"mooring/scheduler"
)

// stack is a reservation and its refinements.
func stack(roles ...string) []mesos.Resource_ReservationInfo {
	var all []mesos.Resource_ReservationInfo
	for i, role := range roles {
		info := mesos.Resource_ReservationInfo{Type: mesos.Resource_ReservationInfo_STATIC.Enum(), Role: &role}
		if i > 0 {
			principal, key, value := "ops", "made", "by hand"
			info.Type, info.Principal = mesos.Resource_ReservationInfo_DYNAMIC.Enum(), &principal
			info.Labels = &mesos.Labels{Labels: []mesos.Label{{Key: key, Value: &value}}}
		}
		all = append(all, info)
	}
	return all
}

func reservedScalar(name string, value float64, roles ...string) mesos.Resource {
	return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value}, Reservations: stack(roles...)}
}

func reservedPorts(first, last uint64, roles ...string) mesos.Resource {
	return mesos.Resource{
		Name: "ports", Type: mesos.RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: first, End: last}}}, Reservations: stack(roles...),
	}
}

func all(task mesos.TaskInfo) []mesos.Resource {
	return append(task.Resources, task.Executor.Resources...)
}

// The master of these tests takes back only what it offered, reservations, labels and all.
func TestReservationsAreHandedBackAsTheyWereOffered(t *testing.T) {
	for name, roles := range map[string][]string{"static": {"es"}, "refined": {"es", "es/hot"}, "refined twice": {"es", "es/hot", "es/hot/logs"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.options.Roles = []string{roles[len(roles)-1]}
			a := agent(1)
			a.CPUs, a.MemoryMB, a.FirstPort, a.LastPort = 0.25, 64, 31000, 31000
			a.Reserved = []mesos.Resource{reservedScalar("cpus", 0.75, roles...), reservedScalar("mem", 960, roles...), reservedPorts(9300, 9300, roles...)}
			r.master.AddAgent(a)
			r.start()
			r.running(1)
			task := r.master.Tasks(mesos.TASK_RUNNING)[0]
			var reserved float64
			for _, resource := range all(task) {
				assert.Equal(t, r.options.Roles[0], resource.GetAllocationInfo().GetRole())
				if len(resource.Reservations) > 0 {
					assert.Equal(t, stack(roles...), resource.Reservations)
					reserved += resource.GetScalar().GetValue()
				}
			}
			assert.InDelta(t, 960.75, reserved, 1e-9, "all that is reserved, before anything else")
			assert.Equal(t, []int{31000, 9300}, []int{r.node(1).Place.HTTPPort, r.node(1).Place.TransportPort})
		})
	}
}

func TestTheNarrowestReservationIsUsedFirst(t *testing.T) {
	r := newRig(t, 1)
	r.options.Roles = []string{"es/hot"}
	a := agent(1)
	a.Reserved = []mesos.Resource{
		reservedScalar("cpus", 1, "es"), reservedScalar("mem", 1024, "es"), reservedScalar("cpus", 0.75, "es", "es/hot"), reservedScalar("mem", 1000, "es", "es/hot"),
	}
	r.master.AddAgent(a)
	r.start()
	r.running(1)
	used := map[string]float64{}
	for _, resource := range all(r.master.Tasks(mesos.TASK_RUNNING)[0]) {
		used[fmt.Sprintf("%s %d", resource.Name, len(resource.Reservations))] += resource.GetScalar().GetValue()
	}
	assert.Equal(t, map[string]float64{"cpus 2": 0.75, "cpus 1": 0.25, "mem 2": 1000, "mem 1": 24, "ports 0": 0}, used)
}

// An agent with a reservation makes one offer for each of the two roles, which together would hold a node; alone only the second does.
func TestTwoRolesOfOneFramework(t *testing.T) {
	r := newRig(t, 3)
	r.options.Roles = []string{"*", "es"}
	split := agent(1)
	split.CPUs = 0.5
	split.Reserved = []mesos.Resource{reservedScalar("cpus", 0.5, "es"), reservedScalar("mem", 2048, "es"), reservedPorts(9500, 9510, "es")}
	whole := agent(2)
	whole.Reserved = []mesos.Resource{reservedScalar("cpus", 2, "es"), reservedScalar("mem", 2048, "es"), reservedPorts(9500, 9510, "es")}
	r.master.AddAgent(split)
	r.master.AddAgent(whole)
	r.start()
	r.running(1)
	r.eventually(func() bool { return r.scheduler.View().Notes[2].Text != "" }, "node 2 waits")
	assert.Contains(t, r.scheduler.View().Notes[2].Text, "2 with less than 1 CPUs", "the two offers of agent 1 are not added up")
	for _, resource := range all(r.master.Tasks(mesos.TASK_RUNNING)[0]) {
		assert.Equal(t, "es", resource.GetAllocationInfo().GetRole(), "what is reserved comes first")
		assert.NotEmpty(t, resource.Reservations)
	}
	r.agents(3, 4)
	r.running(1, 2, 3)
	r.eventually(func() bool { return assert.ObjectsAreEqual([]string{"*", "es"}, r.master.Suppressed()) }, "neither role wants offers")
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Target: 4}))
	r.eventually(func() bool { return len(r.master.Suppressed()) == 0 }, "both do")
	r.agents(5, 5)
	r.running(4)
	r.eventually(func() bool { return len(r.master.Suppressed()) == 2 }, "neither does")
	r.stop()
	r.start()
	r.subscribed(2)
	subscribe := r.master.Calls(v1.Call_SUBSCRIBE)[1].Subscribe
	assert.Equal(t, []string{"*", "es"}, subscribe.FrameworkInfo.Roles)
	assert.Equal(t, []string{"*", "es"}, subscribe.SuppressedRoles)
}

func TestRolesThatMesosWouldRefuseAreNamed(t *testing.T) {
	require.NoError(t, scheduler.CheckRoles([]string{"*", "es", "es/hot", "a.b", "a-b"}))
	for role, says := range map[string]string{
		"": "use a name", ".": "use a name", "a/..": "use a name", "/a": "use a name", "a//b": "use a name", "a/*": "use a name",
		"-a": "leave out blanks", "a b": "leave out blanks", "a/\tb": "leave out blanks",
	} {
		assert.ErrorContains(t, scheduler.CheckRoles([]string{"ok", role}), says, "%q", role)
	}
	err := scheduler.CheckRoles([]string{"", "a b", "es", "es"})
	assert.ErrorContains(t, err, `role ""`)
	assert.ErrorContains(t, err, `role "a b"`)
	assert.ErrorContains(t, err, `role "es" is given twice: give it once`)
}

func TestNodesStayInTheMastersRegionUnlessToldOtherwise(t *testing.T) {
	r := newRig(t, 2)
	r.master.Region = "here"
	far, near := agent(1), agent(2)
	far.Region, far.Zone, near.Region, near.Zone = "there", "z1", "here", "z2"
	r.master.AddAgent(far)
	r.start()
	r.eventually(func() bool { return r.scheduler.View().Notes[1].Text != "" }, "node 1 waits")
	assert.Equal(t, "no offer fits: 1 in region there, which is not the master's", r.scheduler.View().Notes[1].Text)
	r.master.AddAgent(near)
	r.running(1)
	assert.Equal(t, "agent-2", r.node(1).Place.Agent)
	r.stop()
	r.rules.Constraints = []coordinator.Constraint{{Attribute: coordinator.AtRegion, Kind: coordinator.Spread}}
	r.start()
	r.running(1, 2)
	assert.Equal(t, coordinator.Place{Agent: "agent-1", Host: "10.0.0.1", HTTPPort: 9200, TransportPort: 9300, Zone: "there"}, r.node(2).Place)
}
