package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// host is what one agent offers to one role, all its offers together: Mesos takes none together that are to different roles.
type host struct {
	Offer
	offers []string
	why    string // why no node may be launched here; empty: one may
}

// offers starts the nodes that may be started, lowest ID first, and gives the other offers back.
func (t *turn) offers(offers []Offer) {
	hosts := gather(offers)
	for _, h := range hosts {
		t.offered(h)
	}
	p := t.placement(hosts)
	for i, wanted := range t.state.Wanted() {
		n := &t.state.Nodes[i]
		if !wanted || !t.mayLaunch(*n) {
			continue
		}
		if h := p.choose(*n); h != nil {
			p.leave(*n)
			t.launch(n, h)
			p.take(h)
		} else {
			t.do(Note{Node: n.ID, Text: p.whyNot(*n)})
		}
	}
	t.moveOne(p)
	t.decline(p)
}

// mayLaunch tells whether a node may be launched at all; where is decided by placement.choose.
func (t *turn) mayLaunch(n Node) bool {
	switch {
	case n.Held != "" || t.now.Before(n.NotBefore):
		return false
	case n.Phase == Vacant:
		return t.state.Launched() < t.state.Target
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
			byPair[to] = &host{Offer: o, offers: []string{o.ID}}
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

// placement is the choice of hosts in one step. All nodes need the same, so whether a host fits is found once for all.
type placement struct {
	turn    *turn
	hosts   []*host
	byAgent map[string][]*host // one for each role that an agent offers to
	free    map[string][]*host // hosts by zone that fit a node which is on none of them
	onHost  map[string]int     // nodes by host
	inZone  map[string]int     // nodes by zone
}

func (t *turn) placement(hosts []*host) *placement {
	p := &placement{
		turn: t, hosts: hosts, byAgent: make(map[string][]*host, len(hosts)),
		free: map[string][]*host{}, onHost: map[string]int{}, inZone: map[string]int{},
	}
	for _, n := range t.state.Nodes {
		if n.Phase != Vacant {
			p.onHost[n.Place.Host]++
			p.inZone[n.Place.Zone]++
		}
	}
	p.sort()
	for _, h := range hosts {
		h.why = t.unfit(h, p.onHost[h.Host])
		p.byAgent[h.Agent] = append(p.byAgent[h.Agent], h)
		if h.why == "" {
			zone := h.Attributes[t.rules.SpreadBy]
			p.free[zone] = append(p.free[zone], h)
		}
	}
	return p
}

// sort puts the hosts first that are to be taken first: where less has failed, then where nobody else could use what a node needs.
func (p *placement) sort() {
	special := func(h *host) bool { return p.failures(h) > 0 || p.reserved(h) > 0 }
	if slices.ContainsFunc(p.hosts, special) {
		slices.SortStableFunc(p.hosts, func(a, b *host) int { return cmp.Or(p.failures(a)-p.failures(b), p.reserved(b)-p.reserved(a)) })
	}
}

// reserved tells how much of what a node needs is reserved on a host: 2 for all, 1 for some, 0 for nothing.
func (p *placement) reserved(h *host) int {
	switch r := p.turn.rules; {
	case h.Reserved.CPUs >= r.CPUs && h.Reserved.MemoryMB >= r.MemoryMB:
		return 2
	case h.Reserved != Amount{}:
		return 1
	}
	return 0
}

// unfit says why no node may be launched on a host, with so many nodes there already.
func (t *turn) unfit(h *host, nodes int) string {
	r := t.rules
	switch {
	case h.Unavailable:
		return "going down for maintenance"
	case t.state.SilentHost(h.Agent) != "":
		return "on a silent host"
	case t.state.Agents[h.Agent].waiting(t.now):
		return "set aside after failures there"
	case nodes >= r.maxPerHost():
		return fmt.Sprintf("with %d node(s) of this framework already", nodes)
	case h.CPUs < r.CPUs:
		return fmt.Sprintf("with less than %g CPUs", float64(r.CPUs)/1000)
	case h.MemoryMB < r.MemoryMB:
		return fmt.Sprintf("with less than %d MB of memory", r.MemoryMB)
	case !hasPorts(h.Ports):
		return "with less than 2 ports"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Require)) {
		if h.Attributes[name] != r.Require[name] {
			return fmt.Sprintf("without attribute %s:%s", name, r.Require[name])
		}
	}
	return ""
}

// choose picks the host for a node: its last one if that fits and nothing failed there, else one in the zone with the fewest nodes.
func (p *placement) choose(n Node) *host {
	last := p.last(n)
	if last != nil && (p.failures(last) == 0 || p.bound(n)) {
		return last
	}
	if p.waitsForLast(n) {
		return nil
	}
	best := last
	for _, zone := range slices.Sorted(maps.Keys(p.free)) {
		h := p.first(zone)
		if h != nil && (best == nil || p.better(h, best)) {
			best = h
		}
	}
	return best
}

// last is where a node was, if it fits there.
func (p *placement) last(n Node) *host {
	for _, h := range p.byAgent[n.Place.Agent] { // the best role of it first
		if h.why != taken && p.turn.unfit(h, p.others(n)) == "" {
			return h
		}
	}
	return nil
}

// better prefers the host where less has failed, then the zone with fewer nodes, then what is reserved.
func (p *placement) better(a, b *host) bool {
	return cmp.Or(p.failures(a)-p.failures(b), p.inZone[p.zone(a)]-p.inZone[p.zone(b)], p.reserved(b)-p.reserved(a)) < 0
}

// failures counts those on a host since a node joined from there.
func (p *placement) failures(h *host) int { return p.turn.state.Agents[h.Agent].Failures }

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

// first is the first fitting host of a zone. Hosts that filled up in this step are dropped: two agents may share one.
func (p *placement) first(zone string) *host {
	for hosts := p.free[zone]; len(hosts) > 0; hosts = hosts[1:] {
		h := hosts[0]
		if h.why == "" {
			h.why = p.turn.unfit(h, p.onHost[h.Host])
		}
		if h.why == "" {
			p.free[zone] = hosts
			return h
		}
	}
	delete(p.free, zone)
	return nil
}

func (p *placement) zone(h *host) string { return h.Attributes[p.turn.rules.SpreadBy] }

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

// take removes a host from the choice: its offers are used up.
func (p *placement) take(h *host) {
	h.why = taken
	p.onHost[h.Host]++
	p.inZone[p.zone(h)]++
}

// leave takes a node that is launched anew out of the counts.
func (p *placement) leave(n Node) {
	if n.Phase != Vacant {
		p.onHost[n.Place.Host]--
		p.inZone[n.Place.Zone]--
	}
}

// whyNot explains to an operator why a node was not launched.
func (p *placement) whyNot(n Node) string {
	if p.waitsForLast(n) {
		return fmt.Sprintf("waits for its last agent %s (%s)", n.Place.Agent, n.Place.Host)
	}
	counts := map[string]int{}
	for _, h := range p.hosts {
		counts[h.why] += len(h.offers)
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[why], why))
	}
	return "no offer fits: " + strings.Join(parts, ", ")
}

