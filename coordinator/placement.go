package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// host is what one agent offers to one role, all its offers together: Mesos takes none together that are to different roles.
type host struct {
	Offer
	offers []string
	index  int  // among the hosts of the step
	taken  bool // by a launch in this step
}

// offers starts the nodes that may be started, lowest ID first, and gives the other offers back.
func (t *turn) offers(offers []Offer) {
	hosts := gather(offers)
	for _, h := range hosts {
		t.offered(h)
	}
	p, rooms := t.placement(hosts), t.state.rooms()
	for i, wanted := range t.state.Wanted() {
		n := &t.state.Nodes[i]
		if !wanted || !t.mayLaunch(*n, rooms) {
			continue
		}
		c := p.choice(*n)
		if c == nil {
			t.do(Note{Node: n.ID, Text: fmt.Sprintf("its group %s is not described any more: describe it in the file of --groups", n.Group)})
		} else if h := c.find(*n); h != nil {
			if n.Phase == Vacant {
				rooms[n.Group]--
			}
			p.leave(*n)
			t.launch(n, c.group, h)
			p.take(h, *n)
		} else {
			c.lacking = true
			t.do(Note{Node: n.ID, Text: p.whyNot(*n)})
		}
	}
	t.moveOne(p)
	t.decline(p)
}

// mayLaunch tells whether a node may be launched at all; where is decided by choice.find.
func (t *turn) mayLaunch(n Node, rooms map[string]int) bool {
	switch {
	case n.Held != "" || t.now.Before(n.NotBefore):
		return false
	case n.Phase == Vacant:
		return rooms[n.Group] > 0
	default:
		return n.Phase == Lost
	}
}

const taken = "taken in this step" // why no further node may be launched on a host

// gather adds up the offers of each agent to each role, in the order of their coming.
func gather(offers []Offer) []*host {
	var hosts []*host
	type pair struct{ agent, role string }
	byPair := make(map[pair]*host, len(offers))
	for _, o := range offers {
		to := pair{o.Agent, o.Role}
		h := byPair[to]
		if h == nil {
			byPair[to] = &host{Offer: o, offers: []string{o.ID}, index: len(hosts)}
			hosts = append(hosts, byPair[to])
			continue
		}
		h.offers = append(h.offers, o.ID)
		h.CPUs += o.CPUs
		h.MemoryMB += o.MemoryMB
		h.Reserved.CPUs += o.Reserved.CPUs
		h.Reserved.MemoryMB += o.Reserved.MemoryMB
		h.Ports = slices.Concat(h.Ports, o.Ports)
		h.Unavailable = h.Unavailable || o.Unavailable
	}
	return hosts
}

// placement is the choice of hosts in one step.
type placement struct {
	turn    *turn
	hosts   []*host
	byAgent map[string][]*host // one for each role that an agent offers to
	onHost  map[string]int     // nodes by host
	choices map[string]*choice // by group, of groups that were asked for
}

func (t *turn) placement(hosts []*host) *placement {
	p := &placement{turn: t, hosts: hosts, byAgent: make(map[string][]*host, len(hosts)), onHost: map[string]int{}, choices: map[string]*choice{}}
	for _, n := range t.state.Nodes {
		if n.Phase != Vacant {
			p.onHost[n.Place.Host]++
		}
	}
	for _, h := range hosts {
		p.byAgent[h.Agent] = append(p.byAgent[h.Agent], h)
	}
	return p
}

// choice is what a node can choose from; nil if nothing is known of its group.
func (p *placement) choice(n Node) *choice {
	c, asked := p.choices[n.Group]
	if !asked {
		if g := p.turn.group(n); g != nil {
			c = p.newChoice(g)
		}
		p.choices[n.Group] = c
	}
	return c
}

// bound tells whether a node must not go elsewhere: it may still run where it was, and its volumes would not stop it.
func (p *placement) bound(n Node) bool { return n.mayRun() && !p.turn.rules.Fencing }

// others counts the nodes on a node's last host but itself.
func (p *placement) others(n Node) int {
	count := p.onHost[n.Place.Host]
	if n.Phase != Vacant {
		count--
	}
	return count
}

