package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// choice is what the nodes of one group can choose from in one step. They all need the same, so whether a host fits is found once
// for all of them.
type choice struct {
	placement *placement
	group     *Group
	counted   []*counter
	perHost   int            // nodes of the group on one host at most; 0: as many as of all groups
	onHost    map[string]int // nodes of the group by host, if that matters
	why       []string       // by host: why none of the group may be launched there; empty: one may, as far as nothing is counted
	spots     []*spot        // of hosts that fit a node which is on none of them
	byValues  map[string]*spot
	lacking   bool   // a node found nothing
	said      string // why a node waits, until another one is launched
}

// counter counts the nodes of a group by the values of one attribute.
type counter struct {
	Constraint
	total int
	nodes map[string]*int
}

// spot is where hosts agree in all that is counted.
type spot struct {
	values string
	counts []*int // by counter
	hosts  []*host
}

func (p *placement) newChoice(g *Group) *choice {
	c := &choice{placement: p, group: g, perHost: g.perHost(), onHost: map[string]int{}, why: make([]string, len(p.hosts)), byValues: map[string]*spot{}}
	for _, constraint := range g.Constraints {
		if constraint.counts() {
			c.counted = append(c.counted, &counter{Constraint: constraint, nodes: map[string]*int{}})
		}
	}
	for i := range p.turn.state.Nodes {
		if n := &p.turn.state.Nodes[i]; n.Phase != Vacant && n.Group == g.Name {
			c.learn(n)
			c.count(n.Place, 1)
		}
	}
	for _, h := range c.sorted() {
		if c.why[h.index] = c.unfit(h, p.onHost[h.Host], c.onHost[h.Host]); c.why[h.index] == "" {
			s := c.spot(h)
			s.hosts = append(s.hosts, h)
		}
	}
	slices.SortFunc(c.spots, func(a, b *spot) int { return strings.Compare(a.values, b.values) })
	return c
}

// learn notes what an offer says of the place of a node that runs: constraints that are new count what is there, too.
func (c *choice) learn(n *Node) {
	if len(c.counted) == 0 {
		return
	}
	for _, h := range c.placement.byAgent[n.Place.Agent] {
		c.group.describe(&n.Place, &h.Offer)
	}
}

// count adds nodes at a place.
func (c *choice) count(at Place, nodes int) {
	c.said = ""
	if c.perHost > 0 {
		c.onHost[at.Host] += nodes
	}
	for _, counted := range c.counted {
		counted.total += nodes
		*counted.at(c.group.value(at, counted.Attribute)) += nodes
	}
}

func (c *counter) at(value string) *int {
	count := c.nodes[value]
	if count == nil {
		count = new(int)
		c.nodes[value] = count
	}
	return count
}

// spot is where a host is.
func (c *choice) spot(h *host) *spot {
	if len(c.counted) == 1 { // the usual case, and there may be many hosts
		return c.spotOf(h.Attributes[c.counted[0].Attribute], h)
	}
	var values []string
	for _, counted := range c.counted {
		values = append(values, h.Attributes[counted.Attribute])
	}
	return c.spotOf(strings.Join(values, "\x00"), h)
}

func (c *choice) spotOf(values string, h *host) *spot {
	s := c.byValues[values]
	if s == nil {
		s = &spot{values: values}
		for _, counted := range c.counted {
			s.counts = append(s.counts, counted.at(h.Attributes[counted.Attribute]))
		}
		c.byValues[values] = s
		c.spots = append(c.spots, s)
	}
	return s
}

// sorted are the hosts in the order in which they are to be taken: where less has failed, then where nobody else could use what a
// node needs.
func (c *choice) sorted() []*host {
	hosts := c.placement.hosts
	special := func(h *host) bool { return c.failures(h) > 0 || c.reserved(h) > 0 }
	if slices.ContainsFunc(hosts, special) {
		hosts = slices.Clone(hosts)
		slices.SortStableFunc(hosts, func(a, b *host) int { return cmp.Or(c.failures(a)-c.failures(b), c.reserved(b)-c.reserved(a)) })
	}
	return hosts
}

// reserved tells how much of what a node needs is reserved on a host: 2 for all, 1 for some, 0 for nothing.
func (c *choice) reserved(h *host) int {
	switch {
	case h.Reserved.CPUs >= c.group.CPUs && h.Reserved.MemoryMB >= c.group.MemoryMB:
		return 2
	case h.Reserved != Amount{}:
		return 1
	}
	return 0
}

// unfit says why no node of the group may be launched on a host, with so many nodes there already, of all groups and of this one.
// What is counted elsewhere is not looked at.
func (c *choice) unfit(h *host, nodes, ofGroup int) string {
	t := c.placement.turn
	switch region, there := h.Attributes[AtRegion]; {
	case h.Unavailable:
		return "going down for maintenance"
	case t.state.SilentHost(h.Agent) != "":
		return "on a silent host"
	case t.state.Agents[h.Agent].waiting(t.now):
		return "set aside after failures there"
	case nodes >= t.rules.maxPerHost():
		return fmt.Sprintf("with %d node(s) of this framework already", nodes)
	case c.perHost > 0 && ofGroup >= c.perHost:
		return fmt.Sprintf("with %d node(s) of the group already", ofGroup)
	case c.group.Role != "" && h.Role != c.group.Role:
		return fmt.Sprintf("not offered to role %s", c.group.Role)
	case h.CPUs < c.group.CPUs:
		return fmt.Sprintf("with less than %g CPUs", float64(c.group.CPUs)/1000)
	case h.MemoryMB < c.group.MemoryMB:
		return fmt.Sprintf("with less than %d MB of memory", c.group.MemoryMB)
	case !hasPorts(h.Ports):
		return "with less than 2 ports"
	case there && t.state.Region != "" && region != t.state.Region && !c.group.regions():
		return fmt.Sprintf("in region %s, which is not the master's", region)
	}
	for _, constraint := range c.group.Constraints {
		if why := constraint.unfit(&h.Offer); why != "" {
			return why
		}
	}
	return ""
}

