package scheduler_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/test/ports"
)

// logs waits until the log contains a text.
func (r *rig) logs(log *buffer, text string) {
	r.t.Helper()
	r.eventually(func() bool { return strings.Contains(log.String(), text) }, "the log says "+text)
}

func TestAStreamThatCannotBeReadIsDropped(t *testing.T) {
	for name, c := range map[string]struct{ sent, says string }{
		"a record that is too long": {"999999999\n", "record of 999999999 bytes is over the limit of 268435456"},
		"a length without end":      {strings.Repeat("1", 40), "is too long for a number"},
		"no length":                 {"{}\n", "is no number"},
		"a record that is no event": {"3\nabc", "decode 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.agents(1, 1)
			log := r.captureLog()
			r.start()
			r.running(1)
			r.master.Garble([]byte(c.sent))
			r.logs(log, c.says)
			r.subscribed(2)
			r.eventually(func() bool { return r.node(1).Settled }, "what was missed is asked for")
			assert.EqualValues(t, 1, r.node(1).Epoch)
		})
	}
}

func TestASlowStoreDoesNotMakeTheMasterLookSilent(t *testing.T) {
	r := newRig(t, 1)
	r.master.Heartbeat = 300 * time.Millisecond // five may be missed: shorter ones would be on a busy machine
	r.agents(1, 1)
	r.start()
	r.running(1)
	stuck, free := make(chan struct{}), make(chan struct{})
	r.store.Fail(func(coordinator.State) error {
		select {
		case <-stuck:
		default:
			close(stuck)
			<-free
		}
		return nil
	}, nil)
	r.master.Update("es-1-1", mesos.TASK_RUNNING, []byte(`{"ready":true,"cluster":"uuid"}`))
	<-stuck
	before := r.master.Beats()
	r.eventually(func() bool { return r.master.Beats() > before+6 }, "the master says much meanwhile")
	close(free)
	r.eventually(func() bool { return r.node(1).Ready && r.master.Unacknowledged() == 0 }, "all of it is read")
	n, now := r.master.Subscribed()
	assert.True(t, now)
	assert.Equal(t, 1, n, "the time was ours, the master was not silent")
}

func TestUpdatesThatNobodyWaitsForAreNotAcknowledged(t *testing.T) {
	r := newRig(t, 1)
	r.rules.Fencing = false
	r.agents(1, 1)
	r.start()
	r.running(1)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "RUNNING is acknowledged")
	r.master.LoseAgent("agent-1")
	r.eventually(func() bool { return r.node(1).Phase == coordinator.Lost }, "node 1 is lost")
	told := len(r.master.Calls(v1.Call_MESSAGE))
	r.master.ReturnAgent("agent-1")
	r.running(1)
	r.eventually(func() bool {
		messages := r.master.Calls(v1.Call_MESSAGE)
		return len(messages) > told && bytes.Contains(messages[told].Message.Data, []byte(`"tell":true`))
	}, "its executor is asked whether it has joined")
	r.master.Update("es-1-1", mesos.TASK_RUNNING, []byte(`{"ready":true,"cluster":"uuid"}`))
	r.eventually(func() bool { return r.node(1).Ready && r.master.Unacknowledged() == 0 }, "the executor says more")
	assert.Len(t, r.master.Calls(v1.Call_ACKNOWLEDGE), 2, "one for each of the executor's own, none for what the master made up")
	n, _ := r.master.Subscribed()
	assert.Equal(t, 1, n, "a call without UUID would have been refused")
}

