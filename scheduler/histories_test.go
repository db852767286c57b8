package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
)

const (
	histories       = 24 // most of their time is spent in waiting, all at once
	historyAgents   = 5
	historyNodes    = 3
	mishapsEach     = 10
	historyPatience = 2 * time.Minute
)

// What the model of the rules plays fast is played here by a real scheduler, over HTTP: agents get lost and return, masters fail over,
// connections break, saves fail, calls are lost, executors end, hosts fall silent, operators give orders, and the scheduler is stopped and started. No
// call asks for a launch that was not saved, nothing is launched on a silent host, each order is durable when it was answered well and nothing of it is when it was not,
// and in the end everything that the operators want runs, and nothing else.
func TestARealSchedulerInRandomHistories(t *testing.T) {
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newMishaps(t, seed)
			h.start()
			for range mishapsEach {
				h.befall()
			}
			h.heal()
			require.Empty(t, h.wrongs())
		})
	}
}

// mishaps befall a rig.
type mishaps struct {
	*rig
	rng   *rand.Rand
	proxy *mesostest.Proxy
	lost  []string // agents
	up    bool

	pulse    *pulse // of the hosts; a scheduler sees it if volumes fence
	operator operator
	history  []string // what befell, in order

	mu     sync.Mutex
	saved  map[string]bool // launches that were
	epochs []uint64        // as saved last
	fail   int             // the next save but so many fails; negative: none
	wrong  []string
}

func newMishaps(t *testing.T, seed uint64) *mishaps {
	h := &mishaps{
		rig: newRig(t, historyNodes), rng: rand.New(rand.NewPCG(seed, 0)), operator: newOperator(historyNodes), saved: map[string]bool{}, fail: -1,
	}
	t.Cleanup(func() { t.Logf("seed %d: %s", seed, strings.Join(h.history, "; ")) })
	h.pulse = &pulse{}
	if h.rules.Fencing = seed%2 == 0; h.rules.Fencing { // else lost nodes wait for their agent, or for forgiveness
		h.options.Heartbeats = h.pulse.begin
	}
	h.agents(1, historyAgents)
	h.proxy = mesostest.NewProxy(t, h.master.Address())
	h.proxy.At(h.sees)
	h.store.Fail(h.mayFail, h.keeps)
	return h
}

// notices keeps what should not be.
func (h *mishaps) notices(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

func (h *mishaps) wrongs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.wrong)
}

func (h *mishaps) mayFail(coordinator.State) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail--; h.fail == -1 {
		return errors.New("disk full")
	}
	return nil
}

func (h *mishaps) keeps(s coordinator.State) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, n := range s.Nodes {
		if i == len(h.epochs) {
			h.epochs = append(h.epochs, 0)
		}
		if n.Epoch < h.epochs[i] {
			h.wrong = append(h.wrong, fmt.Sprintf("node %d goes back from epoch %d to %d", n.ID, h.epochs[i], n.Epoch))
		}
		if host := s.SilentHost(n.Place.Agent); n.Epoch > h.epochs[i] && host != "" {
			h.wrong = append(h.wrong, fmt.Sprintf("node %d is to be launched on %s, which is silent", n.ID, host))
		}
		h.epochs[i] = n.Epoch
		if n.Phase == coordinator.Claimed {
			h.saved[coordinator.TaskID(s.Framework, n.ID, n.Epoch)] = true
		}
	}
	return nil
}

// sees looks at each call before the master does.
func (h *mishaps) sees(call *v1.Call, answer int) {
	if call.Type != v1.Call_ACCEPT || answer != 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range call.Accept.Operations {
		for _, task := range o.Launch.TaskInfos {
			if !h.saved[task.TaskID.Value] {
				h.wrong = append(h.wrong, task.TaskID.Value+" is launched, and was not saved")
			}
		}
	}
}

func (h *mishaps) start() {
	h.startWith(h.proxy.Address())
	h.eventually(func() bool { return h.scheduler.View().Loaded }, "the state is read")
	h.up = true
}

