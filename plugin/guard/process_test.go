package guard_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/guard"
	"mooring/plugin/lease"
)

// playPlugin attaches to a guard and then does nothing until it is killed.
func playPlugin(settings string) {
	var host guard.Host
	if err := json.Unmarshal([]byte(settings), &host); err != nil {
		panic(err)
	}
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	client := guard.Client{Command: []string{exe, "guard"}}
	for last := time.Now().Add(patience); ; {
		_, err := client.Attach(context.Background(), host)
		if err == nil {
			break
		}
		if time.Now().After(last) {
			panic(err)
		}
	}
	os.Stdout.WriteString("attached\n")
	select {}
}

// plugin runs a plugin as a service of its own until kill is called, which ends all that belongs to the service.
func (c *scene) plugin() (kill func()) {
	c.t.Helper()
	settings, err := json.Marshal(c.host)
	require.NoError(c.t, err)
	its := newService(c.t)
	cmd := its.command(self(c.t), "plugin", string(settings))
	out, err := cmd.StdoutPipe()
	require.NoError(c.t, err)
	require.NoError(c.t, cmd.Start())
	_, err = io.ReadFull(out, make([]byte, len("attached\n")))
	require.NoError(c.t, err)
	require.Contains(c.t, its.members(), cmd.Process.Pid)
	return func() { its.kill(); cmd.Wait() }
}

// guard is a guard process that is yet to start, in a session of its own as the plugin has it: it raises the priority of its group.
func (c *scene) guard(ctx context.Context, program string) *exec.Cmd {
	c.t.Helper()
	settings, err := json.Marshal(c.host)
	require.NoError(c.t, err)
	cmd := exec.CommandContext(ctx, program, "guard")
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(string(settings)), &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// beats is the number of the latest heartbeat.
func (c *scene) beats() uint64 {
	c.t.Helper()
	for last := time.Now().Add(patience); ; {
		beat, err := c.store.Leases().ReadBeat(c.host.Identity.Host)
		if err == nil { // else it is just being written
			return beat.Sequence
		}
		require.True(c.t, time.Now().Before(last), "%v", err)
	}
}

// The plugin is killed, with everything in its control groups: the guard goes on, and the next plugin
// finds it, with what it watches.
func TestGuardSurvivesItsPluginAndIsAdopted(t *testing.T) {
	c := newScene(t, t.TempDir())
	kill := c.plugin()
	before := c.guards()
	require.Len(t, before, 1)
	kill()
	v := c.volume()
	assert.Equal(t, before[0], c.attach().PID, "the same guard")
	assert.True(t, c.attach().Independent, c.attach().Notes)
	c.watch(v)
	sequence := c.beats()
	require.Eventually(t, func() bool { return c.beats() > sequence }, patience, 20*time.Millisecond)

	next := &guard.Client{Command: c.client.Command}
	status := c.told(next, "it answers", func(guard.Status) bool { return true })
	assert.Equal(t, before[0], status.PID)
	assert.Equal(t, 1, status.Watching)
	assert.Len(t, c.guards(), 1)
	require.NoError(t, next.Leave(context.Background()))
	assert.Len(t, c.guards(), 1, "it does not leave its volume alone")
	require.NoError(t, c.client.Forget(context.Background(), "v"))
	require.NoError(t, c.client.Leave(context.Background()))
	require.Eventually(t, func() bool { return len(c.guards()) == 0 }, patience, 20*time.Millisecond)
}

func TestGuardLeavesThePluginsControlGroups(t *testing.T) {
	c := newScene(t, t.TempDir())
	status := c.attach()
	require.True(t, status.Independent, status.Notes)
	own, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	theirs, err := os.ReadFile("/proc/" + strconv.Itoa(status.PID) + "/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(theirs)) {
		assert.True(t, strings.HasSuffix(line, "/mooring-guard-"+c.host.Identity.Host+"\n"), line)
		assert.NotContains(t, string(own), line)
	}
}

// However many plugins start guards at once, and whatever state the running one is in, one guards.
func TestTwoGuardsNeverRunTogether(t *testing.T) {
	c := newScene(t, t.TempDir())
	c.watch(c.volume())
	var ended atomic.Int32
	for range 4 {
		cmd := c.guard(context.Background(), self(t))
		require.NoError(t, cmd.Start())
		go func() { _ = cmd.Wait(); ended.Add(1) }()
	}
	require.Eventually(t, func() bool {
		_, _ = c.client.Attach(context.Background(), c.host) // buries the first one, should it be replaced
		return ended.Load() >= 3 && len(c.guards()) == 1
	}, patience, 50*time.Millisecond)
	status := c.eventually("the survivor answers", func(s guard.Status) bool { return s.Pulse.Known })
	assert.Equal(t, c.guards(), []int{status.PID})
	assert.Equal(t, 1, status.Watching, "the volume went from one to the next")
	assert.Empty(t, status.Fenced)

	require.NoError(t, unix.Kill(status.PID, unix.SIGSTOP))
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	assert.EqualError(t, c.guard(limited, self(t)).Run(), "exit status 1", "a guard that does not answer is not one that is gone")
	require.NoError(t, unix.Kill(status.PID, unix.SIGCONT))
}

// A newer plugin's guard takes over from the older one's, without a pause in the heartbeat.
func TestANewBinaryReplacesTheGuard(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	c.watch(v)
	old := c.attach().PID
	newer := filepath.Join(t.TempDir(), "newer")
	run(t, "cp", self(t), newer)
	cmd := c.guard(context.Background(), newer)
	require.NoError(t, cmd.Start())
	go cmd.Wait()
	status := c.eventually("the newer guard answers", func(s guard.Status) bool { return s.PID == cmd.Process.Pid })
	assert.Equal(t, 1, status.Watching)
	assert.Equal(t, v.Lapses, status.Pulse.Lapses)
	assert.Empty(t, status.Fenced)
	require.Eventually(t, func() bool { return dead(old) }, patience, 20*time.Millisecond)
	assert.True(t, mounted(t, c.target))
}

// A guard that was killed is followed by one that goes on with its pulse.
func TestAKilledGuardIsFollowed(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	first := c.attach().PID
	require.NoError(t, unix.Kill(first, unix.SIGKILL))
	status := c.eventually("another guard", func(s guard.Status) bool { return s.PID != first && s.Watching == 1 })
	assert.Equal(t, v.Lapses, status.Pulse.Lapses)
	assert.False(t, dead(holder.Process.Pid))
}

// A guard that was killed is followed too late: what was mounted is fenced, although the lease still reads as this host's.
func TestAKilledGuardThatIsFollowedTooLate(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	c.followedLate()
	c.eventually("the volume is fenced", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.True(t, dead(holder.Process.Pid))
	assert.Equal(t, lease.Released, c.leaseState())
}

// A guard that was killed has the lock for as long as the kernel takes to end it, although its socket is closed by then.
func TestAGuardThatIsEndingIsFollowed(t *testing.T) {
	c := newScene(t, t.TempDir())
	ending, err := os.Create(filepath.Join(c.host.StateDir, "guard.lock"))
	require.NoError(t, err)
	defer ending.Close()
	require.NoError(t, unix.Flock(int(ending.Fd()), unix.LOCK_EX))
	socket, err := net.Listen("unix", filepath.Join(c.host.StateDir, "guard.sock"))
	require.NoError(t, err)
	next := c.guard(context.Background(), self(t))
	require.NoError(t, next.Start())
	go next.Wait()

	asked, err := socket.Accept()
	require.NoError(t, err)
	require.NoError(t, socket.Close())
	require.NoError(t, asked.Close())
	require.NoError(t, ending.Close())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket.Addr().String())
		return err == nil && conn.Close() == nil
	}, patience, 20*time.Millisecond, "it got the lock in the end")
	assert.Equal(t, next.Process.Pid, c.attach().PID)
}

