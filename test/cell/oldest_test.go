package cell

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After 32,768 processes the kernel begins again with low numbers: a guard may have a lower one than the older plugin.
func TestTheOldestProcessNeedNotHaveTheLowestNumber(t *testing.T) {
	assert.Equal(t, 32001, oldest(map[int]uint64{32001: 700, 412: 9000, 413: 9001}))
	assert.Equal(t, 412, oldest(map[int]uint64{413: 9000, 412: 9000}), "in the same tick the lower number")
	assert.Zero(t, oldest(nil))
}

func TestTheStartOfAProcessIsReadBehindItsName(t *testing.T) {
	own, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	first, err := os.ReadFile("/proc/1/stat")
	require.NoError(t, err)
	assert.Greater(t, startOf(string(own)), startOf(string(first)))

	program := filepath.Join(t.TempDir(), "a) 7 (b")
	require.NoError(t, os.Symlink("/bin/sleep", program))
	sleep := exec.Command(program, "1000")
	require.NoError(t, sleep.Start())
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	named, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(sleep.Process.Pid), "stat"))
	require.NoError(t, err)
	assert.Contains(t, string(named), "(a) 7 (b) ")
	assert.GreaterOrEqual(t, startOf(string(named)), startOf(string(own)))
	assert.Zero(t, startOf("17 (gone) Z"))
}
