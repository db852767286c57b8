package mesos_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/test/zookeeper"
)

// moment is one in the launch of two nodes at which the scheduler is killed.
type moment struct {
	set    func(*launch)
	saved  bool      // by then the launches are in the store
	epochs [2]uint64 // of the nodes in the end: 2 if a launch was saved and Mesos never took the call
}

var never, once, twice = [2]uint64{}, [2]uint64{1, 1}, [2]uint64{2, 2}

var moments = map[string]moment{
	"before it hears of offers":                    {func(l *launch) { l.holdEvent(offers) }, false, once},
	"before the launches are saved":                {func(l *launch) { l.stopSave(offers) }, false, once},
	savedUnheard:                                   {func(l *launch) { l.silenceSave() }, true, twice},
	"before Mesos has the first launch":            {func(l *launch) { l.hold(v1.Call_ACCEPT, "es-1-1", 1) }, true, twice},
	"when Mesos has the first launch":              {func(l *launch) { l.after(v1.Call_ACCEPT, "es-1-1", 1) }, true, [2]uint64{1, 2}},
	"before Mesos has the second launch":           {func(l *launch) { l.hold(v1.Call_ACCEPT, "es-2-1", 1) }, true, [2]uint64{1, 2}},
	"when Mesos has the second launch":             {func(l *launch) { l.after(v1.Call_ACCEPT, "es-2-1", 1) }, true, once},
	"before it hears that a node starts":           {func(l *launch) { l.holdEvent(report) }, true, once},
	"before it has saved that a node starts":       {func(l *launch) { l.stopSave(report) }, true, once},
	"before Mesos has its word that a node starts": {func(l *launch) { l.hold(v1.Call_ACKNOWLEDGE, "es-1-1", 1) }, true, once},
	"when Mesos has its word that a node starts":   {func(l *launch) { l.after(v1.Call_ACKNOWLEDGE, "es-1-1", 1) }, true, once},
	"before Mesos has its word that a node runs":   {func(l *launch) { l.hold(v1.Call_ACKNOWLEDGE, "es-1-1", 2) }, true, once},
	"when Mesos has its word that a node runs":     {func(l *launch) { l.after(v1.Call_ACKNOWLEDGE, "es-1-1", 2) }, true, once},
}

const savedUnheard = "before it hears that the launches are saved" // a file does not save without saying so

func offers(e *v1.Event) bool { return e.Type == v1.Event_OFFERS }

func report(e *v1.Event) bool {
	return e.Type == v1.Event_UPDATE && e.Update.Status.TaskID.Value == "es-1-1"
}

// The scheduler itself is killed at every point of a launch, with a real Mesos. The next one, with the same state, launches nothing
// twice and leaves no node out. A call that was on its way gets there at last, and does nothing.
func TestASchedulerKilledInTheMiddleOfALaunch(t *testing.T) {
	t.Parallel()
	program, faultfs, server := build(t, "../.."), build(t, "../cmd/faultfs"), zookeeper.Run(t)
	for name, m := range moments {
		if name != savedUnheard {
			t.Run(name+", state in a file", func(t *testing.T) {
				inTurn(t)
				killedAt(t, program, newInFile(t, faultfs), m)
			})
		}
		t.Run(name+", state in ZooKeeper", func(t *testing.T) {
			inTurn(t)
			killedAt(t, program, newInZooKeeper(t, server, fmt.Sprintf("/%x", name)), m)
		})
	}
}

func killedAt(t *testing.T, program string, kept keeping, m moment) {
	l := newLaunch(t, kept)
	m.set(l)
	first := newProcess(t, program, "first", append(kept.flags(), "--master="+l.proxy.Address())...)
	first.args = append(kept.within(), first.args...)
	first.up()
	eventually(t, "it is where it is to be killed", func() error {
		if !l.there() {
			return errors.New("it is not")
		}
		return nil
	})
	first.kill()
	l.die()
	saved := kept.state(t)
	assert.Equal(t, map[bool][2]uint64{false: never, true: once}[m.saved], epochs(saved), "the launches that are saved by then")
	l.taken.isSaved(t, saved)

	proxy := mesostest.NewProxy(t, l.Master)
	proxy.At(l.taken.at)
	next := newProcess(t, program, "next", append(kept.direct(), "--master="+proxy.Address())...)
	next.up()
	next.run(m.epochs)
	l.lateCall()
	l.taken.all(t, tasks(m.epochs))
	runOnce(t, l.agents, tasks(m.epochs), nil)
	next.run(m.epochs)
}

func epochs(s coordinator.State) (all [2]uint64) {
	for i, n := range s.Nodes {
		all[i] = n.Epoch
	}
	return all
}

// launch is that of two nodes on two agents.
type launch struct {
	*cluster
	agents []*agent
	kept   keeping
	proxy  *mesostest.Proxy
	taken  *taken
	there  func() bool // the scheduler is where it is to be killed

	dead, late <-chan struct{} // what is held until then
	die, pass  func()
	answer     chan int // to the call that was held; nil: there is none
}

func newLaunch(t *testing.T, kept keeping) *launch {
	t.Helper()
	l := &launch{cluster: newCluster(t, quick...), kept: kept, taken: &taken{reports: map[string][]string{}}}
	l.agents = []*agent{l.agent(1), l.agent(2)} // before there is a scheduler, which is offered both at once then
	l.proxy = mesostest.NewProxy(t, l.Master)
	l.proxy.At(l.taken.at)
	l.dead, l.die = gate()
	l.late, l.pass = gate()
	t.Cleanup(l.pass)
	t.Cleanup(l.die)
	return l
}