// full says what counted constraint keeps nodes from a spot.
func (c *choice) full(s *spot) string {
	for i, counted := range c.counted {
		switch nodes := *s.counts[i]; {
		case counted.Kind == AtMost && nodes >= counted.Max:
			return fmt.Sprintf("of a %s with %d node(s) already", counted.Attribute, nodes)
		case counted.Kind == Same && nodes == 0 && counted.total > 0:
			return fmt.Sprintf("of another %s than the other nodes", counted.Attribute)
		}
	}
	return ""
}

// find picks the host for a node, which does not count for itself: its last one if that fits and nothing failed there, else the best.
func (c *choice) find(n Node) *host {
	if n.Phase != Vacant {
		c.count(n.Place, -1)
		defer c.count(n.Place, 1)
	}
	last := c.last(n)
	if last != nil && (c.failures(last) == 0 || c.placement.bound(n)) {
		return last
	}
	if c.placement.waitsForLast(n) {
		return nil
	}
	best := candidate{host: last}
	if last != nil {
		best.at = c.spot(last)
	}
	for _, s := range c.spots {
		if len(s.hosts) == 0 || c.full(s) != "" {
			continue
		}
		if h := c.first(s); h != nil && (best.host == nil || c.better(candidate{h, s}, best)) {
			best = candidate{h, s}
		}
	}
	return best.host
}

// last is where a node was, if it fits there, by that offer that has most of it reserved.
func (c *choice) last(n Node) (best *host) {
	ofGroup := c.onHost[n.Place.Host]
	for _, h := range c.placement.byAgent[n.Place.Agent] {
		fits := !h.taken && c.unfit(h, c.placement.others(n), ofGroup) == "" && c.full(c.spot(h)) == ""
		if fits && (best == nil || c.reserved(h) > c.reserved(best)) {
			best = h
		}
	}
	return best
}

// candidate is a host and where it is.
type candidate struct {
	*host
	at *spot
}

// first is the first fitting host of a spot. Hosts that filled up in this step are dropped: two agents may share one.
func (c *choice) first(s *spot) *host {
	for ; len(s.hosts) > 0; s.hosts = s.hosts[1:] {
		h := s.hosts[0]
		if !h.taken {
			c.why[h.index] = c.unfit(h, c.placement.onHost[h.Host], c.onHost[h.Host])
		}
		if !h.taken && c.why[h.index] == "" {
			return h
		}
	}
	return nil
}

// better prefers the host where less has failed, then where fewer nodes are, then where there is room for the others if all are to
// be together, then what is reserved.
func (c *choice) better(a, b candidate) bool {
	if by := c.failures(a.host) - c.failures(b.host); by != 0 {
		return by < 0
	}
	for i, counted := range c.counted {
		by := 0
		switch counted.Kind {
		case Spread:
			by = *a.at.counts[i] - *b.at.counts[i]
		case Same:
			by = len(b.at.hosts) - len(a.at.hosts)
		}
		if by != 0 {
			return by < 0
		}
	}
	return c.reserved(a.host) > c.reserved(b.host)
}

// failures counts those on a host since a node joined from there.
func (c *choice) failures(h *host) int { return c.placement.turn.state.Agents[h.Agent].Failures }

// reason is why a host was not taken for the group; empty if nothing stood against it.
func (c *choice) reason(h *host) string {
	if h.taken {
		return taken
	}
	if why := c.why[h.index]; why != "" {
		return why
	}
	return c.full(c.spot(h))
}

// lacks says what keeps each offer from being used.
func (c *choice) lacks() string {
	counts := map[string]int{}
	for _, h := range c.placement.hosts {
		counts[c.reason(h)] += len(h.offers)
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[why], why))
	}
	return "no offer fits: " + strings.Join(parts, ", ")
}

// judges are the choices that say why offers are given back: of the groups that lack a host, else of all groups with nodes.
func (p *placement) judges() []*choice {
	var lacking, all []*choice
	for i := range p.turn.state.Nodes {
		c := p.choice(p.turn.state.Nodes[i])
		if c == nil || slices.Contains(all, c) {
			continue
		}
		if all = append(all, c); c.lacking {
			lacking = append(lacking, c)
		}
	}
	if len(lacking) > 0 {
		return lacking
	}
	return all
}

// reasonOf is why a host was not taken for any group; empty if one could have used it.
func reasonOf(judges []*choice, h *host) string {
	var whys, named []string
	for _, c := range judges {
		why := c.reason(h)
		if why == "" {
			return ""
		}
		whys = append(whys, why)
		named = append(named, cmp.Or(c.group.Name, DefaultGroup)+": "+why)
	}
	if len(slices.Compact(whys)) > 1 {
		return strings.Join(named, "; ")
	}
	return strings.Join(whys[:min(len(whys), 1)], "")
}
