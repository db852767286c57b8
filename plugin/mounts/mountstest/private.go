// Package mountstest gives the tests of a package a mount namespace of their own, and stores to try things on. Other
// processes that unshare theirs meanwhile would copy the tests' mounts, and keep file systems and loop devices in use that the
// tests want to see free.
package mountstest

import (
	"os"
	"os/exec"
	"syscall"
)

const mark = "MOORING_TEST_PRIVATE_MOUNTS"

// Private starts the test binary again in a new mount namespace, unless it runs in one already. It is the first thing in a
// TestMain. Without root it does nothing; then the tests that mount don't run.
func Private() {
	path, err := exec.LookPath("unshare")
	if os.Getuid() != 0 || os.Getenv(mark) != "" || err != nil {
		return
	}
	args := append([]string{path, "--mount", "--propagation", "private", os.Args[0]}, os.Args[1:]...)
	err = syscall.Exec(path, args, append(os.Environ(), mark+"=1"))
	panic(err) // Exec returns only when it did not work
}
