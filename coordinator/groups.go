package coordinator

import (
	"maps"
	"net/url"
	"slices"
)

// DefaultGroup is what operators call the group that the rules themselves describe. In states and rules its name is empty.
const DefaultGroup = "default"

// Group is what an operator chose for some of the nodes, which are alike. Which group a node is of was decided when its ID was
// made, and stays; IDs are unique in all groups together.
type Group struct {
	Name        string
	Nodes       int    // wanted when the group is met for the first time; from then on the State says
	CPUs        int64  // of one node, thousandths
	MemoryMB    int64  // of one node
	Role        string // of Mesos, whose resources alone are used; empty: any that the framework has
	Constraints []Constraint
	Settings    Settings
	NeverMaster bool // its nodes can't be elected, hence found no cluster
}

// Group is what was chosen for the group of a name; nil if there is no such group.
func (r Rules) Group(name string) *Group {
	if name == "" {
		return r.defaultGroup()
	}
	for i := range r.Groups {
		if r.Groups[i].Name == name {
			return &r.Groups[i]
		}
	}
	return nil
}

// defaultGroup is the group that the rules themselves describe.
func (r Rules) defaultGroup() *Group {
	g := &Group{CPUs: r.CPUs, MemoryMB: r.MemoryMB, Settings: r.Settings, NeverMaster: r.NeverMaster}
	for _, name := range slices.Sorted(maps.Keys(r.Require)) {
		g.Constraints = append(g.Constraints, Constraint{Attribute: name, Kind: Is, Values: []string{r.Require[name]}})
	}
	if r.SpreadBy != "" {
		g.Constraints = append(g.Constraints, Constraint{Attribute: r.SpreadBy, Kind: Spread})
	}
	g.Constraints = append(g.Constraints, r.Constraints...)
	return g
}

// zone is the attribute whose value is a node's zone: the first that nodes are spread over.
func (g *Group) zone() string {
	for _, c := range g.Constraints {
		if c.Kind == Spread {
			return c.Attribute
		}
	}
	return ""
}

// regions tells whether an operator says something about regions; otherwise nodes stay in the master's own.
func (g *Group) regions() bool {
	return slices.ContainsFunc(g.Constraints, func(c Constraint) bool { return c.Attribute == AtRegion })
}

// perHost is how many nodes of the group may be on one host; 0: as many as of all groups.
func (g *Group) perHost() int {
	most := 0
	for _, c := range g.Constraints {
		if c.Kind == AtMost && c.Attribute == AtHost && (most == 0 || c.Max < most) {
			most = c.Max
		}
	}
	return most
}

// place is where a node comes to be on a host. It keeps the values that the constraints count.
func (g *Group) place(h *Offer, ports []int) Place {
	p := Place{Agent: h.Agent, Host: h.Host, HTTPPort: ports[0], TransportPort: ports[1]}
	g.describe(&p, h)
	return p
}

// describe notes at a place what is counted there.
func (g *Group) describe(p *Place, h *Offer) {
	zone := g.zone()
	p.Zone = h.Attributes[zone]
	values := url.Values{}
	for _, c := range g.Constraints {
		value, there := h.value(c.Attribute)
		if there && c.counts() && !(c.Kind == Spread && c.Attribute == zone) {
			values.Set(c.Attribute, value)
		}
	}
	p.Values = values.Encode()
}

// value is what is known of an attribute at a node's place.
func (g *Group) value(p Place, attribute string) string {
	if values, err := url.ParseQuery(p.Values); err == nil && values.Has(attribute) {
		return values.Get(attribute)
	}
	if attribute == g.zone() {
		return p.Zone
	}
	return ""
}

// group is the group of a node, nil if the rules know none of that name.
func (t *turn) group(n Node) *Group {
	g, known := t.groups[n.Group]
	if !known {
		if t.groups == nil {
			t.groups = map[string]*Group{}
		}
		g = t.rules.Group(n.Group)
		t.groups[n.Group] = g
	}
	return g
}

// meetGroups makes the nodes of groups that were never met before.
func (t *turn) meetGroups() {
	for _, g := range t.rules.Groups {
		if _, met := t.state.Groups[g.Name]; !met {
			t.state.scale(g.Name, g.Nodes)
		}
	}
}

// rooms tells by group how many more nodes may be launched.
func (s *State) rooms() map[string]int {
	rooms := maps.Clone(s.Groups)
	if rooms == nil {
		rooms = map[string]int{}
	}
	left := s.Target // in most frameworks that is all there is, and this is asked for in every step
	for i := range s.Nodes {
		switch n := &s.Nodes[i]; {
		case n.Phase == Vacant:
		case n.Group == "":
			left--
		default:
			rooms[n.Group]--
		}
	}
	rooms[""] = left
	return rooms
}

// TargetOf is how many nodes of a group are wanted.
func (s *State) TargetOf(group string) int {
	if group == "" {
		return s.Target
	}
	return s.Groups[group]
}

// Total is how many nodes of all groups are wanted.
func (s *State) Total() int {
	total := s.Target
	for _, target := range s.Groups {
		total += target
	}
	return total
}

func (s *State) retarget(group string, target int) {
	if group == "" {
		s.Target = target
		return
	}
	if s.Groups == nil {
		s.Groups = map[string]int{}
	}
	s.Groups[group] = target
}

// scale sets the target of a group. Retired nodes of it are taken back before new IDs are made: the lowest ID first.
func (s *State) scale(group string, target int) {
	s.retarget(group, target)
	missing := target
	for _, n := range s.Nodes {
		if n.Group == group && n.Intent != Retire {
			missing--
		}
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; missing > 0 && n.Group == group && n.Intent == Retire {
			n.Intent = Keep
			missing--
		}
	}
	for ; missing > 0; missing-- {
		s.Nodes = append(s.Nodes, Node{ID: NodeID(len(s.Nodes) + 1), Group: group, Phase: Vacant})
	}
}

// Wanted tells by index which nodes are to run: of each group the lowest IDs that are not retired, as many as its target says; none
// once the framework is to be uninstalled.
func (s *State) Wanted() []bool {
	wanted := make([]bool, len(s.Nodes))
	if s.Removal != Installed {
		return wanted
	}
	left, others := s.Target, maps.Clone(s.Groups)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Intent == Retire {
			continue
		}
		if n.Group != "" {
			if wanted[i] = others[n.Group] > 0; wanted[i] {
				others[n.Group]--
			}
			continue
		}
		wanted[i] = left > 0
		left--
	}
	return wanted
}
