package plugin_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/admin"
)

var forGood = admin.GoneOrder{Reason: "its rack burnt"}

func TestAHostThatIsGoneForGoodFreesAllItsVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, log := t.TempDir(), &bytes.Buffer{}
		cfg := configure(t, "hostB", store)
		cfg.Log = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})
		a, b, c := start(t, configure(t, "hostA", store)), start(t, cfg), start(t, configure(t, "hostC", store))
		for _, name := range []string{"v1", "v2", "released", "other"} {
			a.create(name)
		}
		a.mount("v1", "id")
		a.mount("v2", "id")
		a.mount("released", "id")
		a.unmount("released", "id")
		c.settled()
		c.mount("other", "id")
		a.crash()
		begin := time.Now()
		gone, err := b.Gone(context.Background(), "hostA", forGood)
		require.NoError(t, err)
		assert.Equal(t, admin.Gone{Host: "hostA", Taken: []admin.Taken{
			{Volume: "v1", From: "hostA", FromEpoch: 1, Epoch: 2}, {Volume: "v2", From: "hostA", FromEpoch: 1, Epoch: 2},
		}}, gone)
		assert.Less(t, time.Since(begin), plugin.DefaultTakeAfter, "all of them wait together, and not for the clock")
		for _, part := range []string{"host said to be gone: host=hostA", `reason="its rack burnt"`, "takeover ordered: epoch=2 from=1 host=hostA", "volume=v2 "} {
			assert.Contains(t, log.String(), part)
		}
		c.mount("v1", "id2") // at once
		assert.Equal(t, "mounted", c.state("other"))

		gone, err = b.Gone(context.Background(), "hostA", forGood)
		require.NoError(t, err)
		assert.Equal(t, admin.Gone{Host: "hostA", Taken: []admin.Taken{}}, gone, "nothing is left to take")
	})
}

func TestAWordDoesNotTakeFromALivingHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		a.create("v")
		a.mount("v", "id")
		b.settled()
		for _, order := range []admin.GoneOrder{forGood, {Reason: "Mesos says so", Guarded: true}, {Reason: "Mesos says so", Guarded: true, Volumes: []string{"v"}}} {
			_, err := b.Gone(context.Background(), "hostA", order)
			require.ErrorContains(t, err, "host hostA, which holds volume v (epoch 1), is alive")
		}
		assert.Equal(t, "mounted", a.settled().state("v"))
		gone, err := b.Gone(context.Background(), "hostA", admin.GoneOrder{Reason: "I unplugged it", EvenIfAlive: true})
		require.NoError(t, err)
		assert.Len(t, gone.Taken, 1)
	})
}

// Somebody who says that a host is gone does not know of containers that run without their plugin. An operator does.
func TestWhatTimeNeverFreesIsFreedByAnOperatorOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		cfg := configure(t, "hostA", store)
		cfg.Guard = nil // no guard that would keep the lease
		a, b := start(t, cfg), start(t, configure(t, "hostB", store))
		a.create("v")
		container(t, a.mount("v", "id"))
		require.NoError(t, a.Shutdown(context.Background()))
		a.crash()
		gone, err := b.Gone(context.Background(), "hostA", admin.GoneOrder{Reason: "Mesos says so", Guarded: true})
		require.NoError(t, err)
		require.Len(t, gone.Left, 1)
		assert.Regexp(t, "^volume v is held by host hostA .*unattended.*mooring volumes gone hostA$", gone.Left[0].Error)
		assert.Empty(t, gone.Taken)
		gone, err = b.Gone(context.Background(), "hostA", forGood)
		require.NoError(t, err)
		assert.Len(t, gone.Taken, 1)
		b.mount("v", "id2")
	})
}

func TestOnlyTheNamedVolumesAndHostsAreTakenFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b, c := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store)), start(t, configure(t, "hostC", store))
		for _, name := range []string{"v1", "v2", "broken"} {
			a.create(name)
			a.mount(name, "id")
		}
		c.create("w")
		c.mount("w", "id")
		a.crash()
		gone, err := b.Gone(context.Background(), "hostA", admin.GoneOrder{Reason: "test", Volumes: []string{"v1", "w", "nosuch"}})
		require.NoError(t, err)
		assert.Equal(t, admin.Gone{Host: "hostA", Taken: []admin.Taken{{Volume: "v1", From: "hostA", FromEpoch: 1, Epoch: 2}}}, gone)

		require.NoError(t, os.WriteFile(filepath.Join(store, "mooring/volumes/broken/lease.1"), []byte("{"), 0o644))
		gone, err = b.Gone(context.Background(), "hostA", forGood)
		require.NoError(t, err)
		assert.Equal(t, []admin.Taken{{Volume: "v2", From: "hostA", FromEpoch: 1, Epoch: 2}}, gone.Taken)
		require.Len(t, gone.Left, 1)
		assert.Contains(t, gone.Left[0].Error, "lease.1 is unreadable")

		_, err = b.TakeOver(context.Background(), "w", admin.Order{Reason: "test", Force: true, From: "hostA"})
		assert.EqualError(t, err, "volume w is held by host hostC (epoch 1), not by hostA: name its holder")
		for host, want := range map[string]string{
			"hostB": "host hostB is this host itself, which is not gone",
			"hostX": `no host "hostX" has ever used this store: use one of [hostA hostB hostC]`,
		} {
			_, err := b.Gone(context.Background(), host, forGood)
			assert.EqualError(t, err, want)
		}
		_, err = b.Gone(context.Background(), "hostA", admin.GoneOrder{Reason: "test", Volumes: []string{"../x"}})
		assert.ErrorIs(t, err, admin.ErrNoVolume)
	})
}

func TestAWordCountsAsFarAsTheVolumesPolicyLetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := t.TempDir()
		a, b := start(t, configure(t, "hostA", store)), start(t, configure(t, "hostB", store))
		for _, policy := range []string{"auto", "manual", "never"} {
			require.NoError(t, a.Create(context.Background(), &api.CreateRequest{Name: policy, Options: map[string]string{"takeover": policy}}))
			a.mount(policy, "id")
		}
		a.crash()
		for _, row := range []struct {
			order       admin.GoneOrder
			taken, left []string
		}{
			{admin.GoneOrder{Reason: "Mesos says so", Guarded: true}, []string{"auto"}, []string{"manual", "never"}},
			{forGood, []string{"manual"}, []string{"never"}},
			{admin.GoneOrder{Reason: "I am sure", EvenIfAlive: true}, nil, []string{"never"}},
		} {
			gone, err := b.Gone(context.Background(), "hostA", row.order)
			require.NoError(t, err)
			var taken, left []string
			for _, v := range gone.Taken {
				taken = append(taken, v.Volume)
			}
			for _, v := range gone.Left {
				left = append(left, v.Volume)
			}
			assert.Equal(t, row.taken, taken, row.order.Reason)
			assert.Equal(t, row.left, left, row.order.Reason)
		}
	})
}
