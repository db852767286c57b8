package mistake_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/mistake"
)

func TestMistakesAreToldInTheOrderOfTheirLines(t *testing.T) {
	var list mistake.List
	require.NoError(t, list.Err())
	list.Add(7, "size %q: use a unit", "5")
	list.Add(0, "no classes")
	list.Add(2, "name: missing")
	assert.EqualError(t, list.Err(), `no classes; line 2: name: missing; line 7: size "5": use a unit`)
}
