package coordinator_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring/coordinator"
)

// world is a cluster in which everything may fail: agents, containers, messages, and the scheduler between any two lines. It
// tells the truth, but late, twice, out of order or not at all.
type world struct {
	t       *rapid.T
	rules   coordinator.Rules
	saved   coordinator.State // what a scheduler that starts now would load
	now     time.Time
	up      map[string]bool    // agents whose host lives
	joined  map[string]bool    // agents registered with the master
	down    map[string]bool    // agents that are announced to go down
	gone    map[string]bool    // agents whose host is gone for good, as an operator told the master
	tasks   map[string]*inTask // all that were ever launched
	reports []coordinator.Report
	offered map[string]bool // offers that wait for an answer
	epochs  map[coordinator.NodeID]uint64
	torn    bool // the master was told to forget the framework
	counter int
}

type inTask struct {
	node  coordinator.NodeID
	agent string
	alive bool // its container runs and may write
	known bool // its agent knows it
	heard bool // a report of it was acknowledged: before that its agent does not forget it
}

func newWorld(t *rapid.T, fencing bool) *world {
	w := &world{
		t: t, now: t0, up: map[string]bool{}, joined: map[string]bool{}, down: map[string]bool{}, gone: map[string]bool{}, tasks: map[string]*inTask{},
		offered: map[string]bool{}, epochs: map[coordinator.NodeID]uint64{},
		rules: coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: fencing},
	}
	if rapid.Bool().Draw(t, "groups") {
		w.rules.Roles = []string{"*", "hot"}
		w.rules.Groups = []coordinator.Group{
			{Name: "data", Nodes: rapid.IntRange(0, 2).Draw(t, "data"), CPUs: 500, MemoryMB: 512, NeverMaster: true, Role: "hot"},
			{Name: "masters", Nodes: rapid.IntRange(0, 1).Draw(t, "masters"), CPUs: 1000, MemoryMB: 1024, Constraints: constraints(t, "spread over rack")},
		}
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "agents") {
		w.up[fmt.Sprintf("a%d", i)], w.joined[fmt.Sprintf("a%d", i)] = true, true
	}
	w.saved = coordinator.NewState("es", rapid.IntRange(0, 4).Draw(t, "target"))
	w.subscribe(t)
	return w
}

func (w *world) agent(t *rapid.T) string {
	agents := make([]string, 0, len(w.up))
	for a := range w.up {
		agents = append(agents, a)
	}
	slices.Sort(agents)
	return rapid.SampledFrom(agents).Draw(t, "agent")
}

// take steps, and dies now and then before the save or after it.
func (w *world) take(e coordinator.Event) {
	before := w.saved
	after, actions := w.rules.Step(before, e)
	w.check(before, after, e, actions)
	switch rapid.IntRange(0, 19).Draw(w.t, "fate") {
	case 0: // dies before the save
		w.offered = map[string]bool{}
	case 1: // dies after the save
		w.saved, w.offered = after, map[string]bool{}
	default:
		w.saved = after
		w.perform(actions)
	}
}

func (w *world) perform(actions []coordinator.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case coordinator.Launch:
			w.launch(a)
		case coordinator.Kill:
			if task := w.tasks[a.Task]; task != nil && w.joined[task.agent] && w.up[task.agent] && task.known {
				w.end(a.Task, coordinator.Over)
			} else if task != nil {
				w.reconcile([]coordinator.TaskRef{{Task: a.Task, Agent: a.Agent}})
			}
		case coordinator.Acknowledge:
			if task := w.tasks[a.Task]; task != nil {
				task.heard = true
			}
		case coordinator.Reconcile:
			w.reconcile(a.Tasks)
		case coordinator.Teardown:
			w.tearDown()
		}
	}
}

// tearDown ends all tasks unseen. Of what an executor accounts for, in its current epoch, nothing may be left by then.
func (w *world) tearDown() {
	for id, task := range w.tasks {
		_, epoch, _ := coordinator.ParseTaskID("es", id)
		current := w.saved.Nodes[task.node-1].Epoch == epoch
		require.False(w.t, task.alive && task.known && current, "%s runs when the framework is torn down", id)
		task.alive = false
	}
	w.torn, w.reports = true, nil
}

