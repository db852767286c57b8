package scheduler

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

var at = time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)

func TestWhatStatesMean(t *testing.T) {
	agent, executor, master := mesos.SOURCE_AGENT, mesos.SOURCE_EXECUTOR, mesos.SOURCE_MASTER
	reason := func(r mesos.TaskStatus_Reason) *mesos.TaskStatus_Reason { return &r }
	for _, c := range []struct {
		state   mesos.TaskState
		source  mesos.TaskStatus_Source
		reason  *mesos.TaskStatus_Reason
		data    string
		outcome coordinator.Outcome
		fault   coordinator.Fault
	}{
		{mesos.TASK_STAGING, master, nil, "", coordinator.Pending, coordinator.FaultNone},
		{mesos.TASK_STARTING, executor, nil, "", coordinator.Pending, coordinator.FaultNone},
		{mesos.TASK_KILLING, executor, nil, "", coordinator.Pending, coordinator.FaultNone},
		{mesos.TASK_RUNNING, executor, nil, `{"fault":1}`, coordinator.Alive, 0},
		{mesos.TASK_FINISHED, executor, nil, "", coordinator.Over, coordinator.FaultNode},
		{mesos.TASK_KILLED, executor, nil, "", coordinator.Over, coordinator.FaultNone},
		{mesos.TASK_KILLED, executor, reason(mesos.REASON_AGENT_DRAINING), "", coordinator.Over, coordinator.FaultNone},
		{mesos.TASK_FAILED, executor, nil, "", coordinator.Over, coordinator.FaultNode},
		{mesos.TASK_FAILED, executor, nil, `{"fault":2}`, coordinator.Over, coordinator.FaultVolume},
		{mesos.TASK_FAILED, executor, nil, `no JSON`, coordinator.Over, coordinator.FaultNode},
		{mesos.TASK_FAILED, agent, reason(mesos.REASON_EXECUTOR_TERMINATED), `{"fault":2}`, coordinator.Unsure, coordinator.FaultHost},
		{mesos.TASK_FAILED, master, reason(mesos.REASON_AGENT_REREGISTERED), "", coordinator.Unsure, coordinator.FaultHost},
		{mesos.TASK_FAILED, agent, nil, "", coordinator.Unsure, coordinator.FaultHost},
		{mesos.TASK_FAILED, agent, reason(mesos.REASON_CONTAINER_LAUNCH_FAILED), "", coordinator.Absent, coordinator.FaultAgent},
		{mesos.TASK_FAILED, agent, reason(mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT), "", coordinator.Absent, coordinator.FaultAgent},
		{mesos.TASK_ERROR, master, reason(mesos.REASON_TASK_INVALID), "", coordinator.Absent, coordinator.FaultNode},
		{mesos.TASK_ERROR, executor, nil, "", coordinator.Absent, coordinator.FaultNode},
		{mesos.TASK_KILLED, agent, reason(mesos.REASON_TASK_KILLED_DURING_LAUNCH), "", coordinator.Absent, coordinator.FaultNone},
		{mesos.TASK_KILLED, master, reason(mesos.REASON_RECONCILIATION), "", coordinator.Absent, coordinator.FaultNone},
		{mesos.TASK_DROPPED, master, reason(mesos.REASON_INVALID_OFFERS), "", coordinator.Absent, coordinator.FaultNone},
		{mesos.TASK_GONE, master, reason(mesos.REASON_RECONCILIATION), "", coordinator.Absent, coordinator.FaultNone},
		{mesos.TASK_GONE, agent, reason(mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT), "", coordinator.Absent, coordinator.FaultNone},
		{mesos.TASK_GONE, master, reason(mesos.REASON_AGENT_REMOVED), "", coordinator.Gone, coordinator.FaultNone},
		{mesos.TASK_GONE_BY_OPERATOR, master, reason(mesos.REASON_AGENT_REMOVED_BY_OPERATOR), "", coordinator.Gone, coordinator.FaultNone},
		{mesos.TASK_GONE_BY_OPERATOR, master, reason(mesos.REASON_RECONCILIATION), "", coordinator.Gone, coordinator.FaultNone},
		{mesos.TASK_LOST, master, nil, "", coordinator.Unsure, coordinator.FaultNone},
		{mesos.TASK_LOST, executor, nil, `{"fault":1}`, coordinator.Unsure, coordinator.FaultAgent},
		{mesos.TASK_UNKNOWN, master, nil, "", coordinator.Unsure, coordinator.FaultNone},
		{mesos.TASK_UNREACHABLE, master, nil, "", coordinator.Away, coordinator.FaultNone},
	} {
		r := report(&mesos.TaskStatus{State: &c.state, Source: &c.source, Reason: c.reason, Data: []byte(c.data)}, at)
		assert.Equal(t, c.outcome, r.Outcome, "%s from %s, %v", c.state, c.source, c.reason)
		assert.Equal(t, c.fault, r.Fault, "%s from %s, %v", c.state, c.source, c.reason)
	}
	assert.Len(t, mesos.TaskState_name, 14, "a new state needs a row above")
}

