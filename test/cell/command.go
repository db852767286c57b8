package cell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// run runs a command; what it printed becomes part of the error.
func run(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

// output runs a command and returns its standard output.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	return collect(ctx, cmd)
}

func collect(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = time.Second // a child that keeps the pipe open must not keep us
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.String(), fmt.Errorf("run %s: %w: %s", abbreviate(cmd.Args), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// abbreviate shortens a command line to what tells it from others.
func abbreviate(args []string) string {
	line := strings.Join(strings.Fields(strings.Join(args, " ")), " ")
	const enough = 160
	if len(line) > enough {
		return line[:enough] + "..."
	}
	return line
}

// containsField reports whether word stands between the separators that ip(8) prints around a link's flags.
func containsField(line, word string) bool {
	for _, field := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("<>, ", r) }) {
		if field == word {
			return true
		}
	}
	return false
}

// withLog adds the end of a log file to an error, and where to read on.
func withLog(err error, file string) error {
	const enough = 1500
	content, readErr := os.ReadFile(file)
	if readErr != nil {
		return fmt.Errorf("%w (no log at %s)", err, file)
	}
	if len(content) > enough {
		content = content[len(content)-enough:]
		content = content[bytes.IndexByte(content, '\n')+1:]
	}
	return fmt.Errorf("%w; log %s ends with:\n%s", err, file, bytes.TrimSpace(content))
}

// errHopeless in an answer to await says that asking on is of no use.
var errHopeless = errors.New("it will not come")

// await asks until the answer is nil; at the deadline the last answer becomes the error.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, errHopeless) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
