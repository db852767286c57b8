package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a running Elasticsearch: a process group of its own, with whatever its processes left behind.
type child struct {
	pid   int
	ended chan int      // its exit code, once
	gone  chan struct{} // closed when nothing of it lives any more
	said  *complaint
}

// startChild starts bin/elasticsearch and takes in everything that it leaves behind.
func startChild(o Options, env []string) (*child, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("adopt orphans: %w", err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start Elasticsearch: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Elasticsearch: %w", err), out.Close(), in.Close())
	}
	program := filepath.Join(o.Home, "bin", "elasticsearch")
	process, err := os.StartProcess(program, []string{program}, &os.ProcAttr{
		Dir: o.Home, Env: env, Files: []*os.File{null, in, in},
		Sys: &syscall.SysProcAttr{Setpgid: true, Credential: o.credential()},
	})
	_, _ = null.Close(), in.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Elasticsearch: %w", err), out.Close())
	}
	c := &child{pid: process.Pid, ended: make(chan int, 1), gone: make(chan struct{}), said: &complaint{}}
	_ = process.Release() // reap waits for it, as for every other child
	go c.reap(out, o.Output)
	return c, nil
}

// reap waits for all children, also those that others left behind: this is the first process of a container. What outlives
// Elasticsearch itself is killed, so that nothing writes to the volumes any more when reap ends.
func (c *child) reap(out *os.File, to io.Writer) {
	defer close(c.gone)
	var copied sync.WaitGroup
	copied.Go(func() {
		_, _ = io.Copy(io.MultiWriter(to, c.said), out) // output is best effort
		_ = out.Close()
	})
	code := 0
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			break // ECHILD: none is left
		}
		if err == nil && pid == c.pid {
			code = exitCode(status)
			c.signal(syscall.SIGKILL)
		}
	}
	copied.Wait()
	c.ended <- code
}

// signal reaches all processes of Elasticsearch's group; none may be left.
func (c *child) signal(s syscall.Signal) { _ = syscall.Kill(-c.pid, s) }

// ask lets Elasticsearch end by itself. Its first process passes the wish on in its own order.
func (c *child) ask() { _ = syscall.Kill(c.pid, syscall.SIGTERM) }

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// complaint remembers the latest line of Elasticsearch's output that tells of an error.
type complaint struct {
	mu   sync.Mutex
	rest []byte
	line string
}

const maxComplaint = 1000 // bytes of a line

// Write takes output in pieces of any size.
func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p...)
	for {
		line, rest, complete := bytes.Cut(c.rest, []byte("\n"))
		if !complete {
			break
		}
		c.rest = rest
		c.keepLocked(string(line))
	}
	c.rest = c.rest[:min(len(c.rest), maxComplaint)]
	return len(p), nil
}

// keepLocked passes over frames of a stack and over the launcher's last words, which only name a log file.
func (c *complaint) keepLocked(line string) {
	line = strings.TrimSpace(line)
	tells := strings.Contains(line, "Exception") || strings.Contains(line, "ERROR")
	if !tells || strings.HasPrefix(line, "at ") || strings.Contains(line, "did not exit normally") {
		return
	}
	c.line = line[:min(len(line), maxComplaint)]
}

func (c *complaint) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ToValidUTF8(c.line, "")
}
