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

// Round chooses round number n of a seed. The same seed makes the same choices, as far as the nodes are on the same hosts.
func (s *Soak) Round(ctx context.Context, seed uint64, n int) (Round, error) {
	states, err := s.states(ctx)
	if err != nil {
		return Round{}, err
	}
	return choose(seed, n, states)
}

// choose picks a fault by chance, then a node under which it can be played.
func choose(seed uint64, n int, states []state) (Round, error) {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	faults, nodes, share := random.Perm(len(Faults)), random.Perm(len(states)), random.Float64()
	for _, i := range faults {
		f := Faults[i]
		for _, node := range nodes {
			if f.canPlay(states[node]) {
				return Round{Fault: f, Node: node + 1, Length: time.Duration(share * float64(f.most))}, nil
			}
		}
	}
	return Round{}, errors.New("no fault can be played")
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
