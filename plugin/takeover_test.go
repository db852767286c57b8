package plugin_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/class"
	"mooring/plugin/lease"
	"mooring/plugin/mounts"
)

func TestAnOperatorTakesADeadHostsVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, log := t.TempDir(), &bytes.Buffer{}
		a := start(t, configure(t, "hostA", store))
		cfg := configure(t, "hostB", store)
		cfg.Log = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})
		b, c := start(t, cfg), start(t, configure(t, "hostC", store))
		a.create("v")
		a.mount("v", "id1")
		b.settled()
		a.crash()
		begin := time.Now()
		taken, err := b.TakeOver(context.Background(), "v", admin.Order{Reason: "its power supply burnt", Force: true})
		require.NoError(t, err)
		assert.Equal(t, admin.Taken{Volume: "v", From: "hostA", FromEpoch: 1, Epoch: 2}, taken)
		assert.Less(t, time.Since(begin), plugin.DefaultTakeAfter, "an order need not wait as long as a mount must")
		for _, part := range []string{"takeover ordered: ", "volume=v", "host=hostA", "from=1", "epoch=2", `reason="its power supply burnt"`} {
			assert.Contains(t, log.String(), part)
		}
		assert.Equal(t, admin.Happened{TakenByOrder: 1}, b.Counts().Happened)
		assert.NotEqual(t, "held elsewhere", b.state("v"))
		c.settled()
		c.mount("v", "id2") // at once, on any host

		a = start(t, a.cfg)
		a.settled()
		assert.Contains(t, a.refuseMount("v", "id1"), "is held by host hostC (epoch 3")
	})
}

func TestALivingHostsVolumeIsNotTakenByMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		a.create("v")
		kill := container(t, a.mount("v", "id1"))
		b.settled()
		_, err := b.TakeOver(context.Background(), "v", admin.Order{Reason: "test", Force: true})
		require.Error(t, err)
		assert.Regexp(t, `^host hostA, which holds volume v \(epoch 1\), is alive: its last heartbeat was \ds ago; `+
			`stop the volume's containers there, or, if nothing there can write it, add --even-if-alive$`, err.Error())
		assert.Equal(t, "mounted", a.settled().state("v"))

		_, err = b.TakeOver(context.Background(), "v", admin.Order{Reason: "test", Force: true, EvenIfAlive: true})
		require.NoError(t, err)
		b.mount("v", "id2")
		assert.Equal(t, "lost", a.settled().state("v"), "the holder is told")
		kill()
	})
}

func TestAnUnattendedVolumeIsTakenByOrderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		cfg := configure(t, "hostA", store)
		cfg.Guard = nil // no guard that would keep the lease
		a, b := start(t, cfg), start(t, configure(t, "hostB", store))
		a.create("v")
		container(t, a.mount("v", "id1"))
		require.NoError(t, a.Shutdown(context.Background()))
		a.crash()
		time.Sleep(time.Hour)
		assert.Contains(t, b.refuseMount("v", "id2"), "unattended")
		_, err := b.TakeOver(context.Background(), "v", admin.Order{Reason: "test", Force: true})
		require.NoError(t, err)
		b.mount("v", "id2")
	})
}

func TestNothingToTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, configure(t, "hostA", t.TempDir()))
		h.create("free")
		h.create("own")
		h.mount("own", "id")
		h.mount("free", "id")
		h.unmount("free", "id")
		for name, want := range map[string]string{
			"free": "volume free is held by no host: there is nothing to take over, mount it where it is wanted",
			"own":  "volume own is held by this host itself (hostA, epoch 1): there is nothing to take over, stop its containers here",
			"none": "no such volume: none",
			"../x": "no such volume: ../x",
		} {
			_, err := h.TakeOver(context.Background(), name, admin.Order{Reason: "test", Force: true, EvenIfAlive: true})
			assert.EqualError(t, err, want)
		}
		assert.Equal(t, "mounted", h.state("own"))
	})
}

