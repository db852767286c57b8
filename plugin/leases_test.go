package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/guard"
	"mooring/plugin/lease"
)

func TestALiveHostKeepsItsVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		a.create("elasticsearch1data")
		a.mount("elasticsearch1data", "id1")
		b.create("elasticsearch1data")
		begin := time.Now()
		message := b.refuseMount("elasticsearch1data", "id2")
		assert.Regexp(t, `^volume elasticsearch1data is held by host hostA \(epoch 1, heartbeat \ds ago\); `+
			`stop its container there or wait until that host is down \(no heartbeat for 20s\)$`, message)
		assert.LessOrEqual(t, time.Since(begin), 2*plugin.DefaultHeartbeat, "one heartbeat is enough to see that a host lives")
		assert.False(t, b.mounted("elasticsearch1data"))
		assert.Equal(t, "held elsewhere", b.state("elasticsearch1data"))
		assert.Equal(t, "hostA", b.get("elasticsearch1data").Status["holder"])
		assert.Equal(t, message, b.get("elasticsearch1data").Status["lastError"])
		assert.Contains(t, b.remove("elasticsearch1data").Error(), "is held by host hostA")

		a.unmount("elasticsearch1data", "id1")
		b.mount("elasticsearch1data", "id2")
		assert.Equal(t, uint64(2), b.get("elasticsearch1data").Status["epoch"])
		assert.Contains(t, a.refuseMount("elasticsearch1data", "id3"), "is held by host hostB")
	})
}

func TestADeadHostsVolumeIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		a.create("v")
		require.NoError(t, os.WriteFile(filepath.Join(a.mount("v", "id1"), "f"), []byte("data"), 0o600))
		b.create("v")
		time.Sleep(time.Minute)
		a.crash()
		begin := time.Now()
		at := b.mount("v", "id2") // one call, waiting for the silence
		assert.InDelta(t, plugin.DefaultTakeAfter.Seconds(), time.Since(begin).Seconds(), 4)
		assert.Equal(t, "data", readFile(t, filepath.Join(at, "f")))
		assert.Equal(t, uint64(2), b.get("v").Status["epoch"])
		assert.Equal(t, admin.Happened{TakenFromSilent: 1}, b.Counts().Happened)

		a = start(t, a.cfg) // the killed host returns, its mounts and containers as they were
		time.Sleep(plugin.DefaultHeartbeat)
		assert.Contains(t, a.refuseMount("v", "id1"), "is held by host hostB (epoch 2")
		a.unmount("v", "id1")
		assert.Equal(t, admin.Happened{LeasesLost: 1}, a.Counts().Happened)
	})
}

func TestAReturningHostsContainersAreTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		a.create("v")
		kill := container(t, a.mount("v", "id1"))
		a.crash() // and nobody starts it for a while
		b.create("v")
		b.mount("v", "id2")
		a = start(t, a.cfg)
		time.Sleep(plugin.DefaultHeartbeat)
		synctest.Wait()
		assert.Equal(t, "lost", a.state("v"))
		assert.Equal(t, "hostB", a.get("v").Status["holder"])
		assert.Contains(t, a.refuseMount("v", "id3"), "was taken over by host hostB (epoch 2)")
		kill()
		b.unmount("v", "id2")
		time.Sleep(plugin.DefaultReapAfter)
		assert.NotEqual(t, "lost", a.state("v"))
		a.mount("v", "id3")
	})
}

// A host whose plugin could not beat for a while (its link was down) finds that it was presumed dead.
func TestALostLeaseIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, configure(t, "hostA", t.TempDir()))
		a.create("v")
		kill := container(t, a.mount("v", "id1"))
		lease := filepath.Join(a.cfg.StoreDir, "mooring/volumes/v/lease.1")
		taken := strings.NewReplacer(`"epoch":1`, `"epoch":2`, "hostA", "hostB").Replace(readFile(t, lease))
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(lease), "lease.2"), []byte(taken), 0o600))
		time.Sleep(plugin.DefaultHeartbeat)
		synctest.Wait()
		assert.Equal(t, "lost", a.state("v"))
		assert.Contains(t, a.refuseMount("v", "id2"), "was taken over by host hostB (epoch 2) while containers here still have it")
		assert.Equal(t, admin.Happened{LeasesLost: 1}, a.Counts().Happened, "once")
		kill()
		a.unmount("v", "id1")
		assert.False(t, a.mounted("v"))
		assert.Equal(t, taken, readFile(t, filepath.Join(filepath.Dir(lease), "lease.2")), "the new holder's lease is not ours to change")
	})
}

// A mount may be the first to find that the lease was lost. It is counted once.
func TestAMountNoticesALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, configure(t, "hostA", t.TempDir()))
		a.create("v")
		kill := container(t, a.mount("v", "id1"))
		leases := lease.Files{Volumes: filepath.Join(a.cfg.StoreDir, "mooring/volumes")}
		current, err := leases.Current("v")
		require.NoError(t, err)
		_, err = leases.Create(current, current.Next("v", lease.Identity{Host: "hostB", Boot: "b"}))
		require.NoError(t, err)
		assert.Zero(t, a.Counts().Happened)
		for range 2 {
			assert.Contains(t, a.refuseMount("v", "id2"), "was taken over by host hostB (epoch 2) while containers here still have it")
			assert.Equal(t, admin.Happened{LeasesLost: 1}, a.Counts().Happened)
		}
		a.settled()
		assert.Equal(t, admin.Happened{LeasesLost: 1}, a.Counts().Happened)
		kill()
	})
}