// gate is closed until it is opened, which may be done again.
func gate() (closed <-chan struct{}, open func()) {
	c := make(chan struct{})
	return c, sync.OnceFunc(func() { close(c) })
}

// here has the moment come when the function is called, which returns when the scheduler is dead.
func (l *launch) here() func() {
	come, arrive := gate()
	l.there = func() bool {
		select {
		case <-come:
			return true
		default:
			return false
		}
	}
	return func() {
		arrive()
		<-l.dead
	}
}

// holdEvent keeps the first event of a kind from the scheduler.
func (l *launch) holdEvent(is func(*v1.Event) bool) { l.atEvent(is, l.here()) }

// stopSave has the save of what follows from an event hang.
func (l *launch) stopSave(is func(*v1.Event) bool) {
	l.atEvent(is, l.kept.stop)
	l.there = l.kept.stopped
}

// silenceSave keeps the scheduler from hearing that launches are saved.
func (l *launch) silenceSave() {
	k := l.kept.(*inZooKeeper)
	l.atEvent(offers, k.silence)
	l.there = func() bool { return k.stopped() && epochs(k.state(l.t)) == once }
}

// atEvent has something done before the scheduler gets the first event of a kind, and when all that the first event of its
// subscription led to is saved: it asks for all tasks then.
func (l *launch) atEvent(is func(*v1.Event) bool, do func()) {
	asked, asks := gate()
	l.proxy.At(func(call *v1.Call, answer int) {
		l.taken.at(call, answer)
		if call.Type == v1.Call_RECONCILE {
			asks()
		}
	})
	var first sync.Once
	l.proxy.AtEvent(func(e *v1.Event) {
		if !is(e) {
			return
		}
		select {
		case <-asked:
			first.Do(do)
		case <-l.dead:
		}
	})
}

// hold keeps a call for a task from Mesos, the nth of its kind, until the next scheduler has done its work.
func (l *launch) hold(kind v1.Call_Type, task string, nth int) {
	here := l.here()
	l.answer = make(chan int, 1)
	l.atCall(kind, task, nth, func(answer int) {
		if answer != 0 {
			l.answer <- answer
			return
		}
		here()
		<-l.late
	})
}

// after keeps the answer to a call from the scheduler.
func (l *launch) after(kind v1.Call_Type, task string, nth int) {
	here := l.here()
	l.atCall(kind, task, nth, func(answer int) {
		if answer != 0 {
			here()
		}
	})
}

func (l *launch) atCall(kind v1.Call_Type, task string, nth int, do func(answer int)) {
	seen := 0
	l.proxy.At(func(call *v1.Call, answer int) {
		l.taken.at(call, answer)
		if call.Type != kind || !slices.Contains(tasksOf(call), task) {
			return
		}
		if answer == 0 {
			seen++
		}
		if seen == nth {
			do(answer)
		}
	})
}

// lateCall lets the call that was held get through. Mesos refuses it.
func (l *launch) lateCall() {
	l.t.Helper()
	l.pass()
	if l.answer == nil {
		return
	}
	select {
	case answer := <-l.answer:
		assert.Equal(l.t, http.StatusBadRequest, answer)
	case <-time.After(patience):
		require.Fail(l.t, "the call that was held is not answered")
	}
}

// taken is what a master took from schedulers.
type taken struct {
	mu       sync.Mutex
	launched []string
	reports  map[string][]string // that were acknowledged, by task
}

// tasksOf are those that a call launches, or one of whose reports it acknowledges.
func tasksOf(call *v1.Call) (ids []string) {
	switch call.Type {
	case v1.Call_ACCEPT:
		for _, o := range call.Accept.Operations {
			for _, task := range o.GetLaunch().GetTaskInfos() {
				ids = append(ids, task.TaskID.Value)
			}
		}
	case v1.Call_ACKNOWLEDGE:
		ids = []string{call.Acknowledge.TaskID.Value}
	}
	return ids
}

func (r *taken) at(call *v1.Call, answer int) {
	if answer != http.StatusAccepted {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range tasksOf(call) {
		if call.Type == v1.Call_ACCEPT {
			r.launched = append(r.launched, id)
		} else if report := string(call.Acknowledge.UUID); !slices.Contains(r.reports[id], report) {
			r.reports[id] = append(r.reports[id], report)
		}
	}
}

// isSaved checks that a state has what was acknowledged: that a node starts, and that it runs.
func (r *taken) isSaved(t *testing.T, s coordinator.State) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range s.Nodes {
		reports := len(r.reports[coordinator.TaskID("es", n.ID, n.Epoch)])
		assert.True(t, reports < 1 || n.Begun, "node %d was acknowledged to start, and is saved as %+v", n.ID, n)
		assert.True(t, reports < 2 || n.Phase == coordinator.Running, "node %d was acknowledged to run, and is saved as %+v", n.ID, n)
	}
}

// all waits until these tasks were launched, once each, and both reports of each were acknowledged: that it starts, and that it runs.
func (r *taken) all(t *testing.T, tasks []string) {
	t.Helper()
	eventually(t, "all is launched and acknowledged", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if launched := slices.Sorted(slices.Values(r.launched)); !slices.Equal(launched, tasks) {
			return fmt.Errorf("launched are %v, not %v", launched, tasks)
		}
		for _, task := range tasks {
			if count := len(r.reports[task]); count < 2 {
				return fmt.Errorf("%d reports of %s are acknowledged", count, task)
			}
		}
		return nil
	})
}
