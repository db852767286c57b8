package coordinator_test

import (
	"slices"
	"strings"
	"time"

	"mooring/coordinator"
)

// check holds one step against the invariants.
func (h *history) check(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	h.checkNodes(before, after)
	h.checkLaunches(before, after, actions)
	h.checkOffers(e, actions)
	if r, is := e.(coordinator.Report); is {
		h.checkReport(before, after, r, actions)
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
		if was, is := before.Launched(), after.Launched(); is > was && is > after.Target {
			h.fail("never more than the target: %d launched of %d", is, after.Target)
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
		for _, o := range after.Nodes {
			if o.ID != n.ID && o.Phase != coordinator.Vacant && o.Place.Host == n.Place.Host {
				h.fail("never two nodes on one host: %d and %d on %s", n.ID, o.ID, n.Place.Host)
			}
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
	id, epoch, _ := coordinator.ParseTaskID("es", r.Task)
	if int(id) > len(before.Nodes) || before.Nodes[id-1].Epoch == epoch {
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
	h.faults = false
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
	}
	for _, p := range h.schedulers {
		p.up = true
		p.looks()
	}
	h.tell("all trouble ends")
	wrong := "nothing was looked at"
	for round := 0; round < healing && wrong != "" && h.failure == ""; round++ {
		h.counts.rounds++
		h.now = h.now.Add(roundTime)
		h.recover()
		wrong = h.wrong()
	}
	if wrong != "" {
		for _, n := range h.keeper.state.Nodes {
			h.tell("%+v", n)
		}
		h.fail("after all trouble everything wanted runs and nothing else: %s", wrong)
	}
}

// recover is a round in which everybody does what there is to do, an operator, too.
func (h *history) recover() {
	for _, a := range h.agents {
		if a.host.agent != a {
			h.master.lose(a)
		}
	}
	for _, p := range h.schedulers {
		p.up = true
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
	current := map[string]bool{}
	running := 0
	for _, n := range s.Nodes {
		if n.Phase != coordinator.Vacant {
			running++
			current[coordinator.TaskID("es", n.ID, n.Epoch)] = true
		}
		if n.Phase == coordinator.Claimed || n.Phase == coordinator.Lost {
			return "node " + string(n.Phase)
		}
	}
	able := 0
	for _, host := range h.hosts {
		if host.up {
			able++
		}
	}
	want := min(s.Target, able)
	if s.Removal == coordinator.Uninstalled {
		want = 0
	}
	if running != want {
		return "the number of nodes"
	}
	for _, t := range h.tasks {
		switch {
		case t.alive != current[t.id]:
			return "task " + t.id
		case len(t.pending) > 0 && want > 0:
			return "a report that is not acknowledged"
		}
	}
	return ""
}

func (h *history) rounds(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
