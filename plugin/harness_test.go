package plugin_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/guard"
	"mooring/plugin/mounts/mountstest"
)

const patience = time.Minute // no test waits that long unless it fails

func TestMain(m *testing.M) {
	mountstest.Private()
	goleak.VerifyTestMain(m)
}

// host is a driver as one simulated host runs it. Two hosts share a store by sharing its directory; all
// of them see the one kernel's mount table.
type host struct {
	*plugin.Driver
	t     *testing.T
	cfg   plugin.Config
	crash func() // the process ends at once; the kernel and the disk stay as they are
}

// configure is a host that was never started.
func configure(t testing.TB, name, store string) plugin.Config {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: the driver mounts, which takes root")
	}
	begin := time.Now()
	cfg := plugin.Config{Guard: &trusted{}, Host: name, BootID: "boot-1", StoreDir: store, StateDir: t.TempDir(),
		MountRoot: filepath.Join(t.TempDir(), "propagated-mount"), // so that no host takes another's mounts for a container's
		Clock:     func() time.Duration { return time.Since(begin) }}
	t.Cleanup(func() { unmountAll(t, cfg.MountRoot) })
	return cfg
}

// trusted stands for a guard of its own process, where nothing needs to be fenced.
type trusted struct{ guard.Alone }

func (g *trusted) Attach(ctx context.Context, host guard.Host) (guard.Status, error) {
	status, err := g.Alone.Attach(ctx, host)
	status.Independent = true
	return status, err
}

// start runs a driver until the test ends or crash is called.
func start(t *testing.T, cfg plugin.Config) *host {
	t.Helper()
	d, err := plugin.Open(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	h := &host{Driver: d, t: t, cfg: cfg}
	crashed := false
	h.crash = func() {
		if crashed {
			return
		}
		crashed = true
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, d.Close())
	}
	t.Cleanup(h.crash)
	return h
}

// restart is a crash and a start on the same directories, in the same boot unless cfg is changed.
func (h *host) restart(change ...func(*plugin.Config)) *host {
	h.t.Helper()
	h.crash()
	for _, c := range change {
		c(&h.cfg)
	}
	return start(h.t, h.cfg)
}

func (h *host) create(name string) {
	h.t.Helper()
	require.NoError(h.t, h.Create(context.Background(), &api.CreateRequest{Name: name}))
}

func (h *host) mount(name, id string) string {
	h.t.Helper()
	r, err := h.Mount(context.Background(), &api.MountRequest{Name: name, ID: id})
	require.NoError(h.t, err)
	return r.Mountpoint
}

func (h *host) refuseMount(name, id string) string {
	h.t.Helper()
	_, err := h.Mount(context.Background(), &api.MountRequest{Name: name, ID: id})
	require.Error(h.t, err)
	return err.Error()
}

func (h *host) unmount(name, id string) {
	h.t.Helper()
	require.NoError(h.t, h.Unmount(context.Background(), &api.UnmountRequest{Name: name, ID: id}))
}

func (h *host) remove(name string) error {
	return h.Remove(context.Background(), &api.RemoveRequest{Name: name})
}

func (h *host) get(name string) *api.Volume {
	h.t.Helper()
	r, err := h.Get(context.Background(), &api.GetRequest{Name: name})
	require.NoError(h.t, err)
	return r.Volume
}

func (h *host) state(name string) any {
	h.t.Helper()
	return h.get(name).Status["state"]
}

func (h *host) mounts(name string) map[string]int {
	h.t.Helper()
	return h.get(name).Status["mounts"].(map[string]int)
}

func (h *host) mountpoint(name string) string { return filepath.Join(h.cfg.MountRoot, name) }

func (h *host) mounted(name string) bool {
	h.t.Helper()
	mounted, err := mountinfo.Mounted(h.mountpoint(name))
	if os.IsNotExist(err) {
		return false
	}
	require.NoError(h.t, err)
	return mounted
}

// file is a file of a volume as the store has it.
func (h *host) file(volume, name string) string {
	return filepath.Join(h.cfg.StoreDir, "mooring/volumes", volume, "data", name)
}

// container is a process with a mount namespace of its own in which a volume is mounted, as a
// container's is. It lives until the test ends or kill is called.
func container(t *testing.T, mountpoint string) (kill func()) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" "$1" && echo up && exec sleep 1000`, mountpoint, t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	kill = func() {
		if !killed {
			killed = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up\n", line)
	return kill
}

// unmountAll is what the engine does below a plugin's propagatedMount when the plugin is disabled.
func unmountAll(t testing.TB, dir string) {
	t.Helper()
	table, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	require.NoError(t, err)
	for _, m := range table {
		if strings.HasPrefix(m.Mountpoint, dir+"/") {
			unix.Unmount(m.Mountpoint, unix.MNT_DETACH)
		}
	}
}

func (h *host) unmountErr(name, id string) error {
	return h.Unmount(context.Background(), &api.UnmountRequest{Name: name, ID: id})
}
