package coordinator_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring/coordinator"
)

// check holds one step against the invariants.
func (p *process) check(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	p.checkNodes(before, after)
	p.checkGroups(before, after, e)
	p.checkLaunches(before, after, actions)
	p.checkPlaces(before, after, e, actions)
	p.checkMoves(before, after, e, actions)
	p.checkOffers(e, actions)
	p.checkHealth(before, after)
	if r, is := e.(coordinator.Report); is {
		p.checkReport(before, after, r, actions)
	}
}

func (h *history) checkNodes(before, after coordinator.State) {
	if len(after.Nodes) < len(before.Nodes) {
		h.fail("a node once made stays: there were %d, there are %d", len(before.Nodes), len(after.Nodes))
	}
	for i, n := range before.Nodes {
		if after.Nodes[i].Epoch < n.Epoch {
			h.fail("epochs only grow: node %d from %d to %d", n.ID, n.Epoch, after.Nodes[i].Epoch)
		}
	}
}

func (h *history) checkLaunches(before, after coordinator.State, actions []coordinator.Action) {
	for _, a := range actions {
		l, is := a.(coordinator.Launch)
		if !is {
			continue
		}
		n := after.Nodes[l.Task.Node-1]
		if was, is := countOf(before, n.Group), countOf(after, n.Group); is > was && is > after.TargetOf(n.Group) {
			h.fail("no group has more nodes than its target: %d launched of %d, group %q", is, after.TargetOf(n.Group), n.Group)
		}
		switch {
		case before.SilentHost(l.Task.Place.Agent) != "":
			h.fail("nothing is launched on a silent host: %s", l.Task.ID())
		case before.Removal != coordinator.Installed:
			h.fail("nothing is launched once the framework is to go: %s", l.Task.ID())
		case n.Phase != coordinator.Claimed || n.Epoch != l.Task.Epoch || n.Place != l.Task.Place:
			h.fail("nothing is launched that the state to be saved does not say: %s, node %+v", l.Task.ID(), n)
		case int(n.ID) <= len(before.Nodes) && n.Epoch <= before.Nodes[n.ID-1].Epoch:
			h.fail("epochs only grow: node %d is launched at %d again", n.ID, n.Epoch)
		}
	}
}

// checkOffers: every offer gets exactly one answer, and nothing else is answered.
func (h *history) checkOffers(e coordinator.Event, actions []coordinator.Action) {
	var asked, answered []string
	if e, is := e.(coordinator.Offers); is {
		for _, o := range e.Offers {
			asked = append(asked, o.ID)
		}
	}
	for _, a := range actions {
		switch a := a.(type) {
		case coordinator.Launch:
			answered = append(answered, a.Offers...)
		case coordinator.Decline:
			answered = append(answered, a.Offers...)
		}
	}
	slices.Sort(asked)
	slices.Sort(answered)
	if !slices.Equal(asked, answered) {
		h.fail("every offer gets one answer: %v were made, %v are answered", asked, answered)
	}
}

// checkReport: a report is acknowledged once if asked for. One of an older epoch changes no node, and if it runs it is killed.
func (h *history) checkReport(before, after coordinator.State, r coordinator.Report, actions []coordinator.Action) {
	acknowledged, killed := 0, false
	for _, a := range actions {
		switch a := a.(type) {
		case coordinator.Acknowledge:
			acknowledged++
		case coordinator.Kill:
			killed = killed || a.Task == r.Task
		}
	}
	if (acknowledged == 1) != (r.UUID != "") {
		h.fail("a report is acknowledged if it asks for that: %s, %d times", r.Task, acknowledged)
	}
	id, epoch, ours := coordinator.ParseTaskID("es", r.Task)
	if !ours || int(id) > len(before.Nodes) || before.Nodes[id-1].Epoch == epoch {
		return
	}
	was, is := before.Nodes[id-1], after.Nodes[id-1]
	if is.Phase != was.Phase || is.Epoch != was.Epoch || is.Place != was.Place || is.Failures != was.Failures || is.Settled != was.Settled {
		h.fail("a report of an older epoch changes no node: %s, epoch %d", r.Task, was.Epoch)
	}
	if r.Outcome == coordinator.Alive && !killed {
		h.fail("what is of an older epoch is killed: %s, epoch %d", r.Task, was.Epoch)
	}
}

// checkClaimed: nothing is launched that was not saved.
func (h *history) checkClaimed(l coordinator.Launch) {
	place, kept := h.claimed[launch{l.Task.Node, l.Task.Epoch}]
	if !kept || place != l.Task.Place {
		h.fail("nothing is launched that was not saved: %s", l.Task.ID())
	}
}

// checkSaved: nothing is acknowledged that was not saved.
func (h *history) checkSaved(a coordinator.Acknowledge) {
	id, epoch, _ := coordinator.ParseTaskID("es", a.Task)
	if int(id) > len(h.keeper.state.Nodes) {
		return
	}
	n := h.keeper.state.Nodes[id-1]
	outcome, _, _ := strings.Cut(a.UUID, "/")
	switch {
	case n.Epoch > epoch:
	case outcome == overText && n.Phase != coordinator.Vacant:
		h.fail("nothing is acknowledged that was not saved: %s is over, kept is %s", a.Task, n.Phase)
	case outcome == aliveText && h.keeper.state.ClusterUUID == "":
		h.fail("nothing is acknowledged that was not saved: %s has joined, kept is no cluster", a.Task)
	}
}

