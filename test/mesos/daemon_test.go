package mesos_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	patience = 3 * time.Minute // Mesos gives an agent up after 82 s at its defaults, and the machine may be loaded
	pause    = 50 * time.Millisecond
)

// daemon is a program in the background. It ends with the test at the latest.
type daemon struct {
	t    *testing.T
	name string
	log  string
	args []string

	cmd   *exec.Cmd     // nil before it runs and after kill and end
	ended chan struct{} // closed when it no longer runs
}

func newDaemon(t *testing.T, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, name: name, log: filepath.Join(t.TempDir(), name+".log"), args: args}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			content, _ := os.ReadFile(d.log)
			t.Logf("end of the log of %s:\n%s", name, content[max(0, len(content)-6000):])
		}
	})
	return d
}

// run starts a program; kill ends it at once.
func run(t *testing.T, name, program string, args ...string) (kill func()) {
	t.Helper()
	d := newDaemon(t, name, append([]string{program}, args...)...)
	d.start()
	return d.kill
}

func (d *daemon) start() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(d.t, err)
	defer log.Close()
	d.cmd = exec.Command(d.args[0], d.args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(d.t, d.cmd.Start())
	d.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		_ = cmd.Wait() // how it ended is not asked
		close(ended)
	}(d.cmd, d.ended)
}

func (d *daemon) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill() // it may have ended
		<-d.ended
		d.cmd = nil
	}
}

// supervise starts the program again if it has ended by itself.
func (d *daemon) supervise() {
	d.t.Helper()
	select {
	case <-d.ended:
		d.start()
	default:
	}
}

// end waits until the program has ended by itself.
func (d *daemon) end() {
	d.t.Helper()
	select {
	case <-d.ended:
		d.cmd = nil
	case <-time.After(patience):
		require.Fail(d.t, d.name+" runs on")
	}
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	require.NoError(d.t, d.cmd.Process.Signal(s))
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s: %v", what, err)
		time.Sleep(pause)
	}
}

func awaitPort(t *testing.T, address string) {
	t.Helper()
	eventually(t, "somebody listens at "+address, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

var networks atomic.Int32

// network is the first three numbers of loopback addresses that no other test uses at the same time, of this or another run.
func network() string {
	return fmt.Sprintf("127.%d.%d", 64+os.Getpid()%190, networks.Add(1)%256)
}

// processes are those whose environment has all the given variables, as NAME=value.
func processes(variables ...string) []int {
	all, _ := os.ReadDir("/proc")
	var found []int
	for _, entry := range all {
		var pid int
		if _, err := fmt.Sscanf(entry.Name(), "%d", &pid); err != nil {
			continue
		}
		content, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil {
			continue // it is over
		}
		if environ := "\x00" + string(content) + "\x00"; containsAll(environ, "\x00", variables) {
			found = append(found, pid)
		}
	}
	return found
}

func containsAll(text, between string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, between+part+between) {
			return false
		}
	}
	return true
}

// killAll ends processes until there is none.
func killAll(t *testing.T, find func() []int) {
	t.Helper()
	eventually(t, "processes are dead", func() error {
		found := find()
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		if len(found) > 0 {
			return errors.New("they live")
		}
		return nil
	})
}

func touch(file string) error { return os.WriteFile(file, nil, 0o600) }