func TestTheNextUpdateComesOnceTheOneBeforeIsAcknowledged(t *testing.T) {
	r := newRig(t, 1)
	r.master.AutoRun = false
	r.agents(1, 1)
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{v1.Call_ACKNOWLEDGE: true} })
	r.start()
	r.eventually(func() bool { return len(r.master.Tasks(mesos.TASK_STAGING)) == 1 }, "a launch")
	r.master.Update("es-1-1", mesos.TASK_STARTING, nil)
	r.master.Update("es-1-1", mesos.TASK_RUNNING, nil)
	r.eventually(func() bool { return r.node(1).Begun && len(r.master.Calls(v1.Call_ACKNOWLEDGE)) == 1 }, "STARTING is acknowledged, in vain")
	require.Equal(t, coordinator.Claimed, r.node(1).Phase, "RUNNING waits")
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	r.master.Resend()
	r.running(1)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "both are acknowledged")
}

func TestAnUpdateThatComesTwiceAndLateCountsOnce(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.start()
	r.running(1)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "RUNNING is acknowledged")
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{v1.Call_ACKNOWLEDGE: true} })
	r.master.Update("es-1-1", mesos.TASK_FAILED, []byte(`{"fault":4}`))
	r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs again")
	before := r.node(1)
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	r.master.Resend()
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "the end of epoch 1 is acknowledged, at last")
	after := r.node(1)
	assert.Equal(t, before.Failures, after.Failures)
	assert.True(t, r.runs(1, 2))
	assert.EqualValues(t, 2, after.Epoch)
	assert.Equal(t, []string{"es-1-2"}, r.runningTasks())
}

// For a while nothing is known and nothing said; then the master gives the agent up, whose tasks it never knew.
func TestAnAgentThatDoesNotComeBackAfterAFailoverOfTheMaster(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 2)
	r.start()
	r.running(1)
	lost := r.node(1).Place.Agent
	r.master.Failover()
	r.subscribed(2)
	r.eventually(func() bool { return !r.node(1).Settled }, "nobody answers")
	r.master.Reregister("agent-1")
	r.master.Reregister("agent-2")
	r.eventually(func() bool { return r.node(1).Settled }, "an agent answers")

	r.master.Failover()
	r.subscribed(3)
	other := map[string]string{"agent-1": "agent-2", "agent-2": "agent-1"}[lost]
	r.master.Reregister(other)
	r.eventually(func() bool { return !r.node(1).Settled }, "nobody answers for the node")
	assert.Equal(t, coordinator.Running, r.node(1).Phase, "silence is no end")
	r.master.LoseAgent(lost)
	r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs elsewhere")
	assert.Equal(t, other, r.node(1).Place.Agent)
}

func TestARedirectToADeadLeaderIsTriedUntilThereIsAnother(t *testing.T) {
	r := newRig(t, 1)
	nobody := ports.Free(t)
	standby := mesostest.New(t)
	standby.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + nobody + "/master/api/v1/scheduler" })
	r.agents(1, 1)
	log := r.captureLog()
	r.startWith(standby.Address())
	r.logs(log, "subscribe at "+standby.Address())
	r.logs(log, "connection refused")
	standby.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + r.master.Address() + "/master/api/v1/scheduler" })
	r.running(1)
}

func TestAMasterThatRecoversIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(f *mesostest.Faults, on bool)
		says  string
	}{
		"its registry":    {func(f *mesostest.Faults, on bool) { f.Recovering = on }, "503 Service Unavailable: Master has not finished recovery"},
		"from its leader": {func(f *mesostest.Faults, on bool) { f.Leaderless = on }, "503 Service Unavailable: No leader elected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.agents(1, 2)
			log := r.captureLog()
			r.master.Fault(func(f *mesostest.Faults) { c.fault(f, true) })
			r.start()
			r.logs(log, c.says)
			require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Scale{At: time.Now(), Target: 2}))
			assert.Empty(t, r.master.Calls())
			r.master.Fault(func(f *mesostest.Faults) { c.fault(f, false) })
			r.running(1, 2)
			assert.Equal(t, v1.Call_SUBSCRIBE, r.master.Calls()[0].Type, "nothing is said before")
			n, _ := r.master.Subscribed()
			assert.Equal(t, 1, n)
		})
	}
}
