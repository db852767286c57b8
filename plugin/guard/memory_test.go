package guard

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fromFile is how much of the process's memory has the content of files, in KiB.
func fromFile(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "RssFile:")
	require.True(t, found)
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib
}

func TestWhatOnlyTheStartNeededIsGivenBack(t *testing.T) {
	before := fromFile(t)
	require.NoError(t, giveBack())
	assert.Less(t, fromFile(t), before*3/4, "of %d KiB", before)
}

func TestAMemoryMapIsUnderstood(t *testing.T) {
	for line, want := range map[string]mapping{
		"00400000-00e30000 r-xp 00000000 fe:00 909543                             /mooring\n": {0x400000, 0xe30000, "r-xp", "/mooring"},
		"017e4000-0185d000 rw-p 013e4000 fe:00 909543  /a dir/with blanks\n":                  {0x17e4000, 0x185d000, "rw-p", "/a dir/with blanks"},
		"7ffd6e96f000-7ffd6e990000 rw-p 00000000 00:00 0                          [stack]\n":  {0x7ffd6e96f000, 0x7ffd6e990000, "rw-p", ""},
		"28f5ec000000-28f5ec800000 ---p 00000000 00:00 0 \n":                                  {0x28f5ec000000, 0x28f5ec800000, "---p", ""},
	} {
		got, err := parseMapping(line)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := parseMapping("what is this\n")
	assert.ErrorContains(t, err, "what is this")
}

func TestTheRehearsalOfAFenceFindsNothing(t *testing.T) {
	require.NoError(t, rehearse())
}