func TestAStateFromTheFutureSaysNothingNew(t *testing.T) {
	state, reason := mesos.TaskState(99), mesos.TaskStatus_Reason(999)
	encoded, err := (&mesos.TaskStatus{TaskID: mesos.TaskID{Value: "es-1-1"}, State: &state, Reason: &reason, UUID: []byte("0123456789abcdef")}).Marshal()
	require.NoError(t, err)
	var s mesos.TaskStatus
	require.NoError(t, s.Unmarshal(encoded))
	assert.Equal(t, coordinator.Report{At: at, Task: "es-1-1", Outcome: coordinator.Pending, Fault: coordinator.FaultNone, UUID: "0123456789abcdef", Message: "999"}, report(&s, at))
}

func TestARedirectKeepsTheScheme(t *testing.T) {
	for _, c := range []struct{ from, location, want string }{
		{"http://standby:5050/api/v1/scheduler", "//leader:5051/master/api/v1/scheduler", "http://leader:5051/master/api/v1/scheduler"},
		{"https://standby:5050/api/v1/scheduler", "//leader:5051/master/api/v1/scheduler", "https://leader:5051/master/api/v1/scheduler"},
		{"https://standby:5050/api/v1/scheduler", "http://leader:5051/api/v1/scheduler", "https://leader:5051/api/v1/scheduler"},
	} {
		from, err := url.Parse(c.from)
		require.NoError(t, err)
		to, err := leader(from, c.location)
		require.NoError(t, err)
		assert.Equal(t, c.want, to.String())
	}
}

func TestReportsCarryWhatTheExecutorSays(t *testing.T) {
	s := &mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: "es-1-2"}, AgentID: &mesos.AgentID{Value: "a1"}, State: mesos.TASK_RUNNING.Enum(),
		Source: mesos.SOURCE_EXECUTOR.Enum(), Data: []byte(`{"ready":true,"cluster":"uuid","version":"8.19.5","host":"h1","unknown":1,
			"health":{"status":"yellow","nodes":3,"initializing":1,"relocating":2,"delayed":3,"unassigned":4}}`), UUID: []byte("0123456789abcdef"),
	}
	assert.Equal(t, coordinator.Report{
		At: at, Task: "es-1-2", Agent: "a1", Outcome: coordinator.Alive, UUID: "0123456789abcdef", Told: true, Ready: true, Cluster: "uuid", Host: "h1",
		Health: coordinator.Health{Status: "yellow", Nodes: 3, Initializing: 1, Relocating: 2, Delayed: 3, Unassigned: 4},
	}, report(s, at))
	s.Source = mesos.SOURCE_MASTER.Enum()
	assert.Equal(t, coordinator.Report{At: at, Task: "es-1-2", Agent: "a1", Outcome: coordinator.Alive, UUID: "0123456789abcdef"}, report(s, at))
	s.Source = mesos.SOURCE_EXECUTOR.Enum()
	s.State = mesos.TASK_STARTING.Enum()
	assert.Equal(t, coordinator.Report{
		At: at, Task: "es-1-2", Agent: "a1", Outcome: coordinator.Pending, UUID: "0123456789abcdef", Begun: true, Host: "h1", Fault: coordinator.FaultNone,
	}, report(s, at), "its host is told with the first status")
	for source, begun := range map[mesos.TaskStatus_Source]bool{mesos.SOURCE_EXECUTOR: true, mesos.SOURCE_MASTER: false} {
		assert.Equal(t, begun, report(&mesos.TaskStatus{State: mesos.TASK_STARTING.Enum(), Source: &source}, at).Begun, source)
	}
	assert.Equal(t, "container launch failed: no image on a1", message(&mesos.TaskStatus{
		Message: ptr("no image\n  on a1\n"), Reason: mesos.REASON_CONTAINER_LAUNCH_FAILED.Enum(),
	}))
}