func TestAVolumeIsTakenAsItsPolicySays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		cfg := configure(t, "hostA", store)
		cfg.Classes = append([]class.Class{{Name: "byclass", Pattern: regexp.MustCompile("^class"), Takeover: lease.Manual}}, class.BuiltIn()...)
		a, b := start(t, cfg), start(t, configure(t, "hostB", store))
		for name, options := range map[string]map[string]string{"manual": {"takeover": "manual"}, "never": {"takeover": "never"}, "class": nil} {
			require.NoError(t, a.Create(context.Background(), &api.CreateRequest{Name: name, Options: options}))
			a.mount(name, "id1")
		}
		b.settled() // it learns the policies from the store
		a.crash()
		time.Sleep(time.Hour)
		for name, want := range map[string]string{
			"manual": "taken over by order only (takeover=manual); stop its container there, or, if that host is down for certain: mooring volumes takeover manual",
			"class":  "taken over by order only (takeover=manual)",
			"never":  "never taken over (takeover=never); stop its container there, or start that host again with its plugin",
		} {
			assert.Contains(t, b.refuseMount(name, "id2"), "is held by host hostA (epoch 1) and is "+want)
			detail, err := b.Inspect(context.Background(), name)
			require.NoError(t, err)
			assert.Contains(t, want, "takeover="+detail.Takeover)
			assert.Contains(t, want, "takeover="+b.get(name).Status["takeover"].(string))
			held, err := lease.Files{Volumes: filepath.Join(store, "mooring/volumes")}.Current(name)
			require.NoError(t, err)
			assert.Equal(t, detail.Takeover, held.Takeover, "who sees the lease alone knows, too")
		}
		order := admin.Order{Reason: "test", Force: true, EvenIfAlive: true}
		for _, name := range []string{"manual", "class"} {
			_, err := b.TakeOver(context.Background(), name, order)
			require.NoError(t, err)
			b.mount(name, "id2")
		}
		_, err := b.TakeOver(context.Background(), "never", order)
		require.EqualError(t, err, "volume never is held by host hostA (epoch 1) and is never taken over (takeover=never); "+
			"stop its container there, or start that host again with its plugin")

		a = start(t, a.cfg)
		a.settled()
		a.mount("never", "id3")
		a.unmount("never", "id3")
		a.unmount("never", "id1")
		b.mount("never", "id4")
	})
}

func TestTakeoverOption(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	create := func(name, policy string) error {
		return h.Create(context.Background(), &api.CreateRequest{Name: name, Options: map[string]string{"takeover": policy}})
	}
	assert.EqualError(t, create("v", "by hand"), `option takeover "by hand" is unknown: use auto, manual or never`)
	require.NoError(t, create("v", "auto"))
	require.NoError(t, create("v", "auto"), "equal options")
	assert.EqualError(t, create("v", "never"), "volume v exists with takeover auto, not never: leave the option out or choose another name")
}

// A policy is changed in the store by hand: there the order looks.
func TestAChangedPolicyCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		require.NoError(t, a.Create(context.Background(), &api.CreateRequest{Name: "v", Options: map[string]string{"takeover": "never"}}))
		a.mount("v", "id1")
		b.settled()
		a.crash()
		file := filepath.Join(store, "mooring/volumes/v/volume.json")
		require.NoError(t, os.WriteFile(file, []byte(strings.Replace(readFile(t, file), `"never"`, `"manual"`, 1)), 0o600))
		_, err := b.TakeOver(context.Background(), "v", admin.Order{Reason: "test", Force: true})
		require.NoError(t, err)
		b.mount("v", "id2")
	})
}

// A Mount has the lease and has recorded nothing yet, because its storage hangs.
func TestTheDoctorDoesNotMistakeACallAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configure(t, "hostA", t.TempDir())
		stuck := newStuck()
		cfg.Backend = stuck
		h := start(t, cfg)
		h.create("v")
		h.refuseMount("v", "id1") // after its time; the call goes on
		repairs, err := h.Repair(context.Background())
		require.NoError(t, err)
		assert.Empty(t, repairs)
		found, err := h.Diagnose(context.Background())
		require.NoError(t, err)
		assert.Equal(t, []string{"call-at-work v"}, kinds(found))
		close(stuck.free)
		synctest.Wait()
		found, err = h.Diagnose(context.Background())
		require.NoError(t, err)
		assert.Empty(t, found, "the late call was undone")
	})
}

// silentStore does not answer the one who looks for containers.
type silentStore struct {
	backend.Dir
	free chan struct{}
}

func (s silentStore) Tree(v backend.Spec, target string) (mounts.Tree, error) {
	<-s.free
	return s.Dir.Tree(v, target)
}

func TestOperatorsDoNotWaitForASilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configure(t, "hostA", t.TempDir())
		free := make(chan struct{})
		cfg.Backend = silentStore{free: free}
		h := start(t, cfg)
		h.create("v")
		for _, ask := range []func() error{
			func() error { _, err := h.Inspect(context.Background(), "v"); return err },
			func() error { _, err := h.Diagnose(context.Background()); return err },
			func() error { _, err := h.Dispose(context.Background(), "v", 0); return err },
		} {
			begin := time.Now()
			assert.ErrorContains(t, ask(), "no result within 25s, perhaps because store "+cfg.StoreDir+" does not answer")
			assert.Equal(t, plugin.DefaultCallBudget, time.Since(begin))
		}
		assert.Len(t, h.Survey().Volumes, 1)
		close(free)
		synctest.Wait()
	})
}
