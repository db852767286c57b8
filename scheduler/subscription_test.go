package scheduler_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/mesostest"
)

func TestTheFrameworkRegistersAsItShould(t *testing.T) {
	r := newRig(t, 1)
	r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, "secret\n")
	r.master.RequireCredentials("mooring", "secret")
	r.agents(1, 1)
	r.start()
	r.running(1)
	call := r.master.Calls(v1.Call_SUBSCRIBE)[0]
	info := call.Subscribe.FrameworkInfo
	assert.Equal(t, "es", info.Name)
	assert.Equal(t, "root", info.User)
	assert.Equal(t, []string{"test"}, info.Roles)
	assert.Equal(t, "mooring", info.GetPrincipal())
	assert.True(t, info.GetCheckpoint())
	assert.Equal(t, (28 * 24 * time.Hour).Seconds(), info.GetFailoverTimeout())
	var capabilities []string
	for _, c := range info.Capabilities {
		capabilities = append(capabilities, c.Type.String())
	}
	assert.Equal(t, []string{"PARTITION_AWARE", "TASK_KILLING_STATE", "MULTI_ROLE", "RESERVATION_REFINEMENT", "REGION_AWARE"}, capabilities)
}

func TestTheFrameworkIDIsKept(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.running(1, 2)
	id := r.master.FrameworkID()
	r.stop()
	assert.Empty(t, r.master.Calls(v1.Call_TEARDOWN), "the end of a scheduler is no teardown")

	r.start()
	r.running(1, 2)
	r.subscribed(2)
	second := r.master.Calls(v1.Call_SUBSCRIBE)[1]
	assert.Equal(t, id, second.FrameworkID.GetValue())
	assert.Equal(t, id, second.Subscribe.FrameworkInfo.ID.GetValue())
	assert.Equal(t, []string{"es-1-1", "es-2-1"}, r.runningTasks(), "nothing is launched again")
	assert.Equal(t, []string{"test"}, second.Subscribe.SuppressedRoles, "nothing was wanted when it ended")
}

func TestEverySubscriptionBeginsWithReconciliation(t *testing.T) {
	for name, fault := range map[string]func(*mesostest.Master){
		"orderly end":     (*mesostest.Master).Disconnect,
		"cut in a record": (*mesostest.Master).Cut,
		"refusal":         func(m *mesostest.Master) { m.Error("Role is not allowed") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.agents(1, 1)
			r.start()
			r.running(1)
			before := len(r.master.Calls(v1.Call_RECONCILE))
			fault(r.master)
			r.subscribed(2)
			r.eventually(func() bool { return r.node(1).Settled && len(r.master.Calls(v1.Call_RECONCILE)) >= before+2 }, "node 1 is asked for, and all")
			assert.EqualValues(t, 1, r.node(1).Epoch)
			asked := r.master.Calls(v1.Call_RECONCILE)[before]
			assert.Equal(t, "es-1-1", asked.Reconcile.Tasks[0].TaskID.Value)
			assert.Equal(t, "agent-1", asked.Reconcile.Tasks[0].AgentID.GetValue())
		})
	}
}

func TestASilentStreamIsDropped(t *testing.T) {
	r := newRig(t, 1)
	r.master.Heartbeat = 200 * time.Millisecond
	r.agents(1, 1)
	log := r.captureLog()
	r.start()
	r.running(1)
	r.master.Fault(func(f *mesostest.Faults) { f.Silent = true })
	r.eventually(func() bool { return strings.Contains(log.String(), "no event for 1s") }, "five heartbeats are missed")
	r.master.Fault(func(f *mesostest.Faults) { f.Silent = false })
	r.subscribed(2)
}

func TestChunksMeanNothing(t *testing.T) {
	r := newRig(t, 1)
	r.master.Fault(func(f *mesostest.Faults) { f.Chunk = 7 })
	r.agents(1, 3)
	r.start()
	r.running(1)
}

func TestAStandbyLeadsToTheLeader(t *testing.T) {
	r := newRig(t, 1)
	standby := mesostest.New(t)
	standby.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + r.master.Address() + "/master/api/v1/scheduler" })
	leader := r.master.Address()
	r.agents(1, 1)
	r.startWith("http://" + standby.Address())
	r.running(1)
	assert.Equal(t, leader, r.scheduler.View().Subscribed)
	assert.NotEmpty(t, r.master.Calls(v1.Call_ACCEPT), "calls go to the leader, too")
}