func TestEventsThatRulesKnow(t *testing.T) {
	agent := &mesos.AgentID{Value: "a1"}
	for name, c := range map[string]struct {
		event *v1.Event
		want  coordinator.Event
	}{
		"agent lost":    {&v1.Event{Type: v1.Event_FAILURE, Failure: &v1.Event_Failure{AgentID: agent}}, coordinator.AgentLost{At: at, Agent: "a1"}},
		"executor lost": {&v1.Event{Type: v1.Event_FAILURE, Failure: &v1.Event_Failure{AgentID: agent, ExecutorID: &mesos.ExecutorID{Value: "e"}}}, nil},
		"rescind":       {&v1.Event{Type: v1.Event_RESCIND, Rescind: &v1.Event_Rescind{OfferID: mesos.OfferID{Value: "o1"}}}, coordinator.Rescinded{Offer: "o1"}},
		"subscribed": {
			&v1.Event{Type: v1.Event_SUBSCRIBED, Subscribed: &v1.Event_Subscribed{FrameworkID: &mesos.FrameworkID{Value: "f"}}},
			coordinator.Subscribed{At: at, FrameworkID: "f"},
		},
		"inverse offers": {
			&v1.Event{Type: v1.Event_INVERSE_OFFERS, InverseOffers: &v1.Event_InverseOffers{InverseOffers: []mesos.InverseOffer{{
				OfferID: mesos.OfferID{Value: "i1"}, AgentID: &mesos.AgentID{Value: "a1"},
				Unavailability: mesos.Unavailability{Start: mesos.TimeInfo{Nanoseconds: at.UnixNano()}, Duration: &mesos.DurationInfo{Nanoseconds: int64(time.Hour)}},
			}}}},
			coordinator.Maintenance{At: at, Notices: []coordinator.Notice{{ID: "i1", Agent: "a1", Window: coordinator.Window{Start: at, End: at.Add(time.Hour)}}}},
		},
		"message of an executor":      {&v1.Event{Type: v1.Event_MESSAGE, Message: &v1.Event_Message{AgentID: *agent, Data: []byte("x")}}, nil},
		"inverse offer taken back":    {&v1.Event{Type: v1.Event_RESCIND_INVERSE_OFFER}, nil},
		"operation, which we use not": {&v1.Event{Type: v1.Event_UPDATE_OPERATION_STATUS}, nil},
		"from the future":             {&v1.Event{Type: 99}, nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, translate(c.event, at)) })
	}
}

func TestOffersAddUpWhatIsUsable(t *testing.T) {
	o := rich()
	o.Attributes = []mesos.Attribute{
		{Name: "rack", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: "r1"}},
		{Name: "level", Type: mesos.SCALAR, Scalar: &mesos.Value_Scalar{Value: 2.5}},
		{Name: "tags", Type: mesos.SET, Set: &mesos.Value_Set{Item: []string{"a", "b"}}},
		{Name: "years", Type: mesos.RANGES, Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 1, End: 2}, {Begin: 4, End: 4}}}},
	}
	assert.Equal(t, coordinator.Offer{
		ID: "o1", Agent: "a1", Host: "10.0.0.1", CPUs: 1700, MemoryMB: 2048, Reserved: coordinator.Amount{CPUs: 700},
		Ports:      []coordinator.PortRange{{First: 9200, Last: 9200}, {First: 31000, Last: 31010}},
		Attributes: map[string]string{"rack": "r1", "level": "2.5", "tags": "{a,b}", "years": "[1-2,4-4]"},
	}, offer(o, at))
	o.URL = nil
	assert.Equal(t, "name", offer(o, at).Host)
}

