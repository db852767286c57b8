package coordinator_test

import (
	"errors"
	"slices"

	"mooring/coordinator"
)

var (
	errAway   = errors.New("the store does not answer")
	errFenced = errors.New("another scheduler leads")
	errLate   = errors.New("somebody else wrote")
)

// keeper is where the state is kept: ZooKeeper, with several schedulers, or a file, with one.
type keeper struct {
	*history
	state      coordinator.State
	versions   []int // of the header, then of each node's record
	epoch      int   // version of the leader's node
	candidates []int // sessions that are on, the one that leads first
	sessions   int   // given out so far
	away       bool
	late       []write // on their way, although their writer has given them up
}

// write is one transaction: the header and those nodes that changed, on condition of their versions and of the term.
type write struct {
	term     int
	header   coordinator.State
	nodes    []coordinator.Node
	versions []int // that are expected; none beyond: a record is new
}

// changes are what a scheduler writes that knows what is kept.
func changes(term int, before, after coordinator.State, versions []int) write {
	w := write{term: term, header: after, versions: slices.Clone(versions)}
	w.header.Nodes = nil
	for i, n := range after.Nodes {
		if i >= len(before.Nodes) || before.Nodes[i] != n {
			w.nodes = append(w.nodes, n)
		}
	}
	return w
}

// commit does a write as a whole or not at all, and returns the versions after it.
func (k *keeper) commit(w write) ([]int, error) {
	if w.term != k.epoch && !k.noFence {
		k.counts.fenced++
		return nil, errFenced
	}
	if !k.noVersions && w.versions[0] != k.versions[0] {
		return nil, errLate
	}
	for _, n := range w.nodes {
		there, known := int(n.ID) < len(k.versions), int(n.ID) < len(w.versions)
		if !k.noVersions && (there != known || there && k.versions[n.ID] != w.versions[n.ID]) {
			return nil, errLate
		}
	}
	nodes := slices.Clone(k.state.Nodes)
	for _, n := range w.nodes {
		for len(nodes) < int(n.ID) {
			nodes, k.versions = append(nodes, coordinator.Node{ID: coordinator.NodeID(len(nodes) + 1)}), append(k.versions, 0)
		}
		nodes[n.ID-1] = n
		k.versions[n.ID]++
	}
	k.state = w.header
	k.state.Nodes = nodes
	k.versions[0]++
	k.kept()
	return slices.Clone(k.versions), nil
}

// kept holds what is kept now against what was launched.
func (k *keeper) kept() {
	for _, n := range k.state.Nodes {
		if of, known := k.groups[n.ID]; known && of != n.Group {
			k.fail("an ID belongs to one group for ever: node %d is kept of %q, and was of %q", n.ID, n.Group, of)
		}
		if n.Epoch < k.launched[n.ID] {
			k.fail("epochs only grow: node %d was launched at epoch %d, and is kept with %d", n.ID, k.launched[n.ID], n.Epoch)
		}
		if n.Phase == coordinator.Claimed {
			k.claimed[launch{n.ID, n.Epoch}] = n.Place
		}
	}
}

// join makes a candidate of a new session.
func (k *keeper) join() int {
	k.sessions++
	k.candidates = append(k.candidates, k.sessions)
	return k.sessions
}

func (k *keeper) expire(session int) {
	if i := slices.Index(k.candidates, session); i >= 0 {
		k.candidates = slices.Delete(k.candidates, i, i+1)
	}
}

// arrive lets a write that was given up be done after all, if its conditions still hold.
func (k *keeper) arrive() {
	if len(k.late) == 0 || k.away {
		return
	}
	w := k.late[0]
	k.late = k.late[1:]
	if _, err := k.commit(w); err == nil {
		k.counts.late++
	}
}
