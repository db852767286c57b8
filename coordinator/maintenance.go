package coordinator

import (
	"maps"
	"slices"
	"time"
)

const (
	maintenanceSoon = 15 * time.Minute // so long before an agent goes down nodes leave it, and none comes
	noticeAgain     = 30 * time.Second // Mesos is to repeat a notice after that
	noticeForgotten = 3 * time.Minute  // one that was not repeated for so long was taken back
)

// Maintenance says that agents with nodes of ours will go down. Mesos says so again and again for as long as it is so. Each
// notice is answered by exactly one action of the same step.
type Maintenance struct {
	At      time.Time
	Notices []Notice
}

// Notice announces that one agent goes down.
type Notice struct {
	ID     string
	Agent  string
	Window Window
}

// Window is when an agent is down.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end,omitzero"`   // zero: nobody knows
	Heard time.Time `json:"heard,omitzero"` // latest notice of it
}

// Near tells whether a window has begun or begins soon, and is not over.
func (w Window) Near(at time.Time) bool {
	return !at.Before(w.Start.Add(-maintenanceSoon)) && (w.End.IsZero() || at.Before(w.End))
}

// AnswerNotice tells Mesos, hence its operator, whether nodes can leave an agent now.
type AnswerNotice struct {
	Notices []string
	Accept  bool
	Refuse  time.Duration // do not say the same again earlier
}

func (Maintenance) event()   {}
func (AnswerNotice) action() {}

// noticed records which agents go down, and when.
func (t *turn) noticed(e Maintenance) {
	leaving := map[string]Window{}
	maps.Copy(leaving, t.state.Leaving)
	answers := map[bool][]string{}
	standing := t.state.standing(t.now)
	for _, n := range e.Notices {
		n.Window.Heard = t.now
		leaving[n.Agent] = n.Window
		there := func(id NodeID) bool { return t.state.node(id).Place.Agent == n.Agent }
		part := slices.ContainsFunc(t.state.Nodes, func(o Node) bool { return o.Place.Agent == n.Agent && o.Ready })
		accept := standing.spares(there, part)
		answers[accept] = append(answers[accept], n.ID)
	}
	t.state.Leaving = leaving
	for _, accept := range []bool{true, false} {
		if len(answers[accept]) > 0 {
			t.do(AnswerNotice{Notices: answers[accept], Accept: accept, Refuse: noticeAgain})
		}
	}
}

// forgetNotices drops what is over or was taken back, which Mesos does not say.
func (t *turn) forgetNotices() {
	for agent, w := range t.state.Leaving {
		if t.now.Sub(w.Heard) >= noticeForgotten || !w.End.IsZero() && !t.now.Before(w.End) {
			delete(t.state.Leaving, agent)
		}
	}
}

// offered forgets windows of agents that are offered as if there were none, and notes that Mesos has the agent.
func (t *turn) offered(h *host) {
	if w, ok := t.state.Leaving[h.Agent]; ok && w.Near(t.now) && !h.Unavailable {
		delete(t.state.Leaving, h.Agent)
	}
	t.agentSeen(h.Agent, false)
}

// leaves tells whether an agent goes down soon, as far as it was announced.
func (s *State) leaves(agent string, at time.Time) bool {
	w, ok := s.Leaving[agent]
	return ok && w.Near(at)
}

// MustMove tells whether a node runs on an agent that goes down soon, and is not on its way yet.
func (s *State) MustMove(n Node, at time.Time) bool {
	return n.Phase == Running && n.Intent == Keep && n.Held == "" && s.leaves(n.Place.Agent, at)
}

// Unwell are the wanted nodes without which the cluster is not what it should be: another one must not be stopped meanwhile.
func (s *State) Unwell() []NodeID {
	var unwell []NodeID
	for i, wanted := range s.Wanted() {
		if n := s.Nodes[i]; wanted && !(n.Phase == Running && n.Ready && (n.Intent == Keep || n.Due())) {
			unwell = append(unwell, n.ID)
		}
	}
	return unwell
}

// movable are the nodes of which one may be moved now: all that must, if all nodes and the cluster are well; one that is not itself,
// if all others are.
func (t *turn) movable() []NodeID {
	if len(t.state.Leaving) == 0 {
		return nil
	}
	standing := t.state.standing(t.now)
	var movable []NodeID
	for i, wanted := range t.state.Wanted() {
		n := &t.state.Nodes[i]
		if wanted && standing.spares(n.is, n.Ready) && t.state.MustMove(*n, t.now) && t.group(*n) != nil {
			movable = append(movable, n.ID)
		}
	}
	return movable
}

// moveOne stops one node whose agent goes down soon, if a place elsewhere is offered: it is launched there as soon as its
// volumes are free. The next one follows when it has joined and the cluster has recovered.
func (t *turn) moveOne(p *placement) {
	for _, id := range t.movable() {
		if n := t.state.node(id); p.choice(*n).find(*n) != nil {
			n.Intent = Move
			return
		}
	}
}