func TestMaintenanceKeepsNodesAway(t *testing.T) {
	for name, c := range map[string]struct {
		start, duration time.Duration
		want            bool
	}{
		"far away":  {time.Hour, time.Hour, false},
		"soon":      {time.Minute, time.Hour, true},
		"now":       {-time.Minute, time.Hour, true},
		"over":      {-2 * time.Hour, time.Hour, false},
		"unlimited": {-2 * time.Hour, 0, true},
	} {
		u := &mesos.Unavailability{Start: mesos.TimeInfo{Nanoseconds: at.Add(c.start).UnixNano()}}
		if c.duration > 0 {
			u.Duration = &mesos.DurationInfo{Nanoseconds: c.duration.Nanoseconds()}
		}
		assert.Equal(t, c.want, unavailable(u, at), name)
	}
	assert.False(t, unavailable(nil, at))
}

// rich is an offer with all kinds of resources.
func rich() *mesos.Offer {
	scalar := func(name string, value float64) mesos.Resource {
		return mesos.Resource{
			Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value},
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: ptr("es")},
		}
	}
	reserved := scalar("cpus", 0.7)
	reserved.Reservations = []mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: ptr("es"), Principal: ptr("p")}}
	revocable, shared, disk := scalar("cpus", 8), scalar("mem", 9999), scalar("mem", 9999)
	revocable.Revocable = &mesos.Resource_RevocableInfo{}
	shared.Shared = &mesos.Resource_SharedInfo{}
	disk.Disk = &mesos.Resource_DiskInfo{}
	ports := mesos.Resource{Name: "ports", Type: mesos.RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 9200, End: 9200}, {Begin: 31000, End: 31010}}}}
	ip := "10.0.0.1"
	return &mesos.Offer{
		ID: mesos.OfferID{Value: "o1"}, AgentID: mesos.AgentID{Value: "a1"}, Hostname: "name",
		URL:       &mesos.URL{Address: mesos.Address{IP: &ip, Port: 5051}},
		Resources: []mesos.Resource{revocable, scalar("cpus", 1), scalar("mem", 2048), shared, disk, reserved, ports},
	}
}

func launchOf(change func(*coordinator.Launch)) coordinator.Launch {
	l := coordinator.Launch{
		Offers: []string{"o1"}, CPUs: 1500, MemoryMB: 1024, Ports: []int{9200, 31005},
		Task: coordinator.Task{
			Framework: "es", Node: 3, Epoch: 4, MemoryMB: 1024,
			Place: coordinator.Place{Agent: "a1", Host: "10.0.0.1", HTTPPort: 9200, TransportPort: 31005},
			Settings: coordinator.Settings{
				Image: "elasticsearch:8.19.5", Driver: "rexray", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 100,
			},
		},
	}
	if change != nil {
		change(&l)
	}
	return l
}

func TestWhatIsCarvedIsOfferedAndAddsUp(t *testing.T) {
	o := rich()
	info, err := Options{}.taskInfo(launchOf(nil), []*mesos.Offer{o})
	require.NoError(t, err)
	all := append(append([]mesos.Resource{}, info.Resources...), info.Executor.Resources...)
	assert.True(t, resources.ContainsAll(o.Resources, all))
	cpus, _ := resources.CPUs(all...)
	memory, _ := resources.Memory(all...)
	assert.InDelta(t, 1.5, cpus, 1e-9)
	assert.EqualValues(t, 1024, memory)
	cpus, _ = resources.CPUs(info.Executor.Resources...)
	assert.InDelta(t, 0.1, cpus, 1e-9)
	assert.Equal(t, "p", *info.Executor.Resources[0].Reservations[0].Principal, "what is reserved goes first")
	assert.Equal(t, rich(), o, "offers stay as they are")
}

func TestWhatIsNotOfferedIsNotCarved(t *testing.T) {
	for says, change := range map[string]func(*coordinator.Launch){
		"offers lack 0.3 cpus":           func(l *coordinator.Launch) { l.CPUs = 2000 },
		"offers lack 1 mem":              func(l *coordinator.Launch) { l.MemoryMB = 2049 },
		"port 9300 is not in the offers": func(l *coordinator.Launch) { l.Ports = []int{9200, 9300} },
		"port 9200 is not in the offers": func(l *coordinator.Launch) { l.Ports = []int{9200, 9200} },
	} {
		_, err := Options{}.taskInfo(launchOf(change), []*mesos.Offer{rich()})
		assert.ErrorContains(t, err, "carve out resources for es-3-4: "+says)
	}
}

