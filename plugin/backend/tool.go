package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// toolTime is the longest a tool runs if its caller does not set a shorter time.
	toolTime = 20 * time.Second
	// toolGrace is how long a tool that was told to stop may take to leave the file system in order.
	toolGrace = 3 * time.Second
	// toolWords is how much of a tool's output goes into an error.
	toolWords = 600
)

// run calls a tool of the file systems without a shell. An exit status other than 0 and those in fine is an error with what
// the tool said. The status is returned.
func run(ctx context.Context, fine []int, name string, args ...string) (int, error) {
	path, err := tool(name)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolGrace
	err = cmd.Run()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%s was stopped, it took too long: %w", name, ctx.Err())
	}
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && slices.Contains(fine, exit.ExitCode()) {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lastWords(said.String()))
}

// tool is the absolute path of a tool.
func tool(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		path := filepath.Join(dir, name)
		if stat, err := os.Stat(path); err == nil && stat.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("tool %s is missing: install package e2fsprogs (ext4) or xfsprogs (xfs)", name)
}

func lastWords(said string) string {
	words := strings.Join(strings.Fields(said), " ")
	return words[max(0, len(words)-toolWords):]
}
