package coordinator

import (
	"fmt"
	"slices"
	"time"
)

// Step takes in events, one after the other. The state that comes back must be durable before any of the actions is carried out,
// and the actions are to be carried out in order. If saving fails, both are to be dropped and s stays in force.
//
// Events that are taken in together have the same effect as one by one, but need one copy of the state, and one save.
func (r Rules) Step(s State, events ...Event) (State, []Action) {
	t := &turn{rules: r, state: s.clone()}
	seeds := s.seeds()
	for _, e := range events {
		t.take(e)
		t.stopUnwanted()
		t.tearDown()
		t.askForOffers()
		if after := t.state.seeds(); !slices.Equal(seeds, after) {
			t.announce(after, false)
			seeds = after
		}
	}
	return t.state, t.actions
}

// turn is one step under way.
type turn struct {
	rules   Rules
	state   State
	now     time.Time // of the event
	actions []Action
	groups  map[string]*Group // that were asked for
}

func (t *turn) take(e Event) {
	switch e := e.(type) {
	case Subscribed:
		t.now = e.At
		t.mendTimes()
		t.subscribed(e)
	case Offers:
		t.now = e.At
		t.offers(e.Offers)
	case Rescinded:
		t.now = e.At
	case Report:
		t.now = e.At
		t.report(e)
	case AgentLost:
		t.now = e.At
		t.agentSeen(e.Agent, true)
		t.lose(func(n *Node) bool { return n.Place.Agent == e.Agent })
	case HostSilent:
		t.now = e.At
		t.hostSilent(e)
	case HostBeats:
		t.now = e.At
		t.hostBeats(e)
	case Tick:
		t.now = e.At
		t.tick()
	case Scale:
		t.now = e.At
		t.state.scale(e.Group, e.Target)
	case Order:
		t.now = e.At
		t.order(e)
	case Forgive:
		t.now = e.At
		t.forgive(e)
	case Maintenance:
		t.now = e.At
		t.noticed(e)
	case Uninstall:
		t.now = e.At
		t.uninstall()
	case Removed:
		t.now = e.At
		t.removed()
	default:
		panic(fmt.Sprintf("coordinator: no rule for event %T", e))
	}
}

func (t *turn) do(a ...Action) { t.actions = append(t.actions, a...) }

// subscribed forgets what was settled: updates may have been missed while there was no subscription.
func (t *turn) subscribed(e Subscribed) {
	t.state.FrameworkID, t.state.Region = e.FrameworkID, e.Region
	t.state.Subscribed = e.At
	t.meetGroups()
	t.state.TornDown = time.Time{} // a request from before may have got lost
	for i := range t.state.Nodes {
		t.state.Nodes[i].Settled = t.state.Nodes[i].Phase == Vacant
	}
	t.ask(func(Node) bool { return true })
	t.list()
	t.announce(t.state.seeds(), true)
}

// lose marks some nodes as lost together with their agent.
func (t *turn) lose(which func(*Node) bool) {
	for i := range t.state.Nodes {
		n := &t.state.Nodes[i]
		if n.Phase == Vacant || !which(n) {
			continue
		}
		t.enter(n, Lost)
		n.AgentGone = true
	}
}

// enter moves a node to a phase.
func (t *turn) enter(n *Node, p Phase) {
	if n.Phase != p {
		n.Phase, n.Since = p, t.now
	}
	if p != Running {
		n.leftCluster()
	}
	if p != Lost {
		n.AgentGone = false
	}
}

// order notes an operator's intent. Retiring a node lowers the target, so that no other takes its place.
func (t *turn) order(e Order) {
	n := t.state.node(e.Node)
	if n != nil && e.Intent == Restart && e.Now && n.Phase == Running {
		defer t.stop(n)
	}
	switch {
	case n == nil || n.Intent == e.Intent:
		return
	case e.Intent == Restart && n.Phase == Vacant:
		return // it is started anyway
	case e.Intent == Retire:
		if t.state.Wanted()[n.ID-1] {
			t.state.retarget(n.Group, t.state.TargetOf(n.Group)-1)
		}
	case n.Intent == Retire:
		t.state.retarget(n.Group, t.state.TargetOf(n.Group)+1)
	}
	n.Intent = e.Intent
}

// forgive takes the operator's word: that a held node may begin anew, or that a lost one, or what it left, certainly does not run.
func (t *turn) forgive(e Forgive) {
	n := t.state.node(e.Node)
	switch {
	case n == nil:
		return
	case n.Held != "":
		n.Held, n.Joined = "", false
	case n.Phase == Lost:
		gone := n.AgentGone
		t.vacate(n)
		n.Loose, n.AgentGone = false, gone
	default:
		n.Loose = false
	}
	n.Failures, n.NotBefore = 0, time.Time{}
	t.state.Wanting = 0 // what was refused for this node may fit it now: it is asked for again
}

// vacate frees a node's ID. Its epoch stays.
func (t *turn) vacate(n *Node) {
	t.enter(n, Vacant)
	n.Killed = time.Time{}
	if n.Intent == Restart || n.Intent == Move {
		n.Intent = Keep
	}
}

func (t *turn) task(n Node) TaskRef {
	return TaskRef{Task: TaskID(t.state.Framework, n.ID, n.Epoch), Agent: n.Place.Agent}
}

func (t *turn) kill(task TaskRef) { t.do(Kill(task)) }

// announce tells every running node where the others are, and may ask those that are not known to be well how they are.
func (t *turn) announce(seeds []string, ask bool) {
	for i := range t.state.Nodes {
		if n := &t.state.Nodes[i]; n.Phase == Running {
			t.tell(*n, seeds, ask && !n.Ready)
		}
	}
}

// tell tells one node where the others are, and may ask its executor to tell its state again: when Mesos has an agent back it says
// only that the node runs.
func (t *turn) tell(n Node, seeds []string, ask bool) {
	ref := t.task(n)
	t.do(Seeds{Task: ref.Task, Agent: ref.Agent, Seeds: seeds, Ask: ask})
}
