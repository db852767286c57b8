package plugin_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/guard"
	"mooring/plugin/lease"
)

// scripted is a guard that says what the test wants.
type scripted struct {
	trusted
	mu      sync.Mutex
	reports []guard.Report
	watched map[string]guard.Volume
	refuse  int // the how manieth Watch from now on is refused; 0 means none
}

func (g *scripted) Attach(ctx context.Context, host guard.Host) (guard.Status, error) {
	status, err := g.trusted.Attach(ctx, host)
	g.mu.Lock()
	defer g.mu.Unlock()
	status.Fenced = append([]guard.Report(nil), g.reports...)
	return status, err
}

func (g *scripted) Watch(_ context.Context, v guard.Volume) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse--; g.refuse == 0 {
		return errors.New("volume v was fenced on this host")
	}
	if g.watched == nil {
		g.watched = map[string]guard.Volume{}
	}
	g.watched[v.Name] = v
	return nil
}

func (g *scripted) Forget(_ context.Context, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watched, name)
	return nil
}

func (g *scripted) Acknowledge(context.Context, string) error {
	g.set(nil)
	return nil
}

func (g *scripted) set(reports []guard.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = reports
}

func (g *scripted) watches(name string) guard.Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.watched[name]
}

func withScript(t *testing.T, story func(h *host, g *scripted)) {
	synctest.Test(t, func(t *testing.T) {
		g := &scripted{}
		cfg := configure(t, "hostA", t.TempDir())
		cfg.Guard = g
		h := start(t, cfg)
		h.create("v")
		story(h, g)
	})
}

func TestAMountedVolumeIsWatched(t *testing.T) {
	withScript(t, func(h *host, g *scripted) {
		h.mount("v", "id1")
		watched := g.watches("v")
		assert.Equal(t, uint64(1), watched.Epoch)
		assert.Equal(t, h.mountpoint("v"), watched.Target)
		assert.NotEmpty(t, watched.Tree.Root)
		assert.False(t, watched.OwnFS)
		h.unmount("v", "id1")
		assert.Zero(t, g.watches("v"))
	})
}

// The guard fences; the volume is not usable until everything about the old lease is settled.
func TestAFencedVolumeIsMountedAnew(t *testing.T) {
	withScript(t, func(h *host, g *scripted) {
		h.mount("v", "id1")
		report := guard.Report{Volume: g.watches("v"), Reason: "no heartbeat for 10s", Stuck: []int{1, 2}}
		require.NoError(t, unix.Unmount(h.mountpoint("v"), unix.MNT_DETACH))
		g.set([]guard.Report{report})
		h.settled()
		h.settled()
		assert.Equal(t, admin.Happened{Fences: 1}, h.Counts().Happened, "once, however often the guard says so")
		assert.Equal(t, "fenced", h.state("v"))
		assert.Equal(t, "no heartbeat for 10s", h.get("v").Status["fenced"])
		assert.Empty(t, h.mounts("v"))
		assert.Contains(t, h.refuseMount("v", "id2"), "volume v: was fenced on this host (no heartbeat for 10s) and is not free yet: 2 of its processes are stuck")
		h = h.restart().settled()
		assert.Equal(t, "fenced", h.state("v"), "the guard remembers")
		h.unmount("v", "id1") // the engine's, late

		report.Settled = true
		g.set([]guard.Report{report})
		h.settled()
		h.mount("v", "id2")
		assert.Equal(t, uint64(2), h.get("v").Status["epoch"], "never again under the lease that was fenced")
		assert.Equal(t, "mounted", h.state("v"))
	})
}

// The fence falls while the volume is being mounted: before the container starts, the mount is undone.
func TestAFenceDuringMount(t *testing.T) {
	for _, refused := range []int{1, 2} {
		withScript(t, func(h *host, g *scripted) {
			g.refuse = refused
			assert.Contains(t, h.refuseMount("v", "id1"), "volume v was fenced on this host")
			assert.False(t, h.mounted("v"))
			current, err := lease.Files{Volumes: filepath.Join(h.cfg.StoreDir, "mooring/volumes")}.Current("v")
			require.NoError(t, err)
			assert.Equal(t, lease.Released, current.State)
			h.mount("v", "id1")
		})
	}
}

func TestAStoppedPluginLeavesItsVolumesToTheGuard(t *testing.T) {
	withScript(t, func(h *host, g *scripted) {
		h.mount("v", "id1")
		kill := container(t, h.mountpoint("v"))
		require.NoError(t, h.Shutdown(context.Background()))
		current, err := lease.Files{Volumes: filepath.Join(h.cfg.StoreDir, "mooring/volumes")}.Current("v")
		require.NoError(t, err)
		assert.Equal(t, lease.Held, current.State)
		assert.False(t, current.Unguarded)
		h = h.restart().settled()
		assert.Equal(t, map[string]int{"id1": 1}, h.mounts("v"))
		assert.Equal(t, uint64(1), g.watches("v").Epoch)
		kill()
	})
}

func TestTimesThatAreNotSafeAreRefused(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.TakeAfter = 12 * time.Second
	_, err := plugin.Open(cfg)
	assert.ErrorContains(t, err, "take them after")
}

// The guard was killed together with the plugin, and the next one is not ready at first: a volume that a container writes is
// put under its watch as soon as it is.
func TestAnAdoptedVolumeIsWatchedInTheEnd(t *testing.T) {
	withScript(t, func(h *host, g *scripted) {
		h.mount("v", "id1")
		kill := container(t, h.mountpoint("v"))
		require.NoError(t, g.Forget(context.Background(), "v"))
		g.refuse = 1
		h.restart().settled()
		assert.Equal(t, uint64(1), g.watches("v").Epoch)
		kill()
	})
}

// Nobody guarded the host while another one took its volume over: the guard gets to know of it, and ends what still writes.
func TestALostVolumeIsLeftToTheGuard(t *testing.T) {
	withScript(t, func(h *host, g *scripted) {
		h.mount("v", "id1")
		kill := container(t, h.mountpoint("v"))
		require.NoError(t, g.Forget(context.Background(), "v"))
		h.crash()
		leases := lease.Files{Volumes: filepath.Join(h.cfg.StoreDir, "mooring/volumes")}
		current, err := leases.Current("v")
		require.NoError(t, err)
		_, err = leases.Create(current, current.Next("v", lease.Identity{Host: "hostB", Boot: "b"}))
		require.NoError(t, err)
		h = h.restart().settled()
		assert.Equal(t, "lost", h.state("v"))
		h.settled()
		assert.Equal(t, admin.Happened{LeasesLost: 1}, h.Counts().Happened)
		assert.Equal(t, uint64(1), g.watches("v").Epoch, "under the lease that it lost")
		kill()
	})
}