// decline gives back the offers that no launch took, grouped by reason.
func (t *turn) decline(p *placement) {
	_, ever := t.wanting()
	byReason := map[string][]string{}
	for _, h := range p.hosts {
		if h.why != taken {
			byReason[h.why] = append(byReason[h.why], h.offers...)
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
func (t *turn) launch(n *Node, h *host) {
	if n.Phase == Lost {
		t.kill(t.task(*n))
	}
	n.Loose, n.Begun = n.mayRun(), false // until an executor there says otherwise
	ports := pickPorts(h.Ports)
	n.Epoch++ // a late report of the lost task must not match the new one
	n.Place = Place{Agent: h.Agent, Host: h.Host, HTTPPort: ports[0], TransportPort: ports[1], Zone: h.Attributes[t.rules.SpreadBy]}
	n.Settled, n.Asked, n.Killed, n.Intent = true, t.now, time.Time{}, Keep
	t.enter(n, Claimed)
	n.Since = t.now
	t.chooseInitialMasters()
	t.do(Launch{Offers: h.offers, CPUs: t.rules.CPUs, MemoryMB: t.rules.MemoryMB, Ports: ports, Task: t.newTask(*n)})
}

// chooseInitialMasters fixes who founds the cluster, once: lists that differ between nodes could found two.
func (t *turn) chooseInitialMasters() {
	if t.state.InitialMasters != nil {
		return
	}
	for id := 1; id <= min(t.state.Target, maxInitialMasters); id++ {
		t.state.InitialMasters = append(t.state.InitialMasters, NodeName(t.state.Framework, NodeID(id)))
	}
}

func (t *turn) newTask(n Node) Task {
	task := Task{
		Framework: t.state.Framework, Node: n.ID, Epoch: n.Epoch, Place: n.Place, MemoryMB: t.rules.MemoryMB,
		Seeds: t.state.seeds(), ClusterUUID: t.state.ClusterUUID, Joined: n.Joined, Settings: t.rules.Settings,
	}
	if n.Holder.Gone {
		task.Gone = n.Holder.Host
	}
	if t.state.ClusterUUID == "" && slices.Contains(t.state.InitialMasters, NodeName(t.state.Framework, n.ID)) {
		task.InitialMasters = t.state.InitialMasters
	}
	return task
}