func TestPortsAreCutOutOfRanges(t *testing.T) {
	p := newPool([]*mesos.Offer{rich()})
	_, err := p.takePorts([]int{31005, 31000, 31010, 9200})
	require.NoError(t, err)
	assert.Equal(t, []mesos.Value_Range{{Begin: 31001, End: 31004}, {Begin: 31006, End: 31009}}, p[len(p)-1].Ranges.Range)
}

func TestLaunchUnderTheMesosContainerizer(t *testing.T) {
	o := Options{Containerizer: MesosContainerizer, User: "root", ArtifactURL: "http://s:31100/v1/artifact/mooring", DockerHost: "unix:///run/d.sock", DriverState: "/srv"}
	info, err := o.taskInfo(launchOf(nil), []*mesos.Offer{rich()})
	require.NoError(t, err)
	assert.Equal(t, "es-3-4", info.TaskID.Value)
	assert.Equal(t, "es-3-4", info.Executor.ExecutorID.Value)
	assert.Equal(t, (115 * time.Second).Nanoseconds(), info.Executor.ShutdownGracePeriod.Nanoseconds)
	assert.Equal(t, (100 * time.Second).Nanoseconds(), info.KillPolicy.GracePeriod.Nanoseconds)
	assert.Nil(t, info.Executor.Container)
	assert.Equal(t, &mesos.CommandInfo{
		Shell: ptr(false), Value: ptr("./mooring"), Arguments: []string{"./mooring", "executor"}, User: ptr("root"),
		URIs: []mesos.CommandInfo_URI{{
			Value: "http://s:31100/v1/artifact/mooring", OutputFile: ptr("mooring"), Executable: ptr(true), Extract: ptr(false), Cache: ptr(false),
		}},
		Environment: &mesos.Environment{Variables: []mesos.Environment_Variable{
			{Name: "ELASTICSEARCH_NODE_ID", Value: ptr("3")}, {Name: "DOCKER_HOST", Value: ptr("unix:///run/d.sock")},
			{Name: "MOORING_DRIVER_STATE_DIR", Value: ptr("/srv")},
		}},
	}, info.Executor.Command)
	var task coordinator.Task
	require.NoError(t, json.Unmarshal(info.Data, &task))
	assert.Equal(t, launchOf(nil).Task, task)

	o.ExecutorPath = "/opt/mooring"
	command := o.command(launchOf(nil).Task)
	assert.Empty(t, command.URIs)
	assert.Equal(t, []string{"/opt/mooring", "executor"}, command.Arguments)
}

func TestLaunchUnderTheDockerContainerizer(t *testing.T) {
	o := Options{Containerizer: DockerContainerizer, ArtifactURL: "http://s:31100/v1/artifact/mooring", DockerHost: "unix:///run/d.sock", DriverState: "/srv"}
	e := o.executor(launchOf(nil).Task, nil)
	assert.Equal(t, "executor", *e.Command.Value)
	assert.Equal(t, []string{"--in-container"}, e.Command.Arguments)
	assert.False(t, *e.Command.Shell)
	assert.Len(t, e.Command.URIs, 1)
	assert.Len(t, e.Command.Environment.Variables, 1, "neither engine nor volume driver are reached from inside the container")
	assert.Equal(t, "elasticsearch:8.19.5", e.Container.Docker.Image)
	assert.Equal(t, mesos.ContainerInfo_DockerInfo_HOST, *e.Container.Docker.Network)
	assert.Equal(t, []mesos.Parameter{{Key: "entrypoint", Value: "/mnt/mesos/sandbox/mooring"}, {Key: "user", Value: "0:0"}}, e.Container.Docker.Parameters)
	require.Len(t, e.Container.Volumes, 2)
	for i, want := range []struct{ name, path string }{{"es3config", "/tmp/config"}, {"es3data", "/data"}} {
		v := e.Container.Volumes[i]
		assert.Equal(t, want.path, v.ContainerPath)
		assert.Equal(t, mesos.RW, *v.Mode)
		assert.Equal(t, want.name, v.Source.DockerVolume.Name)
		assert.Equal(t, "rexray", *v.Source.DockerVolume.Driver)
	}

	o.ExecutorPath = "/opt/mooring"
	e = o.executor(launchOf(nil).Task, nil)
	assert.Empty(t, e.Command.URIs)
	require.Len(t, e.Container.Volumes, 3)
	assert.Equal(t, "/opt/mooring", *e.Container.Volumes[2].HostPath)
	assert.Equal(t, mesos.RO, *e.Container.Volumes[2].Mode)
	assert.Equal(t, "/mooring", e.Container.Docker.Parameters[0].Value)
}

