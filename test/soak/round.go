package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"mooring/test/cell"
)

// Round is one thing to break, under one node, and for how long.
type Round struct {
	Fault  Fault
	Node   int
	Length time.Duration
}

// state is what decides whether a fault can be played under a node.
type state struct {
	victim *cell.Host // of the node
	spare  *cell.Host // where the node may come back
}

// Deck deals the faults in an order that follows from a seed: each of them once before any of them again, as far as it can be
// played, so that a run of two decks and a half leaves none out.
type Deck struct {
	random  *rand.Rand
	pending []Fault // in the order in which they are to be played
}

// NewDeck is the deck of a seed. The same seed makes the same choices, as far as the nodes are on the same hosts.
func NewDeck(seed uint64) *Deck { return &Deck{random: rand.New(rand.NewPCG(seed, 0))} }

// Round chooses the next round.
func (s *Soak) Round(ctx context.Context, d *Deck) (Round, error) {
	states, err := s.states(ctx)
	if err != nil {
		return Round{}, err
	}
	return d.deal(states)
}

// deal takes the first fault that can be played, and by chance one of the nodes that it can be played under. A fault that cannot be
// played now is the first to be looked at the next time.
func (d *Deck) deal(states []state) (Round, error) {
	share, nodes := d.random.Float64(), d.random.Perm(len(states))
	for range 2 {
		for i, f := range d.pending {
			at := slices.IndexFunc(nodes, func(node int) bool { return f.canPlay(states[node]) })
			if at < 0 {
				continue
			}
			d.pending = slices.Delete(d.pending, i, i+1)
			return Round{Fault: f, Node: nodes[at] + 1, Length: time.Duration(share * float64(f.most))}, nil
		}
		d.pending = append(d.pending, d.shuffled()...)
	}
	return Round{}, errors.New("no fault can be played")
}

// shuffled are all faults. CutHost leaves the host that can lose its store without a node, so FreezeHost, which does not fit then,
// has its turn before.
func (d *Deck) shuffled() []Fault {
	order := d.random.Perm(len(Faults))
	faults := make([]Fault, len(Faults))
	var cut, freeze int
	for i, fault := range order {
		switch faults[i] = Faults[fault]; faults[i].Name {
		case CutHost.Name:
			cut = i
		case FreezeHost.Name:
			freeze = i
		}
	}
	if cut < freeze {
		faults[cut], faults[freeze] = faults[freeze], faults[cut]
	}
	return faults
}

// Under finds a node that a fault can be played under.
func (s *Soak) Under(ctx context.Context, f Fault) (Round, error) {
	states, err := s.states(ctx)
	if err != nil {
		return Round{}, err
	}
	node := slices.IndexFunc(states, f.canPlay)
	if node < 0 {
		return Round{}, fmt.Errorf("%s can be played under no node", f.Name)
	}
	return Round{Fault: f, Node: node + 1, Length: f.most}, nil
}

func (f Fault) canPlay(s state) bool { return f.fits == nil || f.fits(s) }

// states are those of the nodes, in their order.
func (s *Soak) states(ctx context.Context) ([]state, error) {
	nodes, err := s.Deployment.AwaitNodes(ctx, Nodes)
	if err != nil {
		return nil, err
	}
	free, states := slices.Clone(s.Cell.Hosts), make([]state, len(nodes))
	for i, n := range nodes {
		v, err := s.victimOf(n)
		if err != nil {
			return nil, err
		}
		states[i].victim = v.host
		free = slices.DeleteFunc(free, func(h *cell.Host) bool { return h == v.host })
	}
	if len(free) == 0 {
		return nil, errors.New("every host has a node: a soak needs one host more than nodes")
	}
	for i := range states {
		states[i].spare = free[0]
	}
	return states, nil
}
