package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/mesostest"
)

const orderPoints = 8 // more saves than an order takes

// dies calls test for a scheduler that dies at each of some saves, before it is done or just after.
func dies(t *testing.T, test func(t *testing.T, arm func(*rig) (dead <-chan struct{}))) {
	for name, written := range map[string]bool{"before a save": false, "between a save and what follows": true} {
		for point := range orderPoints {
			t.Run(fmt.Sprintf("%s, save %d", name, point), func(t *testing.T) {
				t.Parallel()
				test(t, func(r *rig) <-chan struct{} {
					dead := make(chan struct{})
					if written {
						r.store.Fail(nil, dieAt(point, dead))
					} else {
						r.store.Fail(dieAt(point, dead), nil)
					}
					return dead
				})
			})
		}
	}
}

// again starts a scheduler on what a dead one left, and repeats an order that was not answered well: an operator would.
func (r *rig) again(e coordinator.Event, err error) {
	r.t.Helper()
	r.store.Fail(nil, nil)
	r.start()
	if err != nil {
		r.subscribed(2)
		require.NoError(r.t, r.scheduler.Apply(r.t.Context(), e))
	}
}

func (r *rig) runs(id coordinator.NodeID, epoch uint64) bool {
	n := r.node(id)
	return n.Phase == coordinator.Running && n.Epoch >= epoch
}

func TestAnOrderIsCarriedOutWhateverDies(t *testing.T) {
	now := time.Now()
	for name, o := range map[string]struct {
		order coordinator.Event
		done  func(r *rig) bool
	}{
		"scale up":   {coordinator.Scale{At: now, Target: 3}, func(r *rig) bool { return r.runs(3, 1) && len(r.runningTasks()) == 3 }},
		"scale down": {coordinator.Scale{At: now, Target: 1}, func(r *rig) bool { return r.runs(1, 1) && len(r.runningTasks()) == 1 }},
		"restart":    {coordinator.Order{At: now, Node: 2, Intent: coordinator.Restart}, func(r *rig) bool { return r.runs(2, 2) && len(r.runningTasks()) == 2 }},
		"retire": {coordinator.Order{At: now, Node: 1, Intent: coordinator.Retire}, func(r *rig) bool {
			return r.node(1).Phase == coordinator.Vacant && r.runs(2, 1) && len(r.runningTasks()) == 1 && r.scheduler.View().State.Target == 1
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dies(t, func(t *testing.T, arm func(*rig) <-chan struct{}) {
				r := newRig(t, 2)
				r.agents(1, 4)
				r.start()
				r.settled()
				dead := arm(r)
				err := r.scheduler.Apply(t.Context(), o.order)
				r.eventually(func() bool { return closed(dead) || o.done(r) }, "it dies, or is done before that save")
				r.stop()
				r.again(o.order, err)
				r.eventually(func() bool { return o.done(r) }, "the order is carried out")
			})
		})
	}
}

func TestForgivenessSurvivesADeath(t *testing.T) {
	dies(t, func(t *testing.T, arm func(*rig) <-chan struct{}) {
		r := newRig(t, 2)
		r.rules.Fencing = false
		r.agents(1, 3)
		r.start()
		r.settled()
		r.master.LoseAgent(r.node(1).Place.Agent)
		r.eventually(func() bool { return r.node(1).Phase == coordinator.Lost }, "node 1 is lost")
		dead := arm(r)
		word := coordinator.Forgive{At: time.Now(), Node: 1}
		err := r.scheduler.Apply(t.Context(), word)
		r.eventually(func() bool { return closed(dead) || r.runs(1, 2) }, "it dies, or is done before that save")
		r.stop()
		r.again(word, err)
		r.eventually(func() bool { return r.runs(1, 2) }, "node 1 runs elsewhere")
	})
}

// gone checks that the framework is uninstalled, and that its tasks were ended before.
func (r *rig) gone() {
	r.t.Helper()
	assert.Empty(r.t, r.runningTasks(), "the framework was torn down while a node ran")
	assert.NotEmpty(r.t, r.master.Calls(v1.Call_TEARDOWN))
	state, err := r.store.Load(r.t.Context())
	require.NoError(r.t, err)
	assert.Equal(r.t, coordinator.Uninstalled, state.Removal)
	assert.Len(r.t, state.Nodes, 2, "epochs are kept")
}

func TestUninstallIsCarriedOutWhateverDies(t *testing.T) {
	dies(t, func(t *testing.T, arm func(*rig) <-chan struct{}) {
		r := newRig(t, 2)
		r.agents(1, 2)
		r.start()
		r.settled()
		dead := arm(r)
		order := coordinator.Uninstall{At: time.Now()}
		err := r.scheduler.Apply(t.Context(), order)
		r.eventually(func() bool { return closed(dead) || len(r.result) > 0 }, "it dies, or is done before that save")
		if ended := r.end(); ended != nil && err == nil {
			require.True(t, closed(dead) || ended == scheduler.ErrUninstalled, "%v", ended)
		}
		if s, _ := r.store.Load(t.Context()); s.Removal != coordinator.Installed {
			err = nil // it is durable, though its answer was lost
		}
		r.again(order, err)
		ended := r.failure(r.result)
		if ended != scheduler.ErrUninstalled {
			require.ErrorContains(t, ended, "framework es was uninstalled at ")
			require.ErrorContains(t, ended, "start once with --new-framework to install it again")
		}
		r.gone()
	})
}

func TestATeardownThatIsLostIsSentAgain(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"the master fails over and takes the old framework for a new one": func(r *rig) {
			r.master.Failover()
			r.master.Reregister("agent-1")
			r.master.Reregister("agent-2")
		},
		"the connection breaks": func(r *rig) { r.master.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			r.agents(1, 2)
			r.start()
			r.settled()
			loseTeardown(r, true)
			require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Uninstall{At: time.Now()}))
			r.eventually(func() bool { return len(r.master.Calls(v1.Call_TEARDOWN)) > 0 }, "the framework is to be forgotten")
			loseTeardown(r, false)
			lose(r)
			require.Equal(t, scheduler.ErrUninstalled, r.failure(r.result))
			r.gone()
		})
	}
}

func TestAnUninstalledFrameworkIsInstalledAgainOnRequestOnly(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.settled()
	was := r.scheduler.View().State.FrameworkID
	require.NoError(t, r.scheduler.Apply(t.Context(), coordinator.Uninstall{At: time.Now()}))
	require.Equal(t, scheduler.ErrUninstalled, r.failure(r.result))
	r.start()
	require.ErrorContains(t, r.failure(r.result), "framework es was uninstalled at ")
	r.options.NewFramework = true
	r.start()
	r.eventually(func() bool { return r.runs(1, 2) && r.runs(2, 2) }, "the nodes run again, under their IDs")
	assert.NotEqual(t, was, r.scheduler.View().State.FrameworkID)
}

func loseTeardown(r *rig, lose bool) {
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{v1.Call_TEARDOWN: lose} })
}
