package store

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// Who has no groups can go back to a program that knows none; who has some is kept from it.
func TestRecordsGetTheLowestVersionThatCanTell(t *testing.T) {
	for name, c := range map[string]struct {
		record record
		want   string
	}{
		"header":             {record{Header: &coordinator.State{Framework: "es"}}, `{"version":1,`},
		"node":               {record{Node: &coordinator.Node{ID: 1}}, `{"version":1,`},
		"header with groups": {record{Header: &coordinator.State{Groups: map[string]int{"data": 0}}}, `{"version":2,`},
		"node of a group":    {record{Node: &coordinator.Node{ID: 1, Group: "data"}}, `{"version":2,`},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := encode(c.record)
			require.NoError(t, err)
			assert.Contains(t, string(data), c.want)
			_, err = decode(data)
			require.NoError(t, err)
		})
	}
}
