package soak

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

var faulty, other = &cell.Host{Name: "host1", Faulty: true}, &cell.Host{Name: "host2"}

func TestASeedMakesTheSameChoices(t *testing.T) {
	states := []state{{other, other}, {faulty, other}, {other, other}}
	different := false
	for n := 1; n <= 20; n++ {
		one, err := choose(7, n, states)
		require.NoError(t, err)
		again, err := choose(7, n, states)
		require.NoError(t, err)
		assert.Equal(t, one.Fault.Name, again.Fault.Name)
		assert.Equal(t, one.Node, again.Node)
		assert.Equal(t, one.Length, again.Length)
		another, err := choose(8, n, states)
		require.NoError(t, err)
		different = different || one.Fault.Name != another.Fault.Name
	}
	assert.True(t, different)
}

func TestEveryFaultHasItsTurnAndOnlyWhereItFits(t *testing.T) {
	for name, c := range map[string]struct {
		states []state
		never  []string
	}{
		"a host that can lose its store has a node": {[]state{{other, other}, {faulty, other}, {other, other}}, nil},
		"it has none": {[]state{{other, faulty}, {other, faulty}, {other, faulty}}, []string{FreezeHost.Name, CutHost.Name}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for n := range 1000 {
				round, err := choose(1, n, c.states)
				require.NoError(t, err)
				require.True(t, round.Fault.canPlay(c.states[round.Node-1]), round.Fault.Name)
				require.LessOrEqual(t, round.Length, round.Fault.most)
				seen[round.Fault.Name] = true
			}
			for _, f := range Faults {
				assert.Equal(t, !slices.Contains(c.never, f.Name), seen[f.Name], f.Name)
			}
		})
	}
}
