// Package zookeeper runs a real ZooKeeper for tests, alone or as an ensemble, from the jars that test/prepare installs.
package zookeeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/test/ports"
)

const (
	jars      = "/usr/share/java"
	startTime = time.Minute // on a loaded machine
	pause     = 50 * time.Millisecond
)

// Server is one member. It runs until the process that started it ends, or Kill.
type Server struct {
	Address string // host:port for clients

	dir    string
	prefix []string
	cmd    *exec.Cmd
}

// Options say where a server runs.
type Options struct {
	Dir     string   // for data and log; made if missing
	Address string   // host:port for clients
	Prefix  []string // a command before the server's own, such as nsenter
	Members []string // all members of an ensemble, this one too, as host:port:port; nil for a server that is alone
	Number  int      // of this member, from 1
}

// New prepares a server without starting it.
func New(o Options) (*Server, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address of a ZooKeeper server: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "data"), 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("tickTime=1000\ninitLimit=20\nsyncLimit=3\ndataDir=%s\nclientPort=%s\nclientPortAddress=%s\n"+
		"admin.enableServer=false\n4lw.commands.whitelist=srvr\n", filepath.Join(o.Dir, "data"), port, host)
	for i, member := range o.Members {
		config += fmt.Sprintf("server.%d=%s\n", i+1, member)
	}
	s := &Server{Address: o.Address, dir: o.Dir, prefix: o.Prefix}
	return s, errors.Join(os.WriteFile(s.config(), []byte(config), 0o600),
		os.WriteFile(filepath.Join(o.Dir, "data/myid"), []byte(strconv.Itoa(o.Number)), 0o600))
}

func (s *Server) config() string { return filepath.Join(s.dir, "zoo.cfg") }

// Log is the file with what the server prints.
func (s *Server) Log() string { return filepath.Join(s.dir, "log") }

// Start starts the server, again if it was killed. Await waits until it serves, if it can be reached from here.
func (s *Server) Start() error {
	var path []string
	for _, jar := range []string{"zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "netty-all", "snappy-java", "metrics-core"} {
		file := filepath.Join(jars, jar+".jar")
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("ZooKeeper is not installed, run test/prepare: %w", err)
		}
		path = append(path, file)
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(s.prefix, "java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", strings.Join(path, ":"),
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", s.config())
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return s.cmd.Start()
}

// Kill ends the server at once.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	s.cmd = nil
	return err
}

// Freeze stops the server without closing its connections, until Thaw.
func (s *Server) Freeze() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Mode asks the server what it is: standalone, leader or follower; an error if it does not serve.
func (s *Server) Mode() (string, error) {
	conn, err := net.DialTimeout("tcp", s.Address, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("srvr")); err != nil {
		return "", err
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if mode, found := strings.CutPrefix(lines.Text(), "Mode: "); found {
			return mode, nil
		}
	}
	return "", errors.New("it does not serve")
}

// Await waits until the server serves.
func (s *Server) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		_, err := s.Mode()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			log, _ := os.ReadFile(s.Log())
			return fmt.Errorf("ZooKeeper at %s after %s: %w\n%s", s.Address, startTime, err, log[max(0, len(log)-4000):])
		}
	}
}

// Run starts a server on this machine that runs until the test ends. Where ZooKeeper is not installed the test is skipped.
func Run(t testing.TB) *Server {
	t.Helper()
	return run(t, 1)[0]
}

// RunEnsemble starts several members that run until the test ends.
func RunEnsemble(t testing.TB, members int) []*Server {
	t.Helper()
	return run(t, members)
}

func run(t testing.TB, count int) []*Server {
	t.Helper()
	var members []string
	for range count {
		_, election, err := net.SplitHostPort(ports.Free(t))
		require.NoError(t, err)
		members = append(members, ports.Free(t)+":"+election)
	}
	if count == 1 {
		members = nil
	}
	servers := make([]*Server, count)
	for n := range servers {
		var err error
		servers[n], err = New(Options{Dir: t.TempDir(), Address: ports.Free(t), Members: members, Number: n + 1})
		require.NoError(t, err)
		err = servers[n].Start()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			t.Skip("NOT TESTED:", err)
		}
		require.NoError(t, err)
		t.Cleanup(func() { _ = servers[n].Kill() })
	}
	for _, s := range servers {
		require.NoError(t, s.Await(t.Context()))
	}
	return servers
}
