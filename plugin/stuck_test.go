package plugin_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/backend"
)

// Storage that does not answer: the call ends within its budget, the others are not held up, and what the
// call did after all is undone.
func TestCallsEndWhenStorageDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configure(t, "hostA", t.TempDir())
		stuck := newStuck()
		cfg.Backend = stuck
		h := start(t, cfg)
		h.create("v")
		h.create("w")
		begin := time.Now()
		message := h.refuseMount("v", "id1")
		assert.Equal(t, plugin.DefaultCallBudget, time.Since(begin))
		assert.Contains(t, message, "volume v: no result within 25s, perhaps because store "+cfg.StoreDir+" does not answer")
		h.get("v")
		h.unmount("w", "id")
		_, err := h.Mount(context.Background(), &api.MountRequest{Name: "v", ID: "id2"})
		assert.ErrorContains(t, err, "no result within 25s", "the lock is waited for no longer either")
		close(stuck.free)
		synctest.Wait()
		assert.False(t, h.mounted("v"), "nobody knows of this mount")
		h.mount("v", "id3")
		assert.Equal(t, map[string]int{"id3": 1}, h.mounts("v"))
	})
}

// The engine gives a mount back while the volume is busy with storage that does not answer, and never asks again.
func TestALateUnmountIsNotForgotten(t *testing.T) {
	for name, leave := range map[string]func(*host){
		"after its time": func(h *host) {
			err := h.Unmount(context.Background(), &api.UnmountRequest{Name: "v", ID: "id1"})
			assert.ErrorContains(h.t, err, "no result within 25s")
		},
		"when the engine has hung up": func(h *host) {
			ctx, hangUp := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- h.Unmount(ctx, &api.UnmountRequest{Name: "v", ID: "id1"}) }()
			synctest.Wait()
			hangUp()
			assert.ErrorIs(h.t, <-ended, context.Canceled)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := configure(t, "hostA", t.TempDir())
				h := start(t, cfg)
				h.create("v")
				h.mount("v", "id1")
				h.crash()
				stuck := newStuck()
				cfg.Backend = stuck
				h = start(t, cfg)
				<-stuck.entered // takes the volume up again
				leave(h)
				close(stuck.free)
				synctest.Wait()
				assert.Equal(t, "released", h.state("v"))
				assert.False(t, h.mounted("v"))
				h.mount("v", "id1")
				assert.Equal(t, map[string]int{"id1": 1}, h.mounts("v"))
			})
		})
	}
}

func TestAMountWhoseCallerHasGoneIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := configure(t, "hostA", t.TempDir())
		stuck := newStuck()
		cfg.Backend = stuck
		h := start(t, cfg)
		h.create("v")
		ctx, hangUp := context.WithCancel(context.Background())
		go func() { <-stuck.entered; hangUp() }()
		_, err := h.Mount(ctx, &api.MountRequest{Name: "v", ID: "id1"})
		require.ErrorIs(t, err, context.Canceled)
		close(stuck.free)
		synctest.Wait()
		assert.False(t, h.mounted("v"))
		assert.Equal(t, "released", h.state("v"))
	})
}

// stuck is a back end whose first Mount waits until it is set free.
type stuck struct {
	backend.Dir
	entered, free chan struct{}
}

func newStuck() *stuck { return &stuck{entered: make(chan struct{}), free: make(chan struct{})} }

func (s *stuck) Mount(ctx context.Context, v backend.Spec, target string) error {
	select {
	case <-s.free:
	default:
		close(s.entered)
		<-s.free
	}
	return s.Dir.Mount(ctx, v, target)
}