func TestANewLeaderIsFound(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	other := mesostest.New(t)
	other.Fault(func(f *mesostest.Faults) { f.Leaderless = true })
	log := r.captureLog()
	r.startWith(other.Address(), r.master.Address())
	r.running(1)
	id := r.master.FrameworkID()
	r.master.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + other.Address() })
	r.master.Disconnect()
	other.Fault(func(f *mesostest.Faults) { f.Leaderless, f.Recovering = false, true })
	r.logs(log, "503 Service Unavailable: Master has not finished recovery")
	other.Fault(func(f *mesostest.Faults) { f.Recovering = false })
	r.eventually(func() bool { return other.FrameworkID() == id && r.scheduler.View().Subscribed == other.Address() }, "the new leader is found")
}

func TestMastersThatDoNotAgree(t *testing.T) {
	r := newRig(t, 1)
	other := mesostest.New(t)
	other.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + r.master.Address() + "/api/v1/scheduler" })
	r.master.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + other.Address() + "/api/v1/scheduler" })
	log := r.captureLog()
	r.start()
	r.eventually(func() bool { return strings.Contains(log.String(), "no leader after 5 redirects") }, "it does not follow for ever")
	r.master.Fault(func(f *mesostest.Faults) { f.Redirect = "" })
	r.subscribed(1)
}

func TestAMasterThatIsAwayIsTriedAgain(t *testing.T) {
	r := newRig(t, 1)
	log := r.captureLog()
	r.startWith("127.0.0.1:1")
	r.eventually(func() bool { return strings.Contains(log.String(), "subscribe at 127.0.0.1:1") }, "the log names the master")
}

func TestARedirectToNowhere(t *testing.T) {
	r := newRig(t, 1)
	nowhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTemporaryRedirect) }))
	defer nowhere.Close()
	log := r.captureLog()
	r.startWith(nowhere.URL)
	r.eventually(func() bool { return strings.Contains(log.String(), "names no leader") }, "the log says so")
}

func TestAFailedCallEndsTheSubscription(t *testing.T) {
	r := newRig(t, 1)
	r.master.Fault(func(f *mesostest.Faults) {
		f.Answer = map[v1.Call_Type]int{v1.Call_ACCEPT: http.StatusServiceUnavailable}
	})
	r.agents(1, 1)
	log := r.captureLog()
	r.start()
	r.eventually(func() bool { return strings.Contains(log.String(), "send ACCEPT: master answers 503") }, "the call fails")
	r.master.Fault(func(f *mesostest.Faults) { f.Answer = nil })
	r.running(1)
	r.eventually(func() bool { return len(r.runningTasks()) == 1 }, "one task")
}

func TestErrorsThatStopTheScheduler(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*mesostest.Master)
		says    string
	}{
		"removed":     {(*mesostest.Master).Remove, "start once with --new-framework"},
		"completed":   {func(m *mesostest.Master) { m.Error("Completed framework attempted to re-register") }, "start once with --new-framework"},
		"failed over": {func(m *mesostest.Master) { m.Error("Framework failed over") }, "another scheduler of this framework took over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.agents(1, 1)
			r.start()
			r.running(1)
			c.happens(r.master)
			assert.ErrorContains(t, r.failure(r.result), c.says)
		})
	}
}

func TestARemovedFrameworkCanBeginAnew(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	old := r.master.FrameworkID()
	r.master.Remove()
	require.Error(t, r.failure(r.result))
	r.options.NewFramework = true
	r.start()
	r.eventually(func() bool { n := r.node(1); return n.Phase == coordinator.Running && n.Epoch == 2 }, "node 1 starts again")
	assert.NotEqual(t, old, r.master.FrameworkID())
	assert.Equal(t, []string{"es-1-2"}, r.runningTasks())
}

func TestTheSecondSchedulerEndsTheFirst(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	first := r.result
	r.start()
	assert.ErrorContains(t, r.failure(first), "another scheduler of this framework took over")
	r.running(1)
	assert.Equal(t, []string{"es-1-1"}, r.runningTasks())
}

