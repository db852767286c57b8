package scheduler_test

import (
	"iter"
	"maps"
	"slices"
	"time"

	"mooring/coordinator"
)

// operator is what one who gives orders expects of them, worked out by itself.
type operator struct {
	target   int
	retired  []bool                        // by index of the node
	replaced map[coordinator.NodeID]uint64 // epochs that may not run in the end, since a restart was ordered
}

func newOperator(nodes int) operator {
	return operator{target: nodes, retired: make([]bool, nodes), replaced: map[coordinator.NodeID]uint64{}}
}

// wanted tells of each node whether it is to run: the lowest IDs that are not retired.
func (o *operator) wanted() iter.Seq2[coordinator.NodeID, bool] {
	return func(yield func(coordinator.NodeID, bool) bool) {
		left := o.target
		for i, retired := range o.retired {
			wanted := !retired && left > 0
			if wanted {
				left--
			}
			if !yield(coordinator.NodeID(i+1), wanted) {
				return
			}
		}
	}
}

func (o *operator) wants() []bool {
	var all []bool
	for _, wanted := range o.wanted() {
		all = append(all, wanted)
	}
	return all
}

func (o *operator) clone() operator {
	return operator{target: o.target, retired: slices.Clone(o.retired), replaced: maps.Clone(o.replaced)}
}

// agrees tells whether what is kept is what is wanted.
func (o *operator) agrees(s coordinator.State) bool {
	return s.Target == o.target && slices.Equal(s.Wanted(), o.wants())
}

func (o *operator) scaled(target int) {
	o.target = target
	missing := target
	for _, retired := range o.retired {
		if !retired {
			missing--
		}
	}
	for i, retired := range o.retired {
		if retired && missing > 0 {
			o.retired[i] = false
			missing--
		}
	}
	for ; missing > 0; missing-- {
		o.retired = append(o.retired, false)
	}
}

func (o *operator) retire(id coordinator.NodeID) {
	if o.wants()[id-1] {
		o.target--
	}
	o.retired[id-1] = true
	delete(o.replaced, id) // who takes it back takes back all that was ordered before
}

// order gives one of the orders to a scheduler. Alone, it looks at once whether what is kept is what was answered.
func (h *history) order(p *process, kind int) {
	if p.run == nil || !p.run.scheduler.View().Loaded {
		return
	}
	id := coordinator.NodeID(1 + h.rng.IntN(len(h.operator.retired)))
	before, as := p.node(id), h.operator.clone()
	switch kind {
	case 0:
		target := 1 + h.rng.IntN(historyAgents-1)
		as.scaled(target)
		if h.scale(p, target) {
			h.operator = as.clone()
		}
	case 1:
		if h.alone() && h.operator.target > 1 {
			as.retire(id)
			if h.apply(p, "retire", int(id), coordinator.Order{At: time.Now(), Node: id, Intent: coordinator.Retire}) {
				h.operator = as.clone()
			}
		}
	case 2:
		if !h.operator.retired[id-1] && h.apply(p, "restart", int(id), coordinator.Order{At: time.Now(), Node: id, Intent: coordinator.Restart}) {
			h.restarted(p, before)
		}
	case 3:
		if h.apply(p, "forgive", int(id), coordinator.Forgive{At: time.Now(), Node: id}) {
			delete(h.operator.replaced, id) // what is said to be gone is not there to be replaced; if it comes back nevertheless, it may stay
			if n := p.node(id); n.Phase == coordinator.Lost && before.Phase == coordinator.Lost && n.Since.Equal(before.Since) {
				h.notices("node %d is forgiven, and lost as before", id)
			}
		}
	}
	if !h.alone() {
		return
	}
	kept := h.keeper.look()
	if p.isDead() && as.agrees(kept) { // it died with the answer, and perhaps after what it would have answered
		h.operator = as
	}
	if !h.operator.agrees(kept) {
		h.notices("%d nodes are kept as wanted, %v, and the orders ask for %d, %v", kept.Target, kept.Wanted(), h.operator.target, h.operator.wants())
	}
}

// scale orders a number of nodes.
func (h *history) scale(p *process, target int) bool {
	h.mu.Lock()
	h.asked = append(h.asked, target)
	h.mu.Unlock()
	ok := h.apply(p, "scale to", target, coordinator.Scale{At: time.Now(), Target: target})
	if ok && !h.keeper.mayArrive() { // else an order that was given up may yet be kept, if this one changed nothing
		h.mu.Lock()
		h.asked = []int{target}
		h.mu.Unlock()
	}
	return ok
}

// apply gives an order and tells whether it was answered well.
func (h *history) apply(p *process, what string, number int, e coordinator.Event) bool {
	err := p.run.scheduler.Apply(h.t.Context(), e)
	if err == nil {
		h.happens("order to scheduler %d: %s %d", p.number, what, number)
	} else {
		h.happens("order to scheduler %d: %s %d, refused: %s", p.number, what, number, err)
	}
	return err == nil
}

// restarted notes that what was there before a restart was ordered may not run in the end.
func (h *history) restarted(p *process, before coordinator.Node) {
	switch n := p.node(before.ID); {
	case before.Phase == coordinator.Vacant || n.Phase == coordinator.Vacant: // it is started anyway
	case n.Epoch == before.Epoch && n.Intent != coordinator.Restart:
		h.notices("node %d is to be restarted, and that is forgotten", n.ID)
	default:
		h.operator.replaced[n.ID] = before.Epoch
	}
}
