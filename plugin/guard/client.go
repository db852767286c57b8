package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	startTime  = 5 * time.Second // until a new guard answers
	startPause = 50 * time.Millisecond
	leaveTime  = time.Second // until a guard has ended that said that it does
	// replaceAfter is how long after a start the next one is tried.
	replaceAfter = 30 * time.Second
)

// Client is the plugin's end of the socket. It starts a guard where none runs, and adopts one that does.
type Client struct {
	Command []string     // starts a guard process; absolute path and arguments
	Leases  string       // their address with the password, if they are not in the store
	Log     hclog.Logger // nil is silent

	mu       sync.Mutex
	host     Host
	link     *link
	pid      int // of the guard at the other end
	watched  map[string]Volume
	unsure   map[string]bool // of those watched, which the guard has neither taken over nor fenced
	children []int           // guards that this process started and that may have ended
	started  time.Time       // the last start
	silent   time.Time       // since when the guard does not answer; zero if it does
}

// Attach makes sure that a guard of this host runs, starts one if not, and returns what it says.
func (c *Client) Attach(ctx context.Context, host Host) (Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host = host
	c.reap()
	status, err := c.firstBeat(ctx)
	if err != nil {
		return status, err
	}
	if len(c.unsure) > 0 {
		if status, err = c.resume(status); err != nil {
			return status, err
		}
	}
	if !fits(status.PID) && time.Since(c.started) > replaceAfter {
		c.log().Info("guard is replaced by this version's", "pid", status.PID)
		return status, c.start()
	}
	return status, nil
}

// firstBeat asks for the status, and again while a guard that has just started has not tried to beat yet.
func (c *Client) firstBeat(ctx context.Context) (Status, error) {
	for {
		status, err := c.call(ctx, request{Verb: askStatus})
		if err != nil || status.Pulse.Known || status.Problem != "" || time.Since(c.started) > startTime {
			return status, err
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return status, ctx.Err()
		}
	}
}

// Watch makes the guard answer for a volume from now on; an error says why it may not be mounted.
func (c *Client) Watch(ctx context.Context, v Volume) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.call(ctx, request{Verb: watch, Volume: v}); err != nil {
		return err
	}
	if c.watched == nil {
		c.watched = map[string]Volume{}
	}
	c.watched[v.Name] = v
	delete(c.unsure, v.Name)
	return nil
}

// Forget ends the watch over a volume that is not mounted any more.
func (c *Client) Forget(ctx context.Context, name string) error {
	return c.drop(ctx, request{Verb: forget, Volume: Volume{Name: name}})
}

// Acknowledge drops a settled report, which the plugin has made durable for itself.
func (c *Client) Acknowledge(ctx context.Context, name string) error {
	return c.drop(ctx, request{Verb: acknowledge, Volume: Volume{Name: name}})
}

func (c *Client) drop(ctx context.Context, r request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, r.Volume.Name)
	delete(c.unsure, r.Volume.Name)
	_, err := c.call(ctx, r)
	return err
}

// Leave lets a guard end that has nothing to guard, and the connection in any case.
func (c *Client) Leave(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return nil
	}
	status, err := c.ask(request{Verb: leave})
	c.hangUp()
	if err != nil || !status.Leaving {
		return err
	}
	if c.ended(ctx, status.PID) {
		removeGroups(c.host.Host)
	}
	return nil
}

// ended waits for a guard's end, and tells whether it came.
func (c *Client) ended(ctx context.Context, pid int) bool {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for {
		c.reap()
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return true
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return false
		}
	}
}

// call is ask, once more if the connection was to a guard that has ended: it was killed, or replaced.
func (c *Client) call(ctx context.Context, r request) (Status, error) {
	if c.link != nil {
		status, err := c.ask(r)
		if c.link != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return status, err
		}
	}
	if err := c.connect(ctx); err != nil {
		return Status{}, err
	}
	return c.ask(r)
}

// connect reaches the running guard or starts one, and tells it what the plugin has mounted.
func (c *Client) connect(ctx context.Context) error {
	l, err := dial(c.host.StateDir)
	if err != nil {
		if err := c.start(); err != nil {
			return err
		}
		if l, err = c.awaitGuard(ctx); err != nil {
			return err
		}
	}
	c.link = l
	status, err := c.ask(request{Verb: askStatus})
	if err != nil {
		return err
	}
	if err := c.check(status); err != nil {
		c.hangUp()
		return err
	}
	if status.PID != c.pid {
		c.log().Info("guard found", "pid", status.PID, "independent", status.Independent, "notes", status.Notes)
	}
	c.pid = status.PID
	c.unsure = map[string]bool{}
	for name := range c.watched {
		c.unsure[name] = true
	}
	_, err = c.resume(status)
	return err
}

