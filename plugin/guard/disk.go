package guard

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"mooring/plugin/mounts"
)

// diskOf is the kernel's count of what a loop device shows: no two files that one is bound to have the same, while the device's number is
// used again as soon as it is free (sysfs' diskseq, since Linux 5.15). It is 0 where it is not known. Reading it never waits for
// storage.
func diskOf(tree mounts.Tree) uint64 {
	if tree.Major != loopMajor {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/diskseq", tree.Major, tree.Minor))
	if err != nil {
		return 0
	}
	disk, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return disk
}

// mayBeThere tells whether what mount tables show by the number of the volume's device may be the volume. If it is not known it may:
// better a stranger is stopped than the volume's writers are not.
func (v Volume) mayBeThere() bool {
	now := diskOf(v.Tree)
	return v.Disk == 0 || now == 0 || now == v.Disk
}