// waitsForLast tells whether a node waits for its last host: for ever, if it is bound to it; for a while, because that serves it
// best, unless something failed there.
func (p *placement) waitsForLast(n Node) bool {
	t := p.turn
	if p.bound(n) {
		return true
	}
	never := n.Place.Agent == "" || n.AgentGone || t.state.Agents[n.Place.Agent].Failures > 0 || t.state.leaves(n.Place.Agent, t.now) ||
		t.state.SilentHost(n.Place.Agent) != ""
	return !never && t.now.Sub(n.Since) < stickFor
}

// mayRun tells whether something of a node that is to be launched may still run at its last place.
func (n Node) mayRun() bool { return n.Phase == Lost || n.Loose }

// take removes a host from the choice, on which a node is now: its offers are used up.
func (p *placement) take(h *host, n Node) {
	h.taken = true
	p.onHost[h.Host]++
	p.choice(n).count(n.Place, 1)
	for _, c := range p.choices {
		if c != nil {
			c.said = ""
		}
	}
}

// leave takes a node that is launched anew out of the counts.
func (p *placement) leave(n Node) {
	if n.Phase != Vacant {
		p.onHost[n.Place.Host]--
		p.choice(n).count(n.Place, -1)
	}
}

// whyNot explains to an operator why a node was not launched.
func (p *placement) whyNot(n Node) string {
	if p.waitsForLast(n) {
		return fmt.Sprintf("waits for its last agent %s (%s)", n.Place.Agent, n.Place.Host)
	}
	c := p.choice(n)
	if c.said == "" { // the same for all nodes that find nothing, and there may be many
		c.said = c.lacks()
	}
	return c.said
}

// decline gives back the offers that no launch took, grouped by reason.
func (t *turn) decline(p *placement) {
	ever := t.wanting().ever
	byReason, judges := map[string][]string{}, p.judges()
	for _, h := range p.hosts {
		if !h.taken {
			why := reasonOf(judges, h)
			byReason[why] = append(byReason[why], h.offers...)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		d := Decline{Offers: byReason[why], Refuse: refuseUnfit, Reason: why}
		if why == "" {
			d.Reason = "nothing to launch"
		}
		if !ever {
			d.Refuse = refuseUnwanted
		}
		t.do(d)
	}
}

// launch claims a node's ID with a new epoch and asks for its task. If the node was lost, the old task is killed first: it
// must not come back.
func (t *turn) launch(n *Node, g *Group, h *host) {
	if n.Phase == Lost {
		t.kill(t.task(*n))
	}
	n.Loose, n.Begun = n.mayRun(), false // until an executor there says otherwise
	if n.Place.Agent != h.Agent {
		n.On = ""
	}
	ports := pickPorts(h.Ports)
	n.Epoch++ // a late report of the lost task must not match the new one
	n.Place = g.place(&h.Offer, ports)
	n.Settled, n.Asked, n.Killed, n.Intent = true, t.now, time.Time{}, Keep
	t.enter(n, Claimed)
	n.Since = t.now
	t.chooseInitialMasters()
	t.do(Launch{Offers: h.offers, CPUs: g.CPUs, MemoryMB: g.MemoryMB, Ports: ports, Task: t.newTask(*n, g)})
}

// chooseInitialMasters fixes who founds the cluster, once: lists that differ between nodes could found two.
func (t *turn) chooseInitialMasters() {
	if t.state.InitialMasters != nil {
		return
	}
	for i, wanted := range t.state.Wanted() {
		n := t.state.Nodes[i]
		g := t.group(n)
		if wanted && g != nil && !g.NeverMaster && len(t.state.InitialMasters) < maxInitialMasters {
			t.state.InitialMasters = append(t.state.InitialMasters, NodeName(t.state.Framework, n.ID))
		}
	}
}

func (t *turn) newTask(n Node, g *Group) Task {
	task := Task{
		Framework: t.state.Framework, Node: n.ID, Epoch: n.Epoch, Place: n.Place, MemoryMB: g.MemoryMB,
		Seeds: t.state.seeds(), ClusterUUID: t.state.ClusterUUID, Joined: n.Joined, Settings: g.Settings,
	}
	if n.Holder.Gone {
		task.Gone = n.Holder.Host
	}
	if t.state.ClusterUUID == "" && slices.Contains(t.state.InitialMasters, NodeName(t.state.Framework, n.ID)) {
		task.InitialMasters = t.state.InitialMasters
	}
	return task
}