// launch may be lost on its way. Where it arrives, the executor first stops what an older epoch left on that host.
func (w *world) launch(l coordinator.Launch) {
	require.Greater(w.t, l.Task.Epoch, w.epochs[l.Task.Node], "an epoch is launched once")
	w.epochs[l.Task.Node] = l.Task.Epoch
	agent := l.Task.Place.Agent
	task := &inTask{node: l.Task.Node, agent: agent}
	w.tasks[l.Task.ID()] = task
	if !w.up[agent] || !w.joined[agent] || rapid.IntRange(0, 9).Draw(w.t, "lost launch") == 0 {
		return
	}
	if l.Task.Gone != "" {
		require.True(w.t, w.gone[l.Task.Gone], "only who is gone for good is said to be")
	}
	for id, old := range w.tasks {
		if old.node == task.node && old.agent == agent && old.alive {
			w.end(id, coordinator.Over)
		}
	}
	task.known = true
	if w.rules.Fencing && w.writers()[task.node] > 0 { // the volumes are another host's, whatever the coordinator believes of it
		w.say(l.Task.ID(), coordinator.Over)
		return
	}
	task.alive = true
	w.say(l.Task.ID(), coordinator.Pending)
	w.say(l.Task.ID(), coordinator.Alive)
}

func (w *world) end(task string, o coordinator.Outcome) {
	if w.tasks[task].alive {
		w.tasks[task].alive = false
		if w.tasks[task].known {
			w.say(task, o)
		}
	}
}

func (w *world) say(task string, o coordinator.Outcome) {
	w.reports = append(w.reports, coordinator.Report{
		Task: task, Agent: w.tasks[task].agent, Outcome: o, UUID: "u", Ready: o == coordinator.Alive, Cluster: "uuid",
		Begun: o == coordinator.Pending, Host: w.tasks[task].agent,
		Fault: rapid.SampledFrom([]coordinator.Fault{coordinator.FaultNode, coordinator.FaultAgent, coordinator.FaultVolume, coordinator.FaultNone, coordinator.FaultHost}).Draw(w.t, "fault"),
	})
}

// reconcile answers as Mesos 1.11 does, with no UUID: what a registered agent knows, "away" for one that is not, "gone" for one
// that was marked so. Of a task that ended it says no more than of one that never was.
func (w *world) reconcile(tasks []coordinator.TaskRef) {
	for _, ref := range tasks {
		task, known := w.tasks[ref.Task]
		o := coordinator.Away
		switch {
		case w.gone[ref.Agent]:
			o = coordinator.Gone
		case w.joined[ref.Agent] && known && task.alive && task.known:
			o = coordinator.Alive
		case w.joined[ref.Agent]:
			o = coordinator.Absent
		}
		w.reports = append(w.reports, coordinator.Report{Task: ref.Task, Agent: ref.Agent, Outcome: o, Ready: o == coordinator.Alive, Cluster: "uuid"})
	}
}

// heal ends all trouble and lets time pass.
func (w *world) heal() {
	for a := range w.up {
		w.up[a], w.joined[a], w.down[a] = true, true, false
	}
	for _, task := range w.tasks {
		task.alive = task.alive && task.known // a node that sees no executor for a while ends by itself
	}
	step := func(e coordinator.Event) {
		var actions []coordinator.Action
		before := w.saved
		w.saved, actions = w.rules.Step(before, e)
		w.check(before, w.saved, e, actions)
		w.perform(actions)
	}
	step(w.subscription())
	for host := range w.saved.Silent {
		step(coordinator.HostBeats{At: w.now, Host: host})
	}
	for range 60 {
		w.now = w.now.Add(31 * time.Second)
		step(coordinator.Tick{At: w.now})
		for a := range w.up {
			w.counter++
			o := offer(a)
			o.ID, o.Role = fmt.Sprintf("o%d", w.counter), "hot"
			step(coordinator.Offers{At: w.now, Offers: []coordinator.Offer{o}})
		}
		for _, task := range w.listed() {
			w.say(task, coordinator.Alive)
		}
		for len(w.reports) > 0 {
			r := w.reports[0]
			w.reports = w.reports[1:]
			if r.At = w.now; !w.outOfDate(r) {
				step(r)
			}
		}
	}
	if w.torn {
		step(w.subscription())
	}
}

// listed are the tasks that an implicit reconciliation brings to light.
func (w *world) listed() []string {
	var tasks []string
	for id, task := range w.tasks {
		if task.alive {
			tasks = append(tasks, id)
		}
	}
	return tasks
}
