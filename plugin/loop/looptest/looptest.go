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

// AwaitFree waits until a device does not show a file any more: the kernel frees it after its last user has gone, and may give it
// to anybody at once.
func AwaitFree(t testing.TB, number int, file string) {
	t.Helper()
	require.Eventually(t, func() bool {
		bound, err := loop.Bound()
		require.NoError(t, err)
		return bound[number] != file
	}, patience, 5*time.Millisecond)
}