const overText, aliveText = "2", "1" // as in a task's UUIDs

const (
	healing   = 75 // rounds at most; some wait for half an hour
	roundTime = 31 * time.Second
)

// heal ends all trouble and lets time pass until everything is as it should be.
func (h *history) heal() {
	h.faults, h.health = false, green
	h.keeper.away, h.master.up = false, true
	for len(h.keeper.late) > 0 {
		h.keeper.arrive()
	}
	for _, host := range h.hosts {
		host.cut, host.leaves = false, false
		if !host.up && !host.gone {
			host.boot()
		}
	}
	for _, t := range h.tasks {
		t.alive = t.alive && !t.orphan // a node that sees no executor for a while ends by itself
		if t.alive && t.told.Status != "" && t.told != green {
			t.say(coordinator.Alive, coordinator.FaultNone) // the cluster is well again
		}
	}
	for _, p := range h.schedulers {
		p.rise()
		p.looks()
	}
	h.tell("all trouble ends")
	h.until("after all trouble everything wanted runs and nothing else", h.wrong)
}

// until lets time pass until nothing is wrong.
func (h *history) until(what string, wrongs func() string) {
	wrong := "nothing was looked at"
	for round := 0; round < healing && wrong != "" && h.failure == ""; round++ {
		h.counts.rounds++
		h.now = h.now.Add(roundTime)
		h.recover()
		wrong = wrongs()
	}
	if wrong != "" {
		for _, n := range h.keeper.state.Nodes {
			h.tell("%+v", n)
		}
		h.fail("%s: %s", what, wrong)
	}
}

// maintain has a host go down for maintenance while nothing else happens: its nodes leave if all others
// have joined, as far as there is room for them.
func (h *history) maintain() {
	on := h.hosts[h.rng.IntN(len(h.hosts))]
	if h.failure != "" || !on.up || h.keeper.state.Removal != coordinator.Installed {
		return
	}
	h.until("nodes leave where maintenance begins", func() string {
		p := h.leader()
		on.leaves = false
		h.announce(on) // again and again, as Mesos does
		h.exchange()
		for _, n := range h.keeper.state.Nodes {
			if n.Phase == coordinator.Vacant || n.Place.Agent != on.agent.id {
				continue
			}
			if host := h.roomFor(p, n); host != nil && len(h.keeper.state.Unwell()) == 0 {
				return fmt.Sprintf("node %d is on %s, though there is room on %s", n.ID, on.name, host.name)
			}
		}
		return h.wrong()
	})
}

// recover is a round in which everybody does what there is to do, an operator, too.
func (h *history) recover() {
	for _, a := range h.agents {
		if a.host.agent != a {
			h.master.lose(a)
		}
	}
	for _, p := range h.schedulers {
		p.rise()
		for p.conn != nil && p.conn.over != open {
			p.listen()
		}
		p.looks()
		p.lead()
	}
	h.quiet()
	for _, p := range h.schedulers {
		if p.term == 0 || p.done {
			continue
		}
		for _, host := range h.hosts {
			if _, silent := p.state.Silent[host.name]; silent && host.up {
				p.hears(host)
			}
		}
		for _, n := range p.state.Nodes {
			if n.Held != "" || n.Loose || n.Phase == coordinator.Lost {
				h.forgive(p, n.ID)
			}
		}
	}
	h.exchange()
}

// wrong says what is not as it should be; nothing, if all is.
func (h *history) wrong() string {
	s := h.keeper.state
	if s.Removal != coordinator.Installed {
		h.counts.uninstalled += h.rounds(s.Removal == coordinator.Uninstalled)
		if s.Removal != coordinator.Uninstalled {
			return "the framework is " + string(s.Removal)
		}
	}
	p := h.leader()
	current := map[string]bool{}
	for i, wanted := range s.Wanted() {
		n := s.Nodes[i]
		switch {
		case n.Phase == coordinator.Claimed || n.Phase == coordinator.Lost:
			return "node " + string(n.Phase)
		case n.Phase == coordinator.Running && !wanted:
			return fmt.Sprintf("node %d runs, and nobody wants it", n.ID)
		case n.Phase == coordinator.Running && !n.Ready:
			return fmt.Sprintf("node %d has joined, and the state does not say so", n.ID)
		case n.Phase == coordinator.Running:
			current[coordinator.TaskID("es", n.ID, n.Epoch)] = true
		case wanted && p == nil:
			return "nobody leads"
		case wanted:
			if host := h.roomFor(p, n); host != nil {
				return fmt.Sprintf("node %d of group %q does not run, though there is room on %s", n.ID, n.Group, host.name)
			}
		}
	}
	for _, t := range h.tasks {
		switch {
		case t.alive != current[t.id]:
			return "task " + t.id
		case len(t.pending) > 0 && s.Removal == coordinator.Installed:
			return "a report that is not acknowledged"
		}
	}
	return ""
}

// leader is the scheduler that leads, nil if none does.
func (h *history) leader() *process {
	for _, p := range h.schedulers {
		if p.term == h.keeper.epoch {
			return p
		}
	}
	return nil
}

func (h *history) rounds(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
