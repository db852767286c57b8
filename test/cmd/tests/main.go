// Command tests runs `go test` with its arguments and says which tests were skipped, and why: `go test` alone hides that. With
// MOORING_NO_SKIPS=1, as in `make test`, a skipped test fails the run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
)

func main() {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt) // the terminal tells go test, too, and this ends with it
	if err := run(context.Background(), "", os.Args[1:], os.Getenv("MOORING_NO_SKIPS") != "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
}

// run runs go test in dir. Its error says that a test failed, or that one was skipped where none may be.
func run(ctx context.Context, dir string, args []string, noSkips bool, out io.Writer) error {
	goTest := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	goTest.Dir, goTest.Stderr = dir, out
	events, err := goTest.StdoutPipe()
	if err != nil {
		return err
	}
	if err := goTest.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	r := newReport(out, slices.Contains(args, "-v"))
	unread := r.read(events)
	_, drained := io.Copy(io.Discard, events) // so that go test is not held up where reading ended early
	failed := goTest.Wait()
	if failed != nil {
		failed = fmt.Errorf("go test: %w", failed)
	}
	return errors.Join(unread, drained, failed, r.skips(noSkips))
}

// skips tells of the tests that were skipped.
func (r *report) skips(forbidden bool) error {
	if len(r.skipped) == 0 {
		return nil
	}
	list := strings.Join(r.skipped, "\n")
	if forbidden {
		return fmt.Errorf("%d tests were skipped that must run after `make prepare`, as root:\n%s", len(r.skipped), list)
	}
	_, err := fmt.Fprintf(r.out, "NOT TESTED, %d tests were skipped:\n%s\n", len(r.skipped), list)
	return err
}
