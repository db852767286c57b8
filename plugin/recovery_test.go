package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/backend"
)

// settled waits until Run has looked after all volumes.
func (h *host) settled() *host {
	time.Sleep(h.heartbeat())
	synctest.Wait()
	return h
}

func (h *host) heartbeat() time.Duration { return plugin.DefaultHeartbeat + time.Second }

// The plugin is killed while a container runs; its mounts stay (the engine restarts it at once).
func TestKilledPluginFindsItsMountsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		kill := container(t, h.mount("v", "id1"))
		h = h.restart().settled()
		assert.Equal(t, "mounted", h.state("v"))
		assert.Equal(t, map[string]int{"id1": 1}, h.mounts("v"))
		assert.Equal(t, uint64(1), h.get("v").Status["epoch"], "the same lease goes on")
		kill()
		h.unmount("v", "id1")
		assert.False(t, h.mounted("v"))
	})
}

// The engine was killed: no Unmount comes. A container that it restarts is mounted under the same ID; of
// the others nothing is ever heard again, and their volumes are given back at once: all were seen alive.
func TestKilledEngineSendsNoUnmount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		kills := map[string]func(){}
		for _, name := range []string{"again", "never"} {
			h.create(name)
			kills[name] = container(t, h.mount(name, name))
		}
		require.NoError(t, h.Shutdown(context.Background())) // the new engine ends the plugin first,
		unmountAll(t, h.cfg.MountRoot)
		h = h.restart().settled()
		kills["again"]() // then the containers
		kills["never"]()
		h.mount("again", "again")
		h.settled()
		assert.Equal(t, "mounted", h.state("again"), "its next container is on its way")
		assert.Equal(t, "released", h.state("never"))
		kill := container(t, h.mountpoint("again"))
		time.Sleep(plugin.DefaultReapAfter + h.heartbeat())
		synctest.Wait()
		assert.Equal(t, "mounted", h.state("again"))
		kill()
		h.unmount("again", "again")
		h.settled()
		assert.Equal(t, "released", h.state("again"), "one hold is too many, and no container backs it")
		assert.False(t, h.mounted("again"))
	})
}

func TestAHoldWithoutContainerIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		h.mount("v", "id1")
		h = h.restart() // between Mount and the container's start
		time.Sleep(plugin.DefaultReapAfter - h.heartbeat())
		synctest.Wait()
		assert.True(t, h.mounted("v"))
		time.Sleep(2 * h.heartbeat())
		synctest.Wait()
		assert.False(t, h.mounted("v"))
		assert.Equal(t, "released", h.state("v"))
	})
}

// One container runs, another one of the same volume is on its way while the plugin is killed.
func TestAHoldWithoutContainerIsKeptForAWhileBesideAnotherContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		kill := container(t, h.mount("v", "id1"))
		h.mount("v", "id2")
		h = h.restart().settled()
		kill()
		h.unmount("v", "id1")
		h.settled()
		assert.Equal(t, "mounted", h.state("v"))
		assert.True(t, h.mounted("v"))
		time.Sleep(plugin.DefaultReapAfter)
		synctest.Wait()
		assert.Equal(t, "released", h.state("v"))
	})
}

func TestAReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		for _, name := range []string{"one", "two"} {
			h.create(name)
			h.mount(name, "id1")
		}
		h.crash()
		unmountAll(t, h.cfg.MountRoot)
		h.cfg.BootID = "boot-2"
		h = start(t, h.cfg)
		h.mount("one", "id2") // at once, without waiting for anything
		assert.Equal(t, map[string]int{"id2": 1}, h.mounts("one"))
		h.settled()
		assert.Equal(t, "released", h.state("two"))
		assert.Equal(t, "mounted", h.state("one"))
		other := start(t, configure(t, "hostB", h.cfg.StoreDir))
		other.create("two")
		other.mount("two", "id3")
	})
}

func TestADrainingVolumeIsReleasedOnceFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		kill := container(t, h.mount("v", "id1"))
		h.unmount("v", "id1")
		h.settled()
		assert.Equal(t, "draining", h.state("v"))
		h = h.restart().settled()
		assert.Equal(t, "draining", h.state("v"), "also after a restart")
		assert.True(t, h.mounted("v"))
		kill()
		h.settled()
		assert.Equal(t, "released", h.state("v"))
		assert.False(t, h.mounted("v"))
	})
}

// The process dies after each step of a first Mount in turn. The next start must mount the volume with
// what was written before, or as new.
func TestACrashBetweenAnyTwoStepsOfMount(t *testing.T) {
	steps := []string{"provision", "mount", "mounted"}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			cfg := configure(t, "hostA", t.TempDir())
			failing := &dying{at: step}
			cfg.Backend = failing
			h := start(t, cfg)
			h.create("v")
			failing.armed = true
			assert.Contains(t, h.refuseMount("v", "id1"), "internal error: killed")
			h.crash()
			cfg.Backend = nil
			h = start(t, cfg)
			at := h.mount("v", "id1")
			require.NoError(t, os.WriteFile(filepath.Join(at, "f"), nil, 0o600))
			h.unmount("v", "id1")
			assert.FileExists(t, h.file("v", "f"))
			assert.NoDirExists(t, at)
			assert.Equal(t, "released", h.state("v"))
			other := start(t, configure(t, "hostB", cfg.StoreDir))
			other.create("v")
			other.mount("v", "id")
		})
	}
}