// resume tells a guard what the plugin had mounted before that guard was there, and returns its status after that. What it
// refuses without fencing it, because another guard is taking over, is asked again with the next Attach.
func (c *Client) resume(status Status) (Status, error) {
	for name := range c.unsure {
		v := c.watched[name]
		answer, err := c.ask(request{Verb: resume, Volume: v})
		if _, refused := errors.AsType[refusal](err); err != nil && !refused {
			return status, err
		}
		answer.Rival = answer.Rival || status.Rival // said once
		status = answer
		switch {
		case err == nil:
			delete(c.unsure, name)
		case fences(status, v):
			delete(c.unsure, name)
			c.log().Warn("volume fenced by a new guard", "volume", name, "error", err)
		default:
			c.log().Warn("volume not watched yet", "volume", name, "error", err)
		}
	}
	return status, nil
}

// fences tells whether a guard ends the use of a volume under its lease.
func fences(s Status, v Volume) bool {
	return slices.ContainsFunc(s.Fenced, func(r Report) bool { return r.Volume.Name == v.Name && r.Volume.Epoch >= v.Epoch })
}

// check tells whether the guard that answered is this host's.
func (c *Client) check(s Status) error {
	if s.Format == format && s.Host.same(c.host) {
		return nil
	}
	if s.Watching == 0 {
		_, _ = c.link.ask(request{Verb: leave})
		return fmt.Errorf("guard %d of host %s was asked to end", s.PID, s.Host.Host)
	}
	return fmt.Errorf("guard %d still guards %d volumes of host %s (boot %s, store %s) with other settings than this plugin's: "+
		"stop the containers that use them, or set HOST, BOOT_ID and the store back", s.PID, s.Watching, s.Host.Host, s.Host.Boot, s.Host.StoreDir)
}

func (c *Client) awaitGuard(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		l, err := dial(c.host.StateDir)
		if err == nil {
			return l, nil
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("no guard after its start (see %s): %w", filepath.Join(c.host.StateDir, logFile), err)
		}
	}
}

// start starts a guard process. It has nothing of this process's, so that it can outlive it.
func (c *Client) start() error {
	c.started = time.Now()
	text, err := line(settings{c.host, c.Leases})
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	defer in.Close()
	defer out.Close()
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Dir, cmd.Stdin = "/", in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	c.children = append(c.children, cmd.Process.Pid)
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	return nil
}

// reap buries guards that this process started.
func (c *Client) reap() {
	living := c.children[:0]
	for _, pid := range c.children {
		if done, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); done == 0 && err == nil {
			living = append(living, pid)
		}
	}
	c.children = living
}

// ask sends a request. Without an answer the connection is given up, and a guard that has not answered
// for as long as it would have to fence is killed: it does not guard, and keeps others from doing so.
func (c *Client) ask(r request) (Status, error) {
	if c.link == nil {
		return Status{}, errors.New("no guard is running")
	}
	status, err := c.link.ask(r)
	if _, refused := errors.AsType[refusal](err); err == nil || refused {
		c.silent = time.Time{}
		return status, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.endSilent()
	}
	c.hangUp()
	return status, err
}

func (c *Client) endSilent() {
	if c.silent.IsZero() {
		c.silent = time.Now()
	}
	if pid := c.link.listener(); pid > 1 && time.Since(c.silent) >= c.host.FenceAfter {
		c.log().Error("guard killed because it does not answer", "pid", pid)
		_ = unix.Kill(pid, unix.SIGKILL)
		c.silent = time.Time{}
	}
}

func (c *Client) hangUp() {
	if c.link != nil {
		_ = c.link.conn.Close()
		c.link = nil
	}
}

func (c *Client) log() hclog.Logger {
	if c.Log == nil {
		return hclog.NewNullLogger()
	}
	return c.Log
}

// fits tells whether a guard is of the same binary and sees the same mounts as this process. Another one
// guards as well, but cannot unmount what is mounted here, and may be older.
func fits(pid int) bool {
	theirs, mine := filepath.Join("/proc", strconv.Itoa(pid)), "/proc/self"
	a, errA := os.Stat(filepath.Join(theirs, "exe"))
	b, errB := os.Stat(filepath.Join(mine, "exe"))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return false
	}
	one, errA := os.Readlink(filepath.Join(theirs, "ns/mnt"))
	two, errB := os.Readlink(filepath.Join(mine, "ns/mnt"))
	return errA == nil && errB == nil && one == two
}
