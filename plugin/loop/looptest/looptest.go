// Package looptest holds what tests with loop devices share.
package looptest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/plugin/loop"
)

// patience is how long a machine under load may take.
const patience = time.Minute

// AwaitFree waits until nobody has a device: the kernel frees it after its last user has gone.
func AwaitFree(t testing.TB, number int) {
	t.Helper()
	require.Eventually(t, func() bool {
		bound, err := loop.Bound()
		require.NoError(t, err)
		_, is := bound[number]
		return !is
	}, patience, 5*time.Millisecond)
}
