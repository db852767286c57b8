package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/test/cell"
)

// walk is a page of the documentation whose commands a story carries out, block after block, as somebody would who follows it. None is
// left out, and none is run that is not on the page.
type walk struct {
	t      *testing.T
	cell   *cell.Cell
	host   *cell.Host // of which the page says: that host, or one host
	blocks []block    // that are yet to be run
	shell  *shellSession
}

// block is one block of commands of a page.
type block struct {
	section string // the heading above it
	where   string // what its first line says, if that is a comment; empty: on the operator's machine
	text    string
}

var shellBlocks = regexp.MustCompile("(?m)^## (.*)$|^```sh\n((?s:.*?))^```$")

// readBlocks finds a page's headings and its blocks of commands.
func readBlocks(t *testing.T, file string) []block {
	t.Helper()
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	var blocks []block
	section := ""
	for _, found := range shellBlocks.FindAllStringSubmatch(string(page), -1) {
		if found[1] != "" {
			section = found[1]
			continue
		}
		where := ""
		if comment, commands, ok := strings.Cut(found[2], "\n"); ok && strings.HasPrefix(comment, "# ") {
			where, found[2] = comment[2:], commands
		}
		blocks = append(blocks, block{section, where, found[2]})
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// does carries out the page's next block, which must be of the section that the story has come to, and returns what it prints.
func (w *walk) does(section string) string {
	w.t.Helper()
	out, err := w.try(section)
	require.NoError(w.t, err)
	return out
}

// refused carries out the page's next block, which is an example of what is refused.
func (w *walk) refused(section string) string {
	w.t.Helper()
	out, err := w.try(section)
	require.Error(w.t, err)
	return out
}

func (w *walk) try(section string) (out string, err error) {
	w.t.Helper()
	require.NotEmpty(w.t, w.blocks, "the page ends before %q", section)
	b := w.blocks[0]
	w.blocks = w.blocks[1:]
	require.Equal(w.t, section, b.section, "the page goes on with:\n%s", b.text)
	switch b.where {
	case "":
		out, err = w.shell.run(b.text)
	case "on each host":
		for _, h := range w.cell.Hosts {
			said, e := w.on(h, b.text)
			if out += said; e != nil {
				err = e
			}
		}
	case "on that host", "on one host":
		out, err = w.on(w.host, b.text)
	default:
		require.Failf(w.t, "unknown place", "the page has a block %q; known are: on each host, on that host, on one host", b.where)
	}
	w.t.Logf("%s\n%s%s", b.section, b.text, out)
	if err != nil {
		err = fmt.Errorf("%s: %w: %s\n%s", b.section, err, b.text, out)
	}
	return out, err
}

// on carries out commands on a host, as root there.
func (w *walk) on(h *cell.Host, commands string) (string, error) {
	command, err := h.Command(within(w.t), "bash", "-ec", commands)
	require.NoError(w.t, err)
	out, err := command.CombinedOutput()
	return string(out), err
}

// done checks that the story left nothing of the page out.
func (w *walk) done() { assert.Empty(w.t, w.blocks, "the page has more than the story") }

// shellSession is a shell that stays: what a block of commands sets or starts in the background, the next one finds.
type shellSession struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// blockEnd is what a shell prints behind all that a block prints, with the number of commands that failed.
const blockEnd = "-- end of block, failed: "

// startShell starts a shell that reads commands as if typed in a directory. It ends with the test, with all that it has started.
func startShell(t *testing.T, c *cell.Cell, dir string) *shellSession {
	t.Helper()
	command := c.Command(t.Context(), "bash")
	command.Dir = dir
	command.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	in, err := command.StdinPipe()
	require.NoError(t, err)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	command.Stdout, command.Stderr = write, write
	require.NoError(t, command.Start())
	require.NoError(t, write.Close())
	t.Cleanup(func() {
		if err := unix.Kill(-command.Process.Pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			t.Error(err)
		}
		if err := command.Wait(); err != nil && !isExit(err) {
			t.Error(err)
		}
		require.NoError(t, read.Close())
	})
	return &shellSession{t: t, in: in, out: bufio.NewReader(read)}
}

// run has the shell run commands and returns what they print. It is an error if any of them fails.
func (s *shellSession) run(commands string) (string, error) {
	s.t.Helper()
	deadline := within(s.t)
	type answer struct {
		said string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		said, err := s.exchange(commands)
		answers <- answer{said, err}
	}()
	select {
	case a := <-answers:
		return a.said, a.err
	case <-deadline.Done():
		return "", fmt.Errorf("the shell does not come back: %w", deadline.Err())
	}
}

func (s *shellSession) exchange(commands string) (string, error) {
	script := "failed=0; trap 'failed=$((failed + 1))' ERR\n{\n" + commands + "\n} </dev/null\ntrap - ERR; echo \"" + blockEnd + "$failed\"\n"
	if _, err := io.WriteString(s.in, script); err != nil {
		return "", err
	}
	var said strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		before, failed, ended := strings.Cut(line, blockEnd)
		said.WriteString(before)
		switch {
		case err != nil:
			return said.String(), fmt.Errorf("the shell has ended: %w", err)
		case ended && failed != "0\n":
			return said.String(), fmt.Errorf("%s of the commands failed", strings.TrimSpace(failed))
		case ended:
			return said.String(), nil
		}
	}
}

// version builds the program under a version of its own.
func version(t *testing.T, file, version string) {
	t.Helper()
	build := exec.CommandContext(within(t), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", file, "mooring")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
}
