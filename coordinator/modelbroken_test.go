package coordinator_test

import (
	"maps"
	"slices"

	"mooring/coordinator"
)

// step is that of the rules, unless something is broken on purpose.
func (p *process) step(s coordinator.State, e coordinator.Event) (coordinator.State, []coordinator.Action) {
	rules, seen := p.misruled(), s
	if p.deaf {
		seen.Silent = nil
	}
	if p.roams {
		seen.Region = ""
	}
	switch told := e.(type) {
	case coordinator.Report:
		e = p.misread(s, told)
	case coordinator.Offers:
		if p.heedless {
			e = heedless(told)
		}
		if p.beyondTarget {
			seen.Target++
			seen.Groups = maps.Clone(s.Groups)
			for name := range seen.Groups {
				seen.Groups[name]++
			}
		}
	case coordinator.Scale:
		if p.regroups {
			seen.Nodes = regrouped(s, told.Group)
		}
	}
	if p.reckless {
		seen = allGreen(seen)
	}
	after, actions := rules.Step(seen, e)
	if p.reckless {
		after = asTold(s, after)
	}
	if p.deaf && after.Silent == nil {
		after.Silent = s.Silent
	}
	if _, is := e.(coordinator.Subscribed); p.roams && !is {
		after.Region = s.Region
	}
	if _, is := e.(coordinator.Offers); is && p.beyondTarget {
		after.Target, after.Groups = s.Target, s.Groups
	}
	return p.spoil(after, actions)
}

// misruled are the rules as they are applied when something is broken.
func (p *process) misruled() coordinator.Rules {
	rules := p.rules
	if p.crowded {
		rules.MaxPerHost = max(1, rules.MaxPerHost) + 1
	}
	if p.trusting {
		rules.Fencing = true
	}
	rules.Constraints, rules.Groups = p.relaxed(rules.Constraints), slices.Clone(rules.Groups)
	for i := range rules.Groups {
		g := &rules.Groups[i]
		if g.Constraints = p.relaxed(g.Constraints); p.alike {
			g.CPUs, g.Settings = rules.CPUs, rules.Settings
		}
	}
	return rules
}

// relaxed are constraints that are broken on purpose.
func (p *process) relaxed(all []coordinator.Constraint) []coordinator.Constraint {
	if !p.anywhere && !p.together {
		return all
	}
	var left []coordinator.Constraint
	for _, c := range all {
		switch c.Kind {
		case coordinator.AtMost:
			if p.together {
				c.Max = 100
			}
		case coordinator.Is, coordinator.IsNot, coordinator.Has:
			if p.anywhere {
				continue
			}
		}
		left = append(left, c)
	}
	return left
}

// heedless are offers without a word of maintenance.
func heedless(e coordinator.Offers) coordinator.Offers {
	e.Offers = slices.Clone(e.Offers)
	for i := range e.Offers {
		e.Offers[i].Unavailable = false
	}
	return e
}

// regrouped gives a group the IDs of others that nothing runs under.
func regrouped(s coordinator.State, group string) []coordinator.Node {
	nodes := slices.Clone(s.Nodes)
	for i, wanted := range s.Wanted() {
		if n := &nodes[i]; !wanted && n.Phase == coordinator.Vacant {
			n.Group = group
		}
	}
	return nodes
}

// misread is a report as it is understood when something is broken.
func (p *process) misread(s coordinator.State, r coordinator.Report) coordinator.Report {
	id, epoch, _ := coordinator.ParseTaskID("es", r.Task)
	if p.anyEpoch && int(id) <= len(s.Nodes) && epoch < s.Nodes[id-1].Epoch {
		r.Task = coordinator.TaskID("es", id, s.Nodes[id-1].Epoch)
	}
	if p.silenceIsDeath && (r.Outcome == coordinator.Unsure || r.Outcome == coordinator.Away) {
		r.Outcome = coordinator.Over
	}
	return r
}

// spoil breaks what the rules decided.
func (p *process) spoil(s coordinator.State, actions []coordinator.Action) (coordinator.State, []coordinator.Action) {
	if p.forgetsLoose {
		for i := range s.Nodes {
			s.Nodes[i].Loose = false
		}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if p.forgetsPlaces && n.Phase == coordinator.Running {
			n.Place.Values, n.Place.Zone = "", ""
		}
		if p.rushes && s.MustMove(*n, p.now) {
			n.Intent = coordinator.Move
		}
	}
	var kept []coordinator.Action
	for _, a := range actions {
		switch b := a.(type) {
		case coordinator.Launch:
			if p.sameEpoch && b.Task.Epoch > 1 {
				b.Task.Epoch--
				s.Nodes[b.Task.Node-1].Epoch--
				a = b
			}
			if p.namesByGroup {
				b.Task.Framework += s.Nodes[b.Task.Node-1].Group
				a = b
			}
		case coordinator.Seeds:
			if p.takesForGranted {
				b.Ask = false
				a = b
			}
		case coordinator.Reconcile:
			if p.neverAsks {
				continue
			}
		case coordinator.AnswerNotice:
			if p.keepsNotices {
				continue
			}
		case coordinator.Revive:
			if p.neverRevives {
				continue
			}
		case coordinator.Kill:
			if id, epoch, _ := coordinator.ParseTaskID("es", b.Task); p.spares && int(id) <= len(s.Nodes) && epoch < s.Nodes[id-1].Epoch {
				continue
			}
		case coordinator.Decline:
			if p.keepsOffers {
				continue
			}
		}
		kept = append(kept, a)
	}
	return s, kept
}
