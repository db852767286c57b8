package scheduler_test

import (
	"errors"
	"fmt"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
)

const crashPoints = 12 // more saves than it takes to start two nodes

// settled waits until two nodes run, and checks that it is two tasks and no more that the master knows.
func (r *rig) settled() {
	r.t.Helper()
	r.running(1, 2)
	r.eventually(func() bool { return len(r.runningTasks()) == 2 && r.master.Unacknowledged() == 0 }, "two tasks, all acknowledged")
	var ids []coordinator.NodeID
	for _, task := range r.runningTasks() {
		id, epoch, ours := coordinator.ParseTaskID("es", task)
		require.True(r.t, ours)
		assert.Equal(r.t, r.node(id).Epoch, epoch, "the task that runs is of the current epoch")
		ids = append(ids, id)
	}
	assert.Equal(r.t, []coordinator.NodeID{1, 2}, ids)
}

func TestASaveThatFails(t *testing.T) {
	for name, noticed := range map[string]bool{"nothing was written": true, "all was written": false} {
		for point := range crashPoints {
			t.Run(fmt.Sprintf("%s, save %d", name, point), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				r.agents(1, 2)
				fail := failAt(point)
				if noticed {
					r.store.Fail(fail, nil)
				} else {
					r.store.Fail(nil, fail)
				}
				r.start()
				r.settled()
			})
		}
	}
}

// failAt fails once, at a certain save.
func failAt(point int) func(coordinator.State) error {
	saves := 0
	return func(coordinator.State) error {
		saves++
		if saves == point+1 {
			return errors.New("disk full")
		}
		return nil
	}
}

func TestASchedulerThatDies(t *testing.T) {
	for name, written := range map[string]bool{"before a save": false, "between a save and what follows": true} {
		for point := range crashPoints {
			t.Run(fmt.Sprintf("%s, save %d", name, point), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				r.agents(1, 2)
				dead := make(chan struct{})
				die := dieAt(point, dead)
				if written {
					r.store.Fail(nil, die)
				} else {
					r.store.Fail(die, nil)
				}
				r.start()
				r.eventually(func() bool { return closed(dead) || r.allRun() }, "it dies, or is done before that save")
				r.stop()
				r.store.Fail(nil, nil)
				r.start()
				r.settled()
			})
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (r *rig) allRun() bool {
	return r.node(1).Phase == coordinator.Running && r.node(2).Phase == coordinator.Running && len(r.master.Calls(v1.Call_SUPPRESS)) > 0
}

// dieAt fails from a certain save on, so that nothing is done any more.
func dieAt(point int, dead chan<- struct{}) func(coordinator.State) error {
	saves := 0
	return func(coordinator.State) error {
		if saves++; saves == point+1 {
			close(dead)
		}
		if saves > point {
			return errors.New("dead")
		}
		return nil
	}
}

func TestALaunchThatIsLostOnTheWay(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{v1.Call_ACCEPT: true} })
	r.start()
	r.eventually(func() bool { return len(r.master.Calls(v1.Call_ACCEPT)) == 2 }, "two launches are asked for")
	r.stop()
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	r.start()
	r.settled()
	assert.EqualValues(t, 2, r.node(1).Epoch, "the lost launch is not repeated under its old name")
}

func TestDeathBeforeTheAcknowledgement(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{v1.Call_ACKNOWLEDGE: true} })
	r.start()
	r.running(1, 2)
	r.stop()
	require.Equal(t, 2, r.master.Unacknowledged())
	r.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	r.start()
	r.settled()
	assert.Len(t, r.master.Calls(v1.Call_ACCEPT), 2, "nothing is launched twice")
}

func TestATaskThatEndsWhileNoSchedulerIsThere(t *testing.T) {
	r := newRig(t, 2)
	r.agents(1, 2)
	r.start()
	r.settled()
	r.stop()
	r.master.Update("es-1-1", mesos.TASK_KILLED, nil)
	r.start()
	r.eventually(func() bool { return r.node(1).Epoch == 2 }, "it is noticed")
	r.settled()
}

func TestAnOrderThatCannotBeSaved(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 2)
	r.start()
	r.running(1)
	r.store.Fail(func(coordinator.State) error { return errors.New("disk full") }, nil)
	err := r.scheduler.Apply(t.Context(), coordinator.Scale{Target: 2})
	require.ErrorContains(t, err, "save state: disk full")
	assert.Equal(t, 1, r.scheduler.View().State.Target, "it did not happen")
	assert.Equal(t, err.Error(), r.scheduler.View().StoreError)
	r.store.Fail(nil, nil)
	r.subscribed(2)
	assert.Empty(t, r.scheduler.View().StoreError)
}

func TestAnOrderForASchedulerThatHasEnded(t *testing.T) {
	r := newRig(t, 1)
	r.start()
	r.subscribed(1)
	r.stop()
	require.ErrorContains(t, r.scheduler.Apply(t.Context(), coordinator.Scale{Target: 2}), "this scheduler has ended")
}
