package scheduler_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
)

// proxied starts the scheduler behind a proxy, and returns once nodes run and all that they said is acknowledged. From then on it tells
// of each acknowledgement before it is passed on.
func (r *rig) proxied(nodes int, at func(*v1.Call_Acknowledge)) {
	r.t.Helper()
	proxy := mesostest.NewProxy(r.t, r.master.Address())
	r.agents(1, nodes)
	r.startWith(proxy.Address())
	r.eventually(func() bool { return len(r.runningTasks()) == nodes && r.master.Unacknowledged() == 0 }, "all nodes run")
	proxy.At(func(call *v1.Call, answer int) {
		if call.Type == v1.Call_ACKNOWLEDGE && answer == 0 {
			at(call.Acknowledge)
		}
	})
}

// report has all nodes tell the size of their data volume.
func (r *rig) report(nodes, size int) {
	r.t.Helper()
	for id := range nodes {
		r.master.Update(coordinator.TaskID("es", coordinator.NodeID(id+1), 1), mesos.TASK_RUNNING, fmt.Appendf(nil, `{"host":"h%d","sizes":{"data":%d}}`, id, size))
	}
}

func TestAnAcknowledgementDoesNotWaitForOthers(t *testing.T) {
	const nodes = 3
	r := newRig(t, nodes)
	var mu sync.Mutex
	came := 0
	all := make(chan struct{})
	alone := false
	r.proxied(nodes, func(*v1.Call_Acknowledge) {
		mu.Lock()
		if came++; came == nodes {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
		case <-time.After(patience / 2):
			mu.Lock()
			alone = true
			mu.Unlock()
		}
	})
	r.report(nodes, 1)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "all is acknowledged")
	mu.Lock()
	defer mu.Unlock()
	assert.False(t, alone, "none was passed on before all had come")
}

// Each of some nodes tells one size of its volume after the other. Mesos passes on the next one when it got the acknowledgement of the
// one before, so when an acknowledgement comes, the store holds just what it is for.
func TestNothingIsAcknowledgedBeforeItIsSaved(t *testing.T) {
	const nodes, updates = 20, 30
	r := newRig(t, nodes)
	var mu sync.Mutex
	sizes := map[string]int64{} // how many were acknowledged; update number 1 tells size 1
	var wrong []string
	r.proxied(nodes, func(a *v1.Call_Acknowledge) {
		saved, err := r.store.Load(t.Context())
		mu.Lock()
		defer mu.Unlock()
		sizes[a.TaskID.Value]++
		id, _, ours := coordinator.ParseTaskID("es", a.TaskID.Value)
		if len(wrong) > 3 {
			return
		}
		if err != nil || !ours || saved.Nodes[id-1].Sizes.Data != sizes[a.TaskID.Value] {
			wrong = append(wrong, fmt.Sprintf("acknowledgement %d of %s, saved: %+v, %v", sizes[a.TaskID.Value], a.TaskID.Value, saved.Nodes[id-1].Sizes, err))
		}
	})
	for i := range updates {
		r.report(nodes, i+1)
	}
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "all is acknowledged")
	mu.Lock()
	defer mu.Unlock()
	assert.Empty(t, wrong)
	for id := range nodes {
		assert.EqualValues(t, updates, sizes[coordinator.TaskID("es", coordinator.NodeID(id+1), 1)])
		assert.EqualValues(t, updates, r.node(coordinator.NodeID(id+1)).Sizes.Data)
	}
}

// Acknowledgements are on their way when the subscription ends, and arrive when there is another one. What they were for comes again.
func TestAcknowledgementsThatArriveAfterTheirSubscription(t *testing.T) {
	const nodes = 3
	r := newRig(t, nodes)
	var mu sync.Mutex
	under := map[string]bool{}
	over := make(chan struct{})
	r.proxied(nodes, func(a *v1.Call_Acknowledge) {
		mu.Lock()
		under[a.TaskID.Value] = true
		mu.Unlock()
		<-over
	})
	t.Cleanup(func() {
		if !closed(over) {
			close(over)
		}
	})
	r.report(nodes, 1)
	r.eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(under) == nodes
	}, "three are on their way")
	r.master.Disconnect()
	r.subscribed(2)
	require.Equal(t, nodes, r.master.Unacknowledged())
	close(over)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "all is acknowledged")
	r.eventually(func() bool { return r.node(1).Settled && r.node(2).Settled && r.node(3).Settled }, "all was asked for")
	n, now := r.master.Subscribed()
	assert.True(t, now && n == 2, "the second subscription knows nothing of calls of the first")
	assert.Len(t, r.runningTasks(), nodes)
}

// What is not acknowledged because one acknowledgement was refused comes again with the next subscription.
func TestARefusedAcknowledgementEndsTheSubscription(t *testing.T) {
	const nodes = 30
	r := newRig(t, nodes)
	log := r.captureLog()
	r.proxied(nodes, func(*v1.Call_Acknowledge) {})
	r.master.Fault(func(f *mesostest.Faults) {
		f.Answer = map[v1.Call_Type]int{v1.Call_ACKNOWLEDGE: http.StatusServiceUnavailable}
	})
	r.report(nodes, 1)
	r.eventually(func() bool { return strings.Contains(log.String(), "send ACKNOWLEDGE: master answers 503") }, "an acknowledgement fails")
	r.master.Fault(func(f *mesostest.Faults) { f.Answer = nil })
	r.subscribed(2)
	r.eventually(func() bool { return r.master.Unacknowledged() == 0 }, "all is acknowledged")
	for id := range nodes {
		assert.EqualValues(t, 1, r.node(coordinator.NodeID(id+1)).Sizes.Data)
	}
}
