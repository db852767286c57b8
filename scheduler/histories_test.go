package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	historyPatience = 2 * time.Minute
)

// What the model of the rules plays fast is played here by a real scheduler, over HTTP: agents get lost and return, masters fail over,
// connections break, saves fail, calls are lost, executors end, and the scheduler is stopped and started. No call asks for a launch
// that was not saved, and in the end everything wanted runs, and nothing else.
func TestARealSchedulerInRandomHistories(t *testing.T) {
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newMishaps(t, seed)
			h.start()
			for range 8 {
				h.befall()
			}
			h.heal()
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

	mu    sync.Mutex
	saved map[string]bool // launches that were
	fail  int             // the next save but so many fails; negative: none
}

func newMishaps(t *testing.T, seed uint64) *mishaps {
	h := &mishaps{rig: newRig(t, historyNodes), rng: rand.New(rand.NewPCG(seed, 0)), saved: map[string]bool{}, fail: -1}
	h.agents(1, historyAgents)
	h.proxy = mesostest.NewProxy(t, h.master.Address())
	h.proxy.At(h.sees)
	h.store.Fail(h.mayFail, h.keeps)
	return h
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
	for _, n := range s.Nodes {
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
				h.t.Errorf("%s is launched, and was not saved", task.TaskID.Value)
			}
		}
	}
}

func (h *mishaps) start() {
	h.startWith(h.proxy.Address())
	h.up = true
}

func (h *mishaps) befall() {
	agent := fmt.Sprintf("agent-%d", 1+h.rng.IntN(historyAgents))
	tasks := h.runningTasks()
	switch kind := h.rng.IntN(8); {
	case kind == 0 && !slices.Contains(h.lost, agent):
		h.master.LoseAgent(agent)
		h.lost = append(h.lost, agent)
	case kind == 1:
		h.returnAll()
	case kind == 2:
		h.master.Cut()
	case kind == 3:
		h.master.Failover()
		h.lost = nil
		for i := range historyAgents {
			h.master.Reregister(fmt.Sprintf("agent-%d", i+1))
		}
	case kind == 4 && h.up:
		h.stop()
		h.up = false
	case kind == 5 && len(tasks) > 0:
		h.master.Update(tasks[h.rng.IntN(len(tasks))], mesos.TASK_FAILED, nil)
	case kind == 6:
		h.mu.Lock()
		h.fail = h.rng.IntN(4)
		h.mu.Unlock()
	case kind == 7:
		lose := []v1.Call_Type{v1.Call_ACCEPT, v1.Call_ACKNOWLEDGE, v1.Call_KILL, v1.Call_RECONCILE}[h.rng.IntN(4)]
		h.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{lose: !f.Lose[lose]} })
	}
	if !h.up && h.rng.IntN(2) == 0 {
		h.start()
	}
	h.pause()
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
	for _, n := range h.scheduler.View().State.Nodes {
		if n.Phase != coordinator.Running {
			return false
		}
		current = append(current, coordinator.TaskID("es", n.ID, n.Epoch))
	}
	return len(current) == historyNodes && slices.Equal(current, h.runningTasks()) && h.master.Unacknowledged() == 0
}