func TestARefusedCallDoesNotHideThatAnotherTookOver(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	before := len(r.master.Calls(v1.Call_REVIVE))
	r.master.Fault(func(f *mesostest.Faults) {
		f.Answer = map[v1.Call_Type]int{v1.Call_REVIVE: http.StatusBadRequest}
	})
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Target: 2}))
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_REVIVE)) > before }, "a call is refused")
	r.master.Error("Framework failed over")
	assert.ErrorContains(t, r.failure(r.result), "another scheduler of this framework took over")
}

func TestAMasterFailoverChangesNothing(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.running(1, 2)
	id := r.master.FrameworkID()
	r.master.Failover()
	r.subscribed(2)
	r.eventually(func() bool { return !r.node(1).Settled }, "nothing is known for now")
	r.master.Reregister("agent-1")
	r.master.Reregister("agent-2")
	r.eventually(func() bool { return r.node(1).Settled && r.node(2).Settled }, "asked again, the master knows")
	assert.Equal(t, id, r.master.FrameworkID())
	assert.Equal(t, []string{"es-1-1", "es-2-1"}, r.runningTasks())
	assert.Len(t, r.master.Calls(v1.Call_ACCEPT), 2)
}

func TestAnEventOfManyMegabytes(t *testing.T) {
	r := newRig(t, 1)
	long := strings.Repeat("x", 8<<10)
	for i := 1; i <= 1000; i++ {
		a := agent(i)
		a.Attributes = []mesos.Attribute{{Name: "long", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: long}}}
		r.master.AddAgent(a)
	}
	r.start()
	r.running(1)
}

func TestBadSettings(t *testing.T) {
	good := scheduler.Options{ExecutorPath: "/usr/bin/mooring"}
	for name, c := range map[string]struct {
		masters []string
		change  func(*scheduler.Options)
		says    string
	}{
		"no master":     {nil, nil, "no master given: use host:port, http://host:port or https://host:port"},
		"scheme":        {[]string{"ftp://h:2181"}, nil, `master "ftp://h:2181": scheme "ftp" is not known here, use host:port`},
		"no path":       {[]string{"zk://a:b@h:2181"}, nil, `masters: address of ZooKeeper: its path "/" is not one such as`},
		"http":          {[]string{"http://h:5050"}, func(o *scheduler.Options) { o.MasterTLS = true }, `master "http://h:5050" is not to be asked by HTTPS, the others are`},
		"mixed":         {[]string{"zk://a:b@h:2181/mesos", "h:5050"}, nil, "masters: an address in ZooKeeper stands for all, give it alone"},
		"in a list":     {[]string{"h:5050,zk"}, nil, `master "zk": use host:port`},
		"no port":       {[]string{"leader"}, nil, `master "leader": use host:port`},
		"a path":        {[]string{"http://leader:5050/api"}, nil, "without a path"},
		"no number":     {[]string{"leader:http"}, nil, `master "leader:http": use host:port`},
		"credentials":   {[]string{"http://a:b@leader:5050"}, nil, `master at "leader:5050": give credentials as principal and secret`},
		"zks":           {[]string{"zks://a:b@h:2181/mesos"}, nil, `master at "h:2181/mesos": give credentials as principal and secret`},
		"both reported": {[]string{"ftp://x:1", "y"}, nil, "ftp"},
		"short timeout": {nil, func(o *scheduler.Options) { o.FailoverTimeout = time.Second }, "failover timeout 1s: use at least 1m"},
		"containerizer": {nil, func(o *scheduler.Options) { o.Containerizer = "rkt" }, `containerizer "rkt": use "mesos" or "docker"`},
		"relative path": {nil, func(o *scheduler.Options) { o.ExecutorPath = "mooring" }, `executor path "mooring": use an absolute path`},
		"driver":        {nil, func(o *scheduler.Options) { o.DriverState = "lib" }, `state directory of the volume driver "lib": use an absolute path`},
		"no binary":     {nil, func(o *scheduler.Options) { o.ExecutorPath = "" }, "neither executor path nor artifact URL"},
	} {
		t.Run(name, func(t *testing.T) {
			options := good
			if c.change != nil {
				c.change(&options)
				if c.masters == nil {
					c.masters = []string{"leader:5050"}
				}
			}
			_, err := scheduler.New(c.masters, rules(), nil, options)
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), "a:b")
		})
	}
}
