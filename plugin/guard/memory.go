package guard

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

// giveBack gives back the memory that only the start of the program needed: the parts of the binary that prepare what a guard
// never does. What is needed after all comes back from the file by itself, so this comes before memory is locked, and the
// rehearsal after that.
func giveBack() error {
	table, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read own memory map: %w", err)
	}
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	var failed error
	for line := range strings.Lines(string(table)) {
		m, err := parseMapping(line)
		if err != nil {
			return err
		}
		if m.path != binary || strings.Contains(m.rights, "w") {
			continue // what can be written differs from the file
		}
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
		if errno != 0 {
			failed = errors.Join(failed, fmt.Errorf("give back %s: %w", strings.TrimSpace(line), errno))
		}
	}
	return failed
}

// mapping is a line of /proc/PID/maps (see proc_pid_maps(5)).
type mapping struct {
	start, end   uintptr
	rights, path string
}

func parseMapping(line string) (mapping, error) {
	var m mapping
	var offset, device, inode string
	n, err := fmt.Sscanf(line, "%x-%x %s %s %s %s", &m.start, &m.end, &m.rights, &offset, &device, &inode)
	if n < 6 {
		return m, fmt.Errorf("understand the memory map's line %q: %w", line, err)
	}
	if slash := strings.IndexByte(line, '/'); slash >= 0 {
		m.path = strings.TrimSuffix(line[slash:], "\n")
	}
	return m, nil
}

// rehearse fences a volume that is nowhere, so that what fencing needs of the binary is in memory, and stays there, when the
// disk under the binary may have gone as well. Nothing is found, nothing is killed, nothing is unmounted.
func rehearse() error {
	for _, r := range Fence([]Volume{{Name: "rehearsal", Target: "/proc/rehearsal", Tree: mounts.Tree{Root: "nowhere"}}}, false) {
		if r.Problem != "" {
			return errors.New(r.Problem)
		}
	}
	return nil
}
