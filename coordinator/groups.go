package coordinator

import (
	"maps"
	"net/url"
	"slices"
)

// Group is what an operator chose for some of the nodes, which are alike.
type Group struct {
	CPUs        int64 // of one node, thousandths
	MemoryMB    int64 // of one node
	Constraints []Constraint
	Settings    Settings
}

// defaultGroup is the group that the rules themselves describe.
func (r Rules) defaultGroup() *Group {
	g := &Group{CPUs: r.CPUs, MemoryMB: r.MemoryMB, Settings: r.Settings}
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
