package guard_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/guard"
	"mooring/plugin/lease"
	"mooring/plugin/mounts"
	"mooring/plugin/mounts/mountstest"
	"mooring/plugin/store"
)

const (
	patience = time.Minute // no test waits that long unless it fails
	// fenceLate is for guards that have nothing to fence for: long enough for whatever keeps them, or the test, waiting.
	fenceLate = time.Minute
	// fenceSoon is for guards that live and will have to: as short as a busy machine allows, for a heartbeat must come in time until then.
	fenceSoon = 5 * time.Second
)

// The test binary plays several processes; which one is said by its first argument.
func TestMain(m *testing.M) {
	mountstest.Private() // else whoever copies the tests' mounts meanwhile, as a container does that starts, is killed as their holder
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "guard":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := guard.Run(ctx, os.Stdin, hclog.Debug); err != nil {
			os.Exit(1)
		}
	case "plugin":
		playPlugin(os.Args[2])
	case "writers":
		playWriters(os.Args[2], os.Args[3])
	default:
		os.Exit(m.Run())
	}
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// leases are those of a scene, as another host sees them.
type leases interface {
	Current(volume string) (lease.Lease, error)
	Create(after, next lease.Lease) (lease.Lease, error)
}

// scene is a host with a store, a volume in it, and a guard that runs until the test ends.
type scene struct {
	t      testing.TB
	host   guard.Host
	client *guard.Client
	store  *store.Store
	leases leases
	target string
}

func newScene(t testing.TB, storeDir string) *scene {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: the guard kills and unmounts, which takes root")
	}
	s, err := store.Open(storeDir, "")
	require.NoError(t, err)
	host := guard.Host{Identity: lease.Identity{Host: "h" + store.NewID()[:8], Boot: "boot-1"}, StateDir: t.TempDir(), StoreDir: storeDir,
		StoreUUID: s.UUID(), Heartbeat: 100 * time.Millisecond, FenceAfter: fenceLate}
	c := &scene{t: t, host: host, store: s, leases: s.Leases(), client: &guard.Client{Command: []string{self(t), "guard"}}, target: filepath.Join(t.TempDir(), "v")}
	t.Cleanup(c.end)
	return c
}

// volume is a directory of the store, leased by this host and bound at the target.
func (c *scene) volume() guard.Volume {
	c.t.Helper()
	data := filepath.Join(c.store.Dir("v"), "data")
	require.NoError(c.t, os.MkdirAll(data, 0o700))
	_, err := c.leases.Create(lease.Lease{}, lease.Lease{}.Next("v", c.host.Identity))
	require.NoError(c.t, err)
	require.NoError(c.t, os.MkdirAll(c.target, 0o700))
	require.NoError(c.t, unix.Mount(data, c.target, "", unix.MS_BIND, ""))
	c.t.Cleanup(func() { unix.Unmount(c.target, unix.MNT_DETACH) })
	tree, err := mounts.TreeAt(c.target, data)
	require.NoError(c.t, err)
	return guard.Volume{Name: "v", Epoch: 1, Lapses: c.attach().Pulse.Lapses, Target: c.target, Tree: tree}
}

// attach returns what the guard says when it has beaten. On a loaded machine the plugin's patience with a guard that starts may end
// first; it asks again, too.
func (c *scene) attach() guard.Status {
	c.t.Helper()
	return c.eventually("the guard beats", func(s guard.Status) bool { return s.Pulse.Known })
}

func (c *scene) watch(v guard.Volume) {
	c.t.Helper()
	require.NoError(c.t, c.client.Watch(context.Background(), v))
}

// eventually polls the guard's status.
func (c *scene) eventually(why string, holds func(guard.Status) bool) guard.Status {
	c.t.Helper()
	return c.told(c.client, why, holds)
}

// told polls what the guard says to a plugin.
func (c *scene) told(client *guard.Client, why string, holds func(guard.Status) bool) guard.Status {
	c.t.Helper()
	var last guard.Status
	require.Eventually(c.t, func() bool {
		status, err := client.Attach(context.Background(), c.host)
		last = status
		return err == nil && holds(status)
	}, patience, 50*time.Millisecond, why)
	return last
}

// followedLate kills the guard, and has the next one come when it is too late for what was mounted.
func (c *scene) followedLate() {
	c.t.Helper()
	require.NoError(c.t, unix.Kill(c.attach().PID, unix.SIGKILL))
	c.host.FenceAfter = time.Second // of the next one
	<-time.After(c.host.FenceAfter + 100*time.Millisecond)
}

// end kills the guards of this scene and removes their control groups.
func (c *scene) end() {
	for _, pid := range c.guards() {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil) // an error if somebody else is its parent
	}
	require.Eventually(c.t, func() bool { return len(c.guards()) == 0 }, patience, 50*time.Millisecond)
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/", "/sys/fs/cgroup/*/*/*/", "/sys/fs/cgroup/"} {
		groups, _ := filepath.Glob(pattern + "mooring-guard-" + c.host.Host)
		for _, group := range groups {
			os.Remove(group)
		}
	}
	if c.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(c.host.StateDir, "guard.log"))
		c.t.Log(string(log))
	}
}

// guards are the processes in the control group that the scene's guards make for themselves.
func (c *scene) guards() []int {
	var pids []int
	groups, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, path := range groups {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), "mooring-guard-"+c.host.Host) {
			var pid int
			fmt.Sscanf(path, "/proc/%d/", &pid)
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if !strings.Contains(string(stat), ") Z ") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// takeNext creates the next lease of the volume for a host.
func (c *scene) takeNext(host lease.Identity) {
	c.t.Helper()
	current, err := c.leases.Current("v")
	require.NoError(c.t, err)
	_, err = c.leases.Create(current, current.Next("v", host))
	require.NoError(c.t, err)
}

func (c *scene) leaseState() lease.State {
	l, err := c.leases.Current("v")
	require.NoError(c.t, err)
	return l.State
}

func mounted(t testing.TB, target string) bool {
	t.Helper()
	is, err := mounts.Mounted(target)
	require.NoError(t, err)
	return is
}

// container runs a shell script in a mount namespace of its own, where $0 is mounted at $1, until the
// test ends. It returns once the script has printed a line.
func container(t testing.TB, mountpoint, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" "$1" && umount "$0" && `+script, mountpoint, t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL); <-ended })
	line := make([]byte, 64)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.NotZero(t, n)
	return cmd
}

func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return strings.TrimSpace(string(out))
}
