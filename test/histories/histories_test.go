package histories_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/test/histories"
)

func sum(total *uint64, one uint64) { *total += one }

func TestTheFirstFailureIsFound(t *testing.T) {
	seed, failure, played := histories.Find(5, 1000, func(seed uint64) (uint64, string) {
		if seed >= 40 && seed%10 == 0 {
			return 1, "it broke"
		}
		return 1, ""
	}, sum)
	assert.EqualValues(t, 40, seed)
	assert.Equal(t, "it broke", failure)
	assert.GreaterOrEqual(t, played, uint64(36), "all before it were played")
}

func TestAllArePlayedOnceWhenNoneFails(t *testing.T) {
	_, failure, seeds := histories.Find(1, 100, func(seed uint64) (uint64, string) { return seed, "" }, sum)
	assert.Empty(t, failure)
	assert.EqualValues(t, 5050, seeds)
}
