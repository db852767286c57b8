package beside

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPausesGrow(t *testing.T) {
	p := New(Options{Name: "stub"})
	var pauses []time.Duration
	for range 7 {
		pauses = append(pauses, p.pause)
		p.over(errors.New("no luck"))
		assert.NotNil(t, p.next)
	}
	assert.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, MostPause, MostPause}, pauses)
}

func TestAChangeCountsWhenTwoLooksHaveShownIt(t *testing.T) {
	var seen told
	for _, look := range []struct {
		shows   string
		changed bool
	}{{"", false}, {"a", false}, {"a", true}, {"a", false}, {"b", false}, {"c", false}, {"", false}, {"c", false}, {"c", true}, {"a", false}, {"c", false}, {"c", false}} {
		changed, err := seen.look(func() ([]byte, error) {
			if look.shows == "" {
				return nil, errors.New("none")
			}
			return []byte(look.shows), nil
		})
		require.Equal(t, look.shows == "", err != nil)
		assert.Equal(t, look.changed, changed, look.shows)
	}
	first, err := new(told).look(func() ([]byte, error) { return []byte("a"), nil })
	require.NoError(t, err)
	assert.True(t, first, "the first look counts at once")
}
