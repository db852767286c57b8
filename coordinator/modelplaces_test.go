package coordinator_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"mooring/coordinator"
)

// modelGroups are those of the groups beside the default one.
var modelGroups = []string{"masters", "data"}

// choose is what an operator chose before the scheduler starts: in every other history nodes of groups that need different things, on
// hosts that differ.
func (h *history) choose() coordinator.Rules {
	r := coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: h.fencing, Settings: coordinator.Settings{HeapMB: 1}}
	if !h.grouped {
		return r
	}
	r.MaxPerHost = h.perHost
	r.Constraints = h.someConstraints()
	for i, name := range modelGroups {
		r.Groups = append(r.Groups, coordinator.Group{
			Name: name, Nodes: h.rng.IntN(3), CPUs: 500 + 1500*int64(i), MemoryMB: 512 * int64(i+1), NeverMaster: i == 1,
			Constraints: h.someConstraints(), Settings: coordinator.Settings{HeapMB: int64(i + 2)},
		})
	}
	return r
}

// chooseAnew has an operator start a scheduler with other options than before: other constraints, or without a group that has nodes.
func (h *history) chooseAnew() {
	if !h.grouped || !h.faults || !h.chance(4) {
		return
	}
	h.rules = h.choose()
	if h.chance(4) {
		i := h.rng.IntN(len(h.rules.Groups))
		h.rules.Groups = slices.Delete(h.rules.Groups, i, i+1)
	}
}

var possibleConstraints = []string{
	"rack is r0,r1", "rack is not r0", "disks has ssd", "at most 1 per rack", "at most 2 per rack", "at most 1 per @host", "@host is not h0",
	"same @zone", "same rack", "spread over rack", "spread over @zone", "@region is here", "@region is there,here", "at most 2 per @region",
}

func (h *history) someConstraints() []coordinator.Constraint {
	var all []coordinator.Constraint
	for range h.rng.IntN(3) {
		c, err := coordinator.ParseConstraint(possibleConstraints[h.rng.IntN(len(possibleConstraints))])
		if err != nil {
			h.fail("%s", err)
		}
		all = append(all, c)
	}
	return all
}

// someAttributes are those that an agent starts with; the next one on its host may have others.
func (h *history) someAttributes() map[string]string {
	if !h.grouped {
		return nil
	}
	all := map[string]string{}
	pick := func(name string, values ...string) {
		if value := values[h.rng.IntN(len(values))]; value != "" {
			all[name] = value
		}
	}
	pick("rack", "r0", "r1", "r2", "")
	pick("disks", "hdd,ssd", "ssd", "hdd", "")
	pick(coordinator.AtRegion, "here", "here", "here", "there", "")
	if all[coordinator.AtRegion] != "" {
		pick(coordinator.AtZone, "z0", "z1")
	}
	return all
}

// ground is what is to be looked at when somebody asks whether a node may be on an agent.
type ground struct {
	rules  *coordinator.Rules
	region string                                                                // of the master
	others []coordinator.Node                                                    // that run or may run, without that node
	known  func(n coordinator.Node, attribute string) (value string, known bool) // where another node is
}

// forbids says what keeps a node from an agent; nothing: it may be there. It is written from docs/placement.md, without anything that
// package coordinator decides by.
func (g ground) forbids(n coordinator.Node, on *agent) string {
	group := g.rules.Group(n.Group)
	if group == nil {
		return "nothing is known of its group"
	}
	onHost := 0
	var mates []coordinator.Node
	for _, o := range g.others {
		if o.Place.Host == on.host.name {
			onHost++
		}
		if o.Group == n.Group {
			mates = append(mates, o)
		}
	}
	if onHost >= max(1, g.rules.MaxPerHost) {
		return fmt.Sprintf("never more than %d node(s) on one host", max(1, g.rules.MaxPerHost))
	}
	ofRegions := slices.ContainsFunc(group.Constraints, func(c coordinator.Constraint) bool { return c.Attribute == coordinator.AtRegion })
	if region, there := on.attributes[coordinator.AtRegion]; there && g.region != "" && region != g.region && !ofRegions {
		return "nodes stay in the master's region"
	}
	for _, c := range group.Constraints {
		if !g.allows(c, mates, on) {
			return "constraint " + c.String()
		}
	}
	return ""
}

func (g ground) allows(c coordinator.Constraint, mates []coordinator.Node, on *agent) bool {
	value, there := on.attributes[c.Attribute]
	if c.Attribute == coordinator.AtHost {
		value, there = on.host.name, true
	}
	same := 0
	for _, m := range mates {
		if at, known := g.known(m, c.Attribute); known && there && at == value {
			same++
		}
	}
	switch c.Kind {
	case coordinator.Is:
		return there && slices.Contains(c.Values, value)
	case coordinator.IsNot:
		return !there || !slices.Contains(c.Values, value)
	case coordinator.Has:
		return there && slices.Contains(strings.Split(value, ","), c.Values[0])
	case coordinator.AtMost:
		return there && same < c.Max
	case coordinator.Same:
		return there && (same > 0 || len(mates) == 0)
	}
	return true // a wish
}

// truth is where a node is.
func (h *history) truth(n coordinator.Node, attribute string) (string, bool) {
	if attribute == coordinator.AtHost {
		return n.Place.Host, true
	}
	value, there := h.agentOf(n.Place.Agent).attributes[attribute]
	return value, there
}

// recorded is what the state says of where a node of a group is.
func recorded(g *coordinator.Group, n coordinator.Node, attribute string) (string, bool) {
	if attribute == coordinator.AtHost {
		return n.Place.Host, true
	}
	if values, err := url.ParseQuery(n.Place.Values); err == nil && values.Has(attribute) {
		return values.Get(attribute), true
	}
	first := slices.IndexFunc(g.Constraints, func(c coordinator.Constraint) bool { return c.Kind == coordinator.Spread })
	return n.Place.Zone, first >= 0 && g.Constraints[first].Attribute == attribute && n.Place.Zone != ""
}

// othersOf are the nodes that run or may run, but one.
func othersOf(nodes []coordinator.Node, id coordinator.NodeID) []coordinator.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n coordinator.Node) bool { return n.ID == id || n.Phase == coordinator.Vacant })
}

// roomFor is a host on which a node could be launched; nil if there is none.
func (h *history) roomFor(p *process, n coordinator.Node) *host {
	g := p.rules.Group(n.Group)
	on := ground{rules: &p.rules, region: p.state.Region, others: othersOf(p.state.Nodes, n.ID), known: h.truth}
	for _, host := range h.hosts {
		if !host.up || host.leaves || g == nil {
			continue
		}
		if left := h.master.free(host.agent); left.CPUs >= g.CPUs && left.MemoryMB >= g.MemoryMB && on.forbids(n, host.agent) == "" {
			return host
		}
	}
	return nil
}
