package beside

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lastWords is how much is kept of what a program said last on standard error.
const lastWords = 1 << 10

// child is a running program.
type child struct {
	cmd   *exec.Cmd
	said  *tail
	done  chan error       // gets how it ended, once
	timer <-chan time.Time // when it will have run for long enough; nil: it has
}

// begin starts a program and tells it what it is told. The calling thread must outlive it.
func begin(o Options, input []byte) (*child, error) {
	c := &child{cmd: exec.Command(o.Command[0], o.Command[1:]...), said: &tail{}, done: make(chan error, 1), timer: time.After(Steady)}
	c.cmd.Env = environment(os.Environ(), o.Memory)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = bytes.NewReader(input), os.Stdout, c.said
	c.cmd.WaitDelay = time.Second
	// A signal from a terminal goes to the driver alone, which passes it on. A driver that is killed takes the program along.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() { c.done <- c.wait() }()
	if o.Memory > 0 {
		limit := unix.Rlimit{Cur: o.Memory, Max: o.Memory}
		if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, errors.Join(fmt.Errorf("limit memory: %w", err), c.stop(0))
		}
	}
	return c, nil
}

// environment is that of this process without what means something to this program: what a program beside it is told, it is told.
// It collects garbage harder before it reaches its limit.
func environment(all []string, memory uint64) []string {
	var kept []string
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "MOORING_") && name != "GOMEMLIMIT" {
			kept = append(kept, variable)
		}
	}
	if memory > 0 {
		kept = append(kept, fmt.Sprintf("GOMEMLIMIT=%d", memory/2))
	}
	return kept
}

// wait returns how the program ended, with its own last words.
func (c *child) wait() error {
	err := c.cmd.Wait()
	if words := c.said.String(); err != nil && words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

// stop lets the program end in order, within grace.
func (c *child) stop(grace time.Duration) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error: it has ended
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-c.done:
		return err
	case <-late.C:
		_ = c.cmd.Process.Kill()
		return errors.Join(fmt.Errorf("killed, since it took more than %s to end", grace), <-c.done)
	}
}

// steady is ready when the program has run for some time; never if there is none.
func (c *child) steady() <-chan time.Time {
	if c == nil {
		return nil
	}
	return c.timer
}

// end gets how the program ended.
func (c *child) end() <-chan error {
	if c == nil {
		return nil
	}
	return c.done
}

// tail passes on what is written to it to standard error, and keeps the end.
type tail struct{ kept []byte }

// Write implements io.Writer.
func (t *tail) Write(text []byte) (int, error) {
	t.kept = append(t.kept, text...)
	t.kept = t.kept[max(0, len(t.kept)-lastWords):]
	return os.Stderr.Write(text)
}

// String is the end in one line.
func (t *tail) String() string {
	return strings.Join(strings.FieldsFunc(string(t.kept), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