func TestAStoppedPluginWithoutGuardLeavesItsVolumesUnattended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		cfg := configure(t, "hostA", store)
		cfg.Guard = &guard.Alone{}
		a, b := start(t, cfg), start(t, configure(t, "hostB", store))
		for _, name := range []string{"used", "free"} {
			a.create(name)
			b.create(name)
			a.mount(name, "id1")
		}
		kill := container(t, a.mountpoint("used"))
		require.NoError(t, a.Shutdown(context.Background()))
		a.crash()
		unmountAll(t, a.cfg.MountRoot) // as the engine does when it disables a plugin
		time.Sleep(time.Hour)
		b.mount("free", "id2")
		assert.Contains(t, b.refuseMount("used", "id2"), "is held by host hostA (epoch 2, unattended")

		a = start(t, a.cfg)
		time.Sleep(plugin.DefaultHeartbeat)
		synctest.Wait()
		assert.True(t, a.mounted("used"), "adopted")
		assert.Equal(t, map[string]int{"id1": 1}, a.mounts("used"))
		assert.Contains(t, b.refuseMount("used", "id2"), "is held by host hostA (epoch 3, heartbeat")
		kill()
		a.unmount("used", "id1")
		b.mount("used", "id2")
	})
}

func TestVolumesOfOtherHostsBecomeKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		options := map[string]string{"uid": "7", "mode": "0700"}
		require.NoError(t, a.Create(context.Background(), &api.CreateRequest{Name: "v", Options: options}))
		time.Sleep(plugin.DefaultHeartbeat + time.Second)
		synctest.Wait()
		assert.Equal(t, a.get("v").CreatedAt, b.get("v").CreatedAt)
		b.mount("v", "id")
		info, err := os.Stat(b.mountpoint("v"))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700)|os.ModeDir, info.Mode(), "options given on one host hold on all")
		b.unmount("v", "id")

		require.NoError(t, b.remove("v"))
		time.Sleep(plugin.DefaultHeartbeat + time.Second)
		synctest.Wait()
		_, err = a.Get(context.Background(), &api.GetRequest{Name: "v"})
		require.EqualError(t, err, "no such volume: v")
		a.create("v") // a new one of the same name
		a.mount("v", "id")
	})
}

// Another host removes a volume, and perhaps makes another of that name, just before this one is asked to make it.
func TestCreateLooksForRemovals(t *testing.T) {
	for name, remade := range map[string]bool{"removed": false, "remade": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := t.TempDir()
				a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
				a.create("v")
				write(t, a.mount("v", "id1"), "old")
				a.unmount("v", "id1")
				b.create("v")
				require.NoError(t, a.remove("v"))
				if remade {
					require.NoError(t, a.Create(context.Background(), &api.CreateRequest{Name: "v", Options: map[string]string{"uid": "7"}}))
				}
				b.create("v")
				id := volumeID(t, filepath.Join(store, "mooring/volumes"), "v")
				detail, err := b.Inspect(context.Background(), "v")
				require.NoError(t, err)
				assert.Equal(t, id, detail.ID)
				assert.Equal(t, map[bool]int{true: 7}[remade], detail.UID)
				assert.NoFileExists(t, filepath.Join(b.mount("v", "id2"), "old"))
				b.unmount("v", "id2")
			})
		})
	}
}

func TestCreateOnTwoHostsIsOneVolume(t *testing.T) {
	store := t.TempDir()
	a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
	a.create("v")
	b.create("v")
	err := b.Create(context.Background(), &api.CreateRequest{Name: "v", Options: map[string]string{"uid": "7"}})
	require.ErrorContains(t, err, "volume v exists with uid 0, not 7")
	require.NoError(t, os.WriteFile(filepath.Join(a.mount("v", "id"), "f"), nil, 0o600))
	a.unmount("v", "id")
	assert.FileExists(t, filepath.Join(b.mount("v", "id"), "f"))
}

func TestTwoPluginsUnderOneNameRefuseToWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a := start(t, configure(t, "same", store))
		time.Sleep(time.Second)
		b := start(t, configure(t, "same", store))
		a.create("v")
		time.Sleep(3 * plugin.DefaultHeartbeat)
		const want = "volume v: another plugin runs under this host's name same: give each host its own HOST"
		assert.Equal(t, want, a.refuseMount("v", "id"))
		assert.Equal(t, want, b.refuseMount("v", "id"))
		b.crash()
		time.Sleep(2 * plugin.DefaultTakeAfter)
		a.mount("v", "id")
	})
}

// A host whose heartbeat nobody sees would lose its leases to others while its containers write.
func TestNoMountWithoutHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		h.settled() // it has beaten
		file := filepath.Join(h.cfg.StoreDir, "mooring/hosts/hostA/heartbeat")
		require.NoError(t, os.Remove(file))
		require.NoError(t, os.Mkdir(file, 0o700))
		time.Sleep(plugin.DefaultTakeAfter)
		assert.Contains(t, h.refuseMount("v", "id"), "volume v: write heartbeat: open "+file)
		require.NoError(t, os.Remove(file))
		h.mount("v", "id")
	})
}

func TestHostName(t *testing.T) {
	cfg := configure(t, "", t.TempDir())
	h := start(t, cfg)
	h.create("v")
	name := h.get("v").Status["host"]
	assert.Regexp(t, `^[a-zA-Z0-9-]+-[0-9a-f]{8}$`, name)
	h = h.restart()
	assert.Equal(t, name, h.get("v").Status["host"])

	h.crash()
	file := filepath.Join(cfg.StateDir, "mooring-host/host.json")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	_, err := plugin.Open(cfg)
	assert.ErrorContains(t, err, file+" is unreadable")
}