func TestDriverOptionsUnderTheDockerContainerizer(t *testing.T) {
	task := launchOf(nil).Task
	task.Settings.DriverOptions = map[string]string{"size": "5", "mount": `nobarrier,"x"`}
	e := Options{Containerizer: DockerContainerizer, ExecutorPath: "/opt/mooring"}.executor(task, nil)
	require.Len(t, e.Container.Volumes, 1, "the program only: Mesos would add a driver for all volumes")
	assert.Equal(t, []mesos.Parameter{
		{Key: "mount", Value: `type=volume,source=es3config,target=/tmp/config,volume-driver=rexray,volume-nocopy=true,"volume-opt=mount=nobarrier,""x""",volume-opt=size=5`},
		{Key: "mount", Value: `type=volume,source=es3data,target=/data,volume-driver=rexray,volume-nocopy=true,"volume-opt=mount=nobarrier,""x""",volume-opt=size=5`},
	}, e.Container.Docker.Parameters[2:])
}

func TestEveryActionHasACall(t *testing.T) {
	o := rich()
	offers := map[string]*mesos.Offer{"o1": o}
	for _, c := range []struct {
		action coordinator.Action
		want   v1.Call_Type
	}{
		{launchOf(nil), v1.Call_ACCEPT},
		{coordinator.Decline{Offers: []string{"o1"}, Refuse: time.Minute}, v1.Call_DECLINE},
		{coordinator.Kill{Task: "t", Agent: "a"}, v1.Call_KILL},
		{coordinator.Acknowledge{Task: "t", Agent: "a", UUID: "u"}, v1.Call_ACKNOWLEDGE},
		{coordinator.Reconcile{}, v1.Call_RECONCILE},
		{coordinator.Suppress{}, v1.Call_SUPPRESS},
		{coordinator.Revive{}, v1.Call_REVIVE},
		{coordinator.Seeds{Task: "t", Agent: "a", Seeds: []string{"h:1"}}, v1.Call_MESSAGE},
	} {
		call, err := Options{}.call(c.action, offers)
		require.NoError(t, err)
		assert.Equal(t, c.want, call.Type)
	}
	call, err := Options{}.call(coordinator.Note{}, nil)
	assert.Nil(t, call)
	assert.NoError(t, err)
	_, err = Options{}.call(launchOf(nil), nil)
	assert.ErrorContains(t, err, "offer o1 for es-3-4 is not at hand")
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	for attempt, most := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 15 * time.Second} {
		for range 50 {
			wait := backoff(attempt, rand.N[time.Duration])
			assert.GreaterOrEqual(t, wait, most/2)
			assert.Less(t, wait, most)
		}
	}
	assert.Less(t, backoff(1000, rand.N[time.Duration]), 15*time.Second)
}

func TestMastersAreFoundByAddressOrName(t *testing.T) {
	both := []byte(`{"address":{"hostname":"m1.example.com","ip":"10.0.0.1","port":5050}}`)
	for want, c := range map[string]struct {
		data   []byte
		byName bool
	}{
		"10.0.0.1:5050":       {both, false},
		"m1.example.com:5050": {both, true},
		"10.0.0.2:5050":       {[]byte(`{"address":{"ip":"10.0.0.2","port":5050}}`), true},
	} {
		got, err := masterAddress(c.data, c.byName)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}