// dying is a back end that ends the verb abruptly, as the end of the process would: nothing is undone.
type dying struct {
	backend.Dir
	at    string
	armed bool
}

func (d *dying) step(name string) {
	if d.armed && d.at == name {
		d.armed = false
		panic("killed")
	}
}

func (d *dying) Provision(ctx context.Context, v backend.Spec) error {
	d.step("provision")
	return d.Dir.Provision(ctx, v)
}

func (d *dying) Mount(ctx context.Context, v backend.Spec, target string) error {
	d.step("mount")
	err := d.Dir.Mount(ctx, v, target)
	d.step("mounted")
	return err
}

// The process dies between the record of a new volume and its directory, and during a removal.
func TestACrashDuringCreateAndRemove(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	h := start(t, cfg)
	h.create("created")
	require.NoError(t, os.RemoveAll(filepath.Dir(h.file("created", ""))))
	h.create("removed")
	h.mount("removed", "id")
	h.unmount("removed", "id")
	h.crash()
	volumes, trash := filepath.Join(cfg.StoreDir, "mooring/volumes"), filepath.Join(cfg.StoreDir, "mooring/trash")
	require.NoError(t, os.WriteFile(filepath.Join(cfg.StoreDir, "mooring/removed", volumeID(t, volumes, "removed")), nil, 0o600))
	require.NoError(t, os.Rename(filepath.Join(volumes, "removed"), filepath.Join(trash, "removed.x")))

	h = start(t, cfg)
	h.mount("created", "id")
	require.NoError(t, h.remove("removed"))
	h.create("removed")
	h.mount("removed", "id")
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(trash)
		return err == nil && len(entries) == 0
	}, patience, 10*time.Millisecond, "an earlier run's trash is emptied")
}

func volumeID(t *testing.T, volumes, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(readFile(t, filepath.Join(volumes, name, "volume.json")), `"id":"`)
	require.True(t, found)
	return rest[:32]
}

func TestUnreadableStateIsRefused(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	start(t, cfg).crash()
	file := filepath.Join(cfg.StateDir, "mooring-host/state.log")
	good := readFile(t, file)
	for content, want := range map[string]string{
		strings.Replace(good, `"version":1`, `"version":2`, 1):       "version 2, this plugin knows version 1: run the newer plugin that wrote it",
		good + "[{]\n" + `[{"key":"volume/x","value":{"name":"x"}}]`: "unreadable",
		good + `[{"key":"volume/x","value":{"name":"y"}}]` + "\n":    "state of volume x in " + filepath.Dir(file) + " is unreadable",
		"": "is not a state log",
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := plugin.Open(cfg)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(file, []byte(good), 0o600))
	start(t, cfg)
}

func TestTwoPluginsCannotShareAStateDirectory(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	start(t, cfg)
	_, err := plugin.Open(cfg)
	assert.ErrorContains(t, err, "is in use by another mooring plugin")
}

// Without any setting both directories are the host's /var/lib.
func TestStoreAndStateMayShareADirectory(t *testing.T) {
	cfg := configure(t, "", t.TempDir())
	cfg.StateDir = cfg.StoreDir
	h := start(t, cfg)
	h.create("v")
	h.mount("v", "id")
	h = h.restart()
	assert.Equal(t, map[string]int{"id": 1}, h.mounts("v"))
}

func TestAStoreThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configure(t, "hostA", filepath.Join(t.TempDir(), "later"))
		h := start(t, cfg)
		err := h.Create(context.Background(), &api.CreateRequest{Name: "v"})
		require.ErrorContains(t, err, "store directory "+cfg.StoreDir+" is missing")
		require.NoError(t, os.Mkdir(cfg.StoreDir, 0o755))
		h.create("v")
		h.mount("v", "id")
	})
}

// A store that goes away under a mounted volume: its last container ends, and the lease is given back
// when the store is there again.
func TestAStoreThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("v")
		h.mount("v", "id")
		cover(t, h.cfg.StoreDir)
		err := h.Unmount(context.Background(), &api.UnmountRequest{Name: "v", ID: "id"})
		require.ErrorContains(t, err, "volume v is released later: store "+h.cfg.StoreDir+" is missing")
		assert.False(t, h.mounted("v"))
		assert.Empty(t, h.mounts("v"))
		require.NoError(t, unix.Unmount(h.cfg.StoreDir, unix.MNT_DETACH))
		h.settled()
		assert.Equal(t, "released", h.state("v"))
		assert.Contains(t, fmt.Sprint(h.get("v").Status["lease"]), "released")
	})
}