// The guard is killed while the store is away, and the next one comes late and cannot beat: a volume that is mounted is fenced
// all the same.
func TestAGuardThatCannotBeatFencesWhatIsMounted(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	mark := filepath.Join(c.host.StoreDir, "mooring/store.json")
	require.NoError(t, os.Rename(mark, mark+".away"))
	c.followedLate()
	status := c.eventually("fenced", func(s guard.Status) bool { return len(s.Fenced) == 1 && len(s.Fenced[0].Killed) > 0 })
	assert.Zero(t, status.Watching)
	assert.Contains(t, status.Fenced[0].Reason, "no heartbeat for ")
	assert.True(t, dead(holder.Process.Pid))
	require.NoError(t, os.Rename(mark+".away", mark))
	c.eventually("settled", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.Equal(t, lease.Released, c.leaseState())
}

// A volume that a guard refused to watch, because another one was about to replace it, is watched as soon as that is over.
func TestARefusedVolumeIsWatchedInTheEnd(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	c.watch(v)
	require.NoError(t, unix.Kill(c.attach().PID, unix.SIGKILL))
	require.Eventually(t, func() bool { return len(c.guards()) == 0 }, patience, 20*time.Millisecond)
	require.NoError(t, os.Remove(filepath.Join(c.host.StateDir, "guard.sock"))) // so that it is there when the next one listens

	c.told(&guard.Client{Command: c.client.Command}, "the next guard beats", func(s guard.Status) bool { return s.Pulse.Known })
	successor, err := net.Dial("unix", filepath.Join(c.host.StateDir, "guard.sock"))
	require.NoError(t, err)
	_, err = successor.Write([]byte("{\"verb\":\"hand over\"}\n"))
	require.NoError(t, err)
	_, err = successor.Read(make([]byte, 1))
	require.NoError(t, err, "the guard waits for this one")
	assert.Zero(t, c.attach().Watching, "it refuses meanwhile")
	require.NoError(t, successor.Close()) // without having beaten: the guard goes on
	status := c.eventually("watched", func(s guard.Status) bool { return s.Watching == 1 })
	assert.Empty(t, status.Fenced)
}

// The guard itself is frozen for too long (as a host that sleeps is) and wakes up: whatever the leases
// say, it fences first.
func TestAGuardThatSleptFences(t *testing.T) {
	c := newScene(t, t.TempDir())
	c.host.FenceAfter = fenceSoon
	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	pid := c.attach().PID
	require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
	<-time.After(c.host.FenceAfter + 100*time.Millisecond)
	require.NoError(t, unix.Kill(pid, unix.SIGCONT))
	status := c.eventually("fenced and settled", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.True(t, dead(holder.Process.Pid))
	assert.False(t, mounted(t, c.target))
	assert.Equal(t, lease.Released, c.leaseState(), "nobody need wait for it")
	assert.ErrorContains(t, c.client.Watch(context.Background(), v), "volume v was fenced on this host (no heartbeat for ")

	v.Epoch, v.Lapses = 2, status.Pulse.Lapses
	c.takeNext(c.host.Identity)
	require.NoError(t, c.client.Watch(context.Background(), v), "a new lease makes it usable")
}

func TestALostLeaseIsFenced(t *testing.T) {
	c := newScene(t, t.TempDir())
	v := c.volume()
	holder := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	c.takeNext(lease.Identity{Host: "other", Boot: "b"})
	status := c.eventually("fenced and settled", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.Equal(t, "its lease is no longer this host's: epoch 2, host other, held", status.Fenced[0].Reason)
	assert.True(t, dead(holder.Process.Pid))
	assert.Equal(t, lease.Held, c.leaseState(), "the new holder's lease is not ours to change")
	require.NoError(t, c.client.Acknowledge(context.Background(), "v"))
	assert.Empty(t, c.attach().Fenced)
}

// The store hangs: the heartbeat's write does not return, nor does the container's, which therefore cannot
// even be killed. The guard fences in time all the same.
func TestAHungStoreIsFenced(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: a file system is frozen, which takes root")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "store")
	image(t, "ext4", filepath.Join(dir, "image"), at)
	c := newScene(t, at)
	c.host.FenceAfter = fenceSoon
	v := c.volume()
	writer := container(t, c.target, `echo up; while :; do echo x >>"$1/f"; done`)
	idle := container(t, c.target, `echo up; exec sleep 1000`)
	c.watch(v)
	frozen, err := os.Open(at)
	require.NoError(t, err)
	defer frozen.Close()
	freeze := func(ioctl uint) error { return unix.IoctlSetInt(int(frozen.Fd()), ioctl, 0) }
	require.NoError(t, freeze(fifreeze))
	thawed := false
	defer func() {
		if !thawed {
			freeze(fithaw)
		}
	}()
	status := c.eventually("fenced", func(s guard.Status) bool { return len(s.Fenced) == 1 && len(s.Fenced[0].Killed) > 0 })
	r := status.Fenced[0]
	assert.Contains(t, r.Reason, "no heartbeat for ")
	assert.True(t, dead(idle.Process.Pid))
	assert.Contains(t, r.Stuck, writer.Process.Pid)
	assert.False(t, r.Settled)
	assert.False(t, mounted(t, c.target))
	assert.ErrorContains(t, c.client.Watch(context.Background(), v), "was fenced on this host")

	require.NoError(t, freeze(fithaw))
	thawed = true
	status = c.eventually("settled", func(s guard.Status) bool { return len(s.Fenced) == 1 && s.Fenced[0].Settled })
	assert.True(t, dead(writer.Process.Pid))
	assert.Empty(t, status.Fenced[0].Stuck)
	assert.Equal(t, lease.Released, c.leaseState())
}

func TestAGuardOfOtherSettingsIsNotAdopted(t *testing.T) {
	c := newScene(t, t.TempDir())
	c.watch(c.volume())
	other := c.host
	other.Boot = "boot-2"
	_, err := (&guard.Client{Command: c.client.Command}).Attach(context.Background(), other)
	assert.ErrorContains(t, err, "still guards 1 volumes of host "+c.host.Identity.Host+" (boot boot-1")
	require.NoError(t, c.client.Forget(context.Background(), "v"))
	_, err = (&guard.Client{Command: c.client.Command}).Attach(context.Background(), other)
	assert.ErrorContains(t, err, "was asked to end")
}

// The guard ends on SIGTERM only when it has nothing to guard.
func TestSIGTERM(t *testing.T) {
	c := newScene(t, t.TempDir())
	c.watch(c.volume())
	pid := c.attach().PID
	require.NoError(t, unix.Kill(pid, unix.SIGTERM))
	sequence := c.beats()
	require.Eventually(t, func() bool { return c.beats() > sequence+15 }, patience, 20*time.Millisecond)
	require.NoError(t, c.client.Forget(context.Background(), "v"))
	require.Eventually(t, func() bool { return !slices.Contains(c.guards(), pid) }, patience, 20*time.Millisecond)
}
