package scheduler_test

import (
	"iter"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

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

// order gives one of the orders to the scheduler, and looks at once whether what is stored is what was answered.
func (h *mishaps) order(kind int) {
	id := coordinator.NodeID(1 + h.rng.IntN(len(h.operator.retired)))
	before := h.node(id)
	switch kind {
	case 8:
		target := 1 + h.rng.IntN(historyAgents-1)
		if h.apply("scale to", target, coordinator.Scale{At: time.Now(), Target: target}) {
			h.operator.scaled(target)
		}
	case 9:
		if h.operator.target > 1 && h.apply("retire", int(id), coordinator.Order{At: time.Now(), Node: id, Intent: coordinator.Retire}) {
			h.operator.retire(id)
		}
	case 10:
		if !h.operator.retired[id-1] && h.apply("restart", int(id), coordinator.Order{At: time.Now(), Node: id, Intent: coordinator.Restart}) {
			h.restarted(before)
		}
	case 11:
		if h.apply("forgive", int(id), coordinator.Forgive{At: time.Now(), Node: id}) {
			if n := h.node(id); n.Phase == coordinator.Lost && before.Phase == coordinator.Lost && n.Since.Equal(before.Since) {
				h.notices("node %d is forgiven, and lost as before", id)
			}
		}
	}
	stored, err := h.store.Load(h.t.Context())
	require.NoError(h.t, err)
	if wants := h.operator.wants(); stored.Target != h.operator.target || !slices.Equal(stored.Wanted(), wants) {
		h.notices("%d nodes are stored as wanted, %v, and the orders ask for %d, %v", stored.Target, stored.Wanted(), h.operator.target, wants)
	}
}

// apply gives an order and tells whether it was answered well.
func (h *mishaps) apply(what string, number int, e coordinator.Event) bool {
	err := h.scheduler.Apply(h.t.Context(), e)
	if err == nil {
		h.happens("order: %s %d", what, number)
	} else {
		h.happens("order: %s %d, refused: %s", what, number, err)
	}
	return err == nil
}

// restarted notes that what was there before a restart was ordered may not run in the end.
func (h *mishaps) restarted(before coordinator.Node) {
	switch n := h.node(before.ID); {
	case before.Phase == coordinator.Vacant || n.Phase == coordinator.Vacant: // it is started anyway
	case n.Epoch == before.Epoch && n.Intent != coordinator.Restart:
		h.notices("node %d is to be restarted, and that is forgotten", n.ID)
	default:
		h.operator.replaced[n.ID] = before.Epoch
	}
}