func (h *mishaps) befall() {
	agent := fmt.Sprintf("agent-%d", 1+h.rng.IntN(historyAgents))
	tasks := h.runningTasks()
	switch kind := h.rng.IntN(14); {
	case kind == 0 && !slices.Contains(h.lost, agent):
		h.happens("%s is lost", agent)
		h.master.LoseAgent(agent)
		h.lost = append(h.lost, agent)
	case kind == 1:
		h.happens("%v return", h.lost)
		h.returnAll()
	case kind == 2:
		h.happens("the connection breaks")
		h.master.Cut()
	case kind == 3:
		h.happens("the master fails over")
		h.master.Failover()
		h.lost = nil
		for i := range historyAgents {
			h.master.Reregister(fmt.Sprintf("agent-%d", i+1))
		}
	case kind == 4 && h.up:
		h.happens("the scheduler stops")
		h.stop()
		h.up = false
	case kind == 5 && len(tasks) > 0:
		task := tasks[h.rng.IntN(len(tasks))]
		h.happens("%s fails", task)
		h.master.Update(task, mesos.TASK_FAILED, nil)
	case kind == 6:
		h.mu.Lock()
		h.fail = h.rng.IntN(4)
		h.history = append(h.history, fmt.Sprintf("the next save but %d fails", h.fail))
		h.mu.Unlock()
	case kind == 7:
		lose := []v1.Call_Type{v1.Call_ACCEPT, v1.Call_ACKNOWLEDGE, v1.Call_KILL, v1.Call_RECONCILE}[h.rng.IntN(4)]
		h.happens("of lost calls, %s is one or is none any more, no other is", lose)
		h.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{lose: !f.Lose[lose]} })
	case kind == 12 && h.rules.Fencing && h.up && h.master.Unacknowledged() == 0:
		h.fallSilent(agent)
	case kind == 13:
		h.happens("all hosts beat")
		h.beat("")
	case kind > 7 && kind < 12 && h.up:
		h.order(kind)
	}
	if !h.up && h.rng.IntN(2) == 0 {
		h.happens("a scheduler starts")
		h.start()
	}
	h.pause()
}

func (h *mishaps) happens(format string, args ...any) {
	h.history = append(h.history, fmt.Sprintf(format, args...))
}

// pause lets what was begun go on, until something is saved or a moment has passed.
func (h *mishaps) pause() {
	saves := h.store.Saves()
	for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline) && h.store.Saves() == saves; {
		time.Sleep(2 * time.Millisecond)
	}
}

func (h *mishaps) returnAll() {
	for _, agent := range h.lost {
		h.master.ReturnAgent(agent)
	}
	h.lost = nil
}

func (h *mishaps) heal() {
	h.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	h.returnAll()
	h.beat("")
	if h.up {
		h.stop() // so that everything which got lost is asked for again
	}
	h.start()
	require.Eventually(h.t, h.well, historyPatience, 20*time.Millisecond, "everything wanted runs, and nothing else")
	launched := map[string]bool{}
	for _, call := range h.master.Calls(v1.Call_ACCEPT) {
		for _, o := range call.Accept.Operations {
			for _, task := range o.Launch.TaskInfos {
				require.False(h.t, launched[task.TaskID.Value], "%s is launched twice", task.TaskID.Value)
				launched[task.TaskID.Value] = true
			}
		}
	}
}

func (h *mishaps) well() bool {
	var current []string
	for id, wanted := range h.operator.wanted() {
		if !wanted {
			continue
		}
		n := h.node(id)
		if n.Phase != coordinator.Running || n.Epoch <= h.operator.replaced[id] {
			return false
		}
		current = append(current, coordinator.TaskID("es", id, n.Epoch))
	}
	if len(h.scheduler.View().State.Silent) > 0 {
		return false
	}
	return slices.Equal(current, h.runningTasks()) && h.master.Unacknowledged() == 0
}
