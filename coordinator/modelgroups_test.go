package coordinator_test

import (
	"fmt"
	"slices"

	"mooring/coordinator"
)

// checkGroups: IDs are one sequence, and each belongs to one group for ever. What is known of a node's place stays known, as long as the
// options are the same.
func (p *process) checkGroups(before, after coordinator.State, e coordinator.Event) {
	h := p.history
	_, offered := e.(coordinator.Offers)
	for i, n := range after.Nodes {
		if n.ID != coordinator.NodeID(i+1) {
			h.fail("IDs are one sequence: node %d comes after %d others", n.ID, i)
		}
		if i < len(before.Nodes) && before.Nodes[i].Group != n.Group {
			h.fail("an ID belongs to one group for ever: node %d was of %q, and is of %q", n.ID, before.Nodes[i].Group, n.Group)
		}
		if i < len(before.Nodes) && before.Nodes[i].Epoch == n.Epoch && before.Nodes[i].Place != n.Place && !offered {
			h.fail("where a node is stays known: of node %d that was %+v, and is %+v", n.ID, before.Nodes[i].Place, n.Place)
		}
	}
}

// checkPlaces holds the launches of one step against what was asked for, in their order.
func (p *process) checkPlaces(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	offers := map[string]coordinator.Offer{}
	if e, is := e.(coordinator.Offers); is {
		for _, o := range e.Offers {
			offers[o.ID] = o
		}
	}
	nodes := slices.Clone(before.Nodes)
	for _, l := range of[coordinator.Launch](actions) {
		n, is := before.Nodes[l.Task.Node-1], after.Nodes[l.Task.Node-1]
		on := p.agentOf(l.Task.Place.Agent)
		if why := p.ground(before, nodes, n, offers).forbids(n, on); why != "" {
			p.fail("no launch breaks what was asked for: %s on %s %v: %s", l.Task.ID(), on.id, on.attributes, why)
			return
		}
		p.checkShare(l, p.rules.Group(n.Group), offers)
		p.checkRecord(is)
		nodes[n.ID-1] = is
	}
}

// ground is what a scheduler knows when it launches or moves a node: what its state says, and what is offered.
func (p *process) ground(s coordinator.State, nodes []coordinator.Node, n coordinator.Node, offers map[string]coordinator.Offer) ground {
	heard := map[string]bool{}
	for _, o := range offers {
		heard[o.Agent] = true
	}
	g := p.rules.Group(n.Group)
	return ground{rules: &p.rules, region: s.Region, others: othersOf(nodes, n.ID), known: func(o coordinator.Node, attribute string) (string, bool) {
		if heard[o.Place.Agent] {
			return p.truth(o, attribute)
		}
		return recorded(g, o, attribute)
	}}
}

// checkShare: a node gets what its group needs, of what is offered, and not where maintenance begins soon.
func (h *history) checkShare(l coordinator.Launch, g *coordinator.Group, offers map[string]coordinator.Offer) {
	if l.CPUs != g.CPUs || l.MemoryMB != g.MemoryMB || l.Task.MemoryMB != g.MemoryMB || l.Task.Settings.HeapMB != g.Settings.HeapMB {
		h.fail("a node gets what its group needs: %s of group %q gets %+v", l.Task.ID(), g.Name, l)
	}
	for _, kind := range []coordinator.Kind{coordinator.Config, coordinator.Data} {
		want := fmt.Sprintf("es%d%s", l.Task.Node, kind)
		if name := coordinator.VolumeName(l.Task.Framework, l.Task.Node, kind); name != want {
			h.fail("volumes are named by framework and ID alone: %s, not %s, of group %q", name, want, g.Name)
		}
	}
	var all coordinator.Offer
	for _, id := range l.Offers {
		o := offers[id]
		all.CPUs, all.MemoryMB, all.Ports = all.CPUs+o.CPUs, all.MemoryMB+o.MemoryMB, append(all.Ports, o.Ports...)
		if o.Unavailable {
			h.fail("nothing is launched where maintenance begins soon: %s on %s", l.Task.ID(), o.Agent)
		}
	}
	if l.CPUs > all.CPUs || l.MemoryMB > all.MemoryMB {
		h.fail("nothing is taken that is not offered: %s takes %+v of %+v", l.Task.ID(), l, all)
	}
	for i, port := range l.Ports {
		offered := slices.ContainsFunc(all.Ports, func(r coordinator.PortRange) bool { return r.First <= port && port <= r.Last })
		if !offered || slices.Contains(l.Ports[:i], port) {
			h.fail("each port is taken once, of those that are offered: %s takes %v of %v", l.Task.ID(), l.Ports, all.Ports)
		}
	}
}

// checkRecord: what constraints count of a node's place is kept with it.
func (p *process) checkRecord(n coordinator.Node) {
	g := p.rules.Group(n.Group)
	for _, c := range g.Constraints {
		if c.Kind != coordinator.AtMost && c.Kind != coordinator.Same {
			continue
		}
		want, _ := p.truth(n, c.Attribute)
		if value, _ := recorded(g, n, c.Attribute); value != want {
			p.fail("what is counted of a place is kept: of node %d %s is %q, and %q is kept", n.ID, c.Attribute, want, value)
		}
	}
}

// checkMoves: nodes leave an agent that goes down one at a time, when all others are well and a place elsewhere is offered. Each notice
// of that gets one answer.
func (p *process) checkMoves(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	var asked, answered []string
	if e, is := e.(coordinator.Maintenance); is {
		for _, n := range e.Notices {
			asked = append(asked, n.ID)
		}
	}
	for _, a := range of[coordinator.AnswerNotice](actions) {
		answered = append(answered, a.Notices...)
	}
	slices.Sort(asked)
	slices.Sort(answered)
	if !slices.Equal(asked, answered) {
		p.fail("every notice gets one answer: %v were made, %v are answered", asked, answered)
	}
	var moving []coordinator.Node
	for i, n := range before.Nodes {
		if n.Intent != coordinator.Move && after.Nodes[i].Intent == coordinator.Move {
			moving = append(moving, after.Nodes[i])
		}
	}
	if len(moving) > 0 {
		p.counts.moves++
		p.checkMove(after, moving, e)
	}
}

func (p *process) checkMove(s coordinator.State, moving []coordinator.Node, e coordinator.Event) {
	n := moving[0]
	for i, wanted := range s.Wanted() {
		if o := s.Nodes[i]; wanted && o.ID != n.ID && (o.Phase != coordinator.Running || !o.Ready || o.Intent != coordinator.Keep) {
			p.fail("nodes leave one at a time, when all others are well: node %d leaves, and node %d is %s, %q", n.ID, o.ID, o.Phase, o.Intent)
		}
	}
	offers := map[string]coordinator.Offer{}
	if e, is := e.(coordinator.Offers); is {
		for _, o := range e.Offers {
			offers[o.ID] = o
		}
	}
	on, g := p.ground(s, s.Nodes, n, offers), p.rules.Group(n.Group)
	for _, o := range offers {
		if o.Agent != n.Place.Agent && !o.Unavailable && o.CPUs >= g.CPUs && o.MemoryMB >= g.MemoryMB && on.forbids(n, p.agentOf(o.Agent)) == "" {
			return
		}
	}
	p.fail("nodes leave when a place elsewhere is offered: node %d leaves %s for nowhere", n.ID, n.Place.Agent)
}
