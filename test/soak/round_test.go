package soak

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

var faulty, other = &cell.Host{Name: "host1", Faulty: true}, &cell.Host{Name: "host2"}

// places are where the nodes are, and what a round does to that: a fault that moves a node leaves its host free.
type places struct {
	nodes []*cell.Host
	free  *cell.Host
}

func (p *places) states() []state {
	states := make([]state, len(p.nodes))
	for i, h := range p.nodes {
		states[i] = state{victim: h, spare: p.free}
	}
	return states
}

func (p *places) play(r Round) {
	if r.Fault.moves {
		p.nodes[r.Node-1], p.free = p.free, p.nodes[r.Node-1]
	}
}

// run deals rounds from a seed, with one host that can lose its store: that of a node, or the free one as number Nodes.
func run(t *testing.T, seed uint64, rounds, faultyAt int) []Round {
	t.Helper()
	hosts := make([]*cell.Host, Nodes+1)
	for i := range hosts {
		hosts[i] = &cell.Host{Name: fmt.Sprint("host", i+1), Faulty: i == faultyAt}
	}
	p, deck := places{nodes: hosts[:Nodes], free: hosts[Nodes]}, NewDeck(seed)
	var dealt []Round
	for range rounds {
		round, err := deck.deal(p.states())
		require.NoError(t, err)
		require.True(t, round.Fault.canPlay(p.states()[round.Node-1]), round.Fault.Name)
		require.LessOrEqual(t, round.Length, round.Fault.most)
		p.play(round)
		dealt = append(dealt, round)
	}
	return dealt
}

// names tells rounds apart; functions can't be compared.
func names(rounds []Round) []string {
	var told []string
	for _, r := range rounds {
		told = append(told, fmt.Sprintf("%s under node %d for %s", r.Fault.Name, r.Node, r.Length))
	}
	return told
}

func TestASeedMakesTheSameChoices(t *testing.T) {
	assert.Equal(t, names(run(t, 7, 30, 1)), names(run(t, 7, 30, 1)))
	assert.NotEqual(t, names(run(t, 7, 30, 1)), names(run(t, 8, 30, 1)))
}

func TestThirtyRoundsPlayEveryFaultTwice(t *testing.T) {
	for seed := range uint64(300) {
		dealt := run(t, seed, 30, int(seed%(Nodes+1)))
		count := map[string]int{}
		for _, r := range dealt {
			count[r.Fault.Name]++
		}
		for _, f := range Faults {
			require.GreaterOrEqual(t, count[f.Name], 2, "%s with seed %d: %v", f.Name, seed, names(dealt))
		}
	}
}

func TestEveryNodeIsStruck(t *testing.T) {
	struck := map[int]bool{}
	for _, r := range run(t, 1, 30, 0) {
		struck[r.Node] = true
	}
	assert.Len(t, struck, Nodes)
}

func TestAFaultThatDoesNotFitWaitsForItsTurn(t *testing.T) {
	without := []state{{other, faulty}, {other, faulty}, {other, faulty}}
	with := []state{{faulty, other}, {other, other}, {other, other}}
	deck := NewDeck(1)
	var dealt []string
	for range 3 * len(Faults) {
		round, err := deck.deal(without)
		require.NoError(t, err)
		dealt = append(dealt, round.Fault.Name)
	}
	for _, f := range []Fault{FreezeHost, CutHost} {
		assert.False(t, slices.Contains(dealt, f.Name), f.Name)
		round, err := deck.deal(with)
		require.NoError(t, err)
		assert.Equal(t, f.Name, round.Fault.Name, "it has waited longest")
	}
}
