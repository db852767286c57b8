package scheduler_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/store/storetest"
)

var (
	errAway   = errors.New("the store does not answer")
	errFenced = errors.New("another scheduler leads")
	errLate   = errors.New("somebody else wrote")
)

// keeper is where several schedulers keep one state, as in ZooKeeper: each of them writes in its term, behind a fence, records of
// versions that it knows. A write is done as a whole or not at all.
type keeper struct {
	noFence, noVersions bool                                  // broken on purpose
	unwatched           bool                                  // it is not noticed here that a term writes which may not
	kept                func(before, after coordinator.State) // told of each write
	notices             func(format string, args ...any)
	refuses             func(error) // told of each write that is refused

	mu       sync.Mutex
	state    coordinator.State
	versions []int // of the header, then of each node's record
	term     int   // the one that has begun last
	read     int   // the latest one in which the state was read
	late     []write
}

// write is one transaction: the header and the nodes that changed.
type write struct {
	term     int
	header   *coordinator.State
	nodes    []coordinator.Node
	versions []int // that are expected; none beyond: a record is new
}

func newKeeper(initial coordinator.State) *keeper {
	return &keeper{
		state: initial, versions: make([]int, 1+len(initial.Nodes)),
		kept: func(coordinator.State, coordinator.State) {}, notices: func(string, ...any) {}, refuses: func(error) {},
	}
}

func (k *keeper) look() coordinator.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// begin begins a term: what an earlier one writes from now on is refused.
func (k *keeper) begin() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.term++
	return k.term
}

func (k *keeper) current() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.term
}

// mayLocked tells whether a write is still based on what is so.
func (k *keeper) mayLocked(w write) error {
	if w.term != k.term && !k.noFence {
		return errFenced
	}
	if !k.noVersions && w.header != nil && w.versions[0] != k.versions[0] {
		return errLate
	}
	for _, n := range w.nodes {
		there, known := int(n.ID) < len(k.versions), int(n.ID) < len(w.versions)
		if !k.noVersions && (there != known || there && k.versions[n.ID] != w.versions[n.ID]) {
			return errLate
		}
	}
	return nil
}

func (k *keeper) commitLocked(w write) error {
	if err := k.mayLocked(w); err != nil {
		k.refuses(err)
		return err
	}
	if w.term < k.read && !k.unwatched {
		k.notices("term %d writes, and term %d has read", w.term, k.read)
	}
	before, nodes := k.state, slices.Clone(k.state.Nodes)
	if w.header != nil {
		k.state = *w.header
		k.versions[0]++
	}
	for _, n := range w.nodes {
		for len(nodes) < int(n.ID) {
			nodes, k.versions = append(nodes, coordinator.Node{ID: coordinator.NodeID(len(nodes) + 1), Phase: coordinator.Vacant}), append(k.versions, 0)
		}
		nodes[n.ID-1] = n
		k.versions[n.ID]++
	}
	k.state.Nodes = nodes
	k.kept(before, k.state)
	return nil
}

// arrive lets a write come in that its writer has given up, if there is one.
func (k *keeper) arrive() (there bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.late) == 0 {
		return false, nil
	}
	w := k.late[0]
	k.late = k.late[1:]
	return true, k.commitLocked(w)
}

// mayArrive tells whether a write that was given up may yet be done.
func (k *keeper) mayArrive() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.late) > 0
}

// fate is what becomes of a write, or of a read.
type fate int

const (
	done      fate = iota
	refused        // nothing is done, and that is said
	unheard        // it is done, and that it was is not heard
	late           // it is given up, and may yet be done
	forgotten      // it is not done, and said to be
)

// desk is a scheduler's place at the keeper in one term. It implements scheduler.Store.
type desk struct {
	*keeper
	term int
	fate func(before, after coordinator.State) fate // of a write, of a read with both zero; nil: done

	known []int // versions, as read or written last; nil: not known
}

func (d *desk) meets(before, after coordinator.State) fate {
	if d.fate == nil {
		return done
	}
	return d.fate(before, after)
}

func (d *desk) Load(context.Context) (coordinator.State, error) {
	if d.meets(coordinator.State{}, coordinator.State{}) != done {
		return coordinator.State{}, errAway
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = max(d.read, d.term)
	d.known = slices.Clone(d.versions)
	return d.state, nil
}

func (d *desk) Save(ctx context.Context, before, after coordinator.State) error {
	if d.known == nil || before.Framework == "" {
		var err error
		if before, err = d.Load(ctx); err != nil {
			return err
		}
	}
	w := d.changes(before, after)
	if w.header == nil && len(w.nodes) == 0 {
		return d.still()
	}
	d.known = nil
	met := d.meets(before, after)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch met {
	case refused:
		return errAway
	case forgotten:
		d.known = w.versions
		return nil
	case late:
		d.late = append(d.late, w)
		return errAway
	}
	if err := d.commitLocked(w); err != nil {
		return err
	}
	if met == unheard {
		return errAway
	}
	d.known = slices.Clone(d.versions)
	return nil
}

// still tells whether the fence stands: nothing is done on the strength of a save behind one that has fallen, even if there is nothing to
// write.
func (d *desk) still() error {
	if d.current() != d.term && !d.noFence {
		return errFenced
	}
	return nil
}

// changes are what is to be written by one who knows what is kept.
func (d *desk) changes(before, after coordinator.State) write {
	w := write{term: d.term, versions: d.known}
	for i, n := range after.Nodes {
		if i >= len(before.Nodes) || before.Nodes[i] != n {
			w.nodes = append(w.nodes, n)
		}
	}
	before.Nodes, after.Nodes = nil, nil
	if !reflect.DeepEqual(before, after) {
		w.header = &after
	}
	return w
}

func TestTheKeeperOfTheHistoriesIsAStore(t *testing.T) {
	var k *keeper
	storetest.Contract(t, func(initial coordinator.State) scheduler.Store {
		if k == nil {
			k = newKeeper(initial)
		}
		return &desk{keeper: k, term: k.begin()}
	})
}
