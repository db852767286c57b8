package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring/test/cell"
	"mooring/test/faultfs"
)

// stopTime is how long a clean stop may wait for what is in the middle of a step, before that goes on.
const stopTime = 5 * time.Second

// hit lets the fault fall, and lets go on what was held.
func (r *round) hit(ctx context.Context) error {
	h := r.one
	switch r.who {
	case host:
		return r.hitHost(ctx)
	case store:
		r.struck = time.Now()
		return h.Fault(ctx, faultfs.Fault{Kind: faultfs.Kind(r.what)})
	case container:
		verb := map[fault]string{kill: "kill", freeze: "pause", stop: "stop"}[r.what]
		return r.containers(ctx, "running", verb)
	}
	if r.what == stop && r.who != guard {
		return r.stopCleanly(ctx)
	}
	pid := map[target]int{plugin: h.PluginPID(), guard: h.GuardPID(), dockerd: h.PID("dockerd")}[r.who]
	if pid == 0 {
		return fmt.Errorf("there is no %s", r.who)
	}
	signal := map[fault]unix.Signal{kill: unix.SIGKILL, freeze: unix.SIGSTOP, stop: unix.SIGTERM}[r.what]
	if err := unix.Kill(pid, signal); err != nil {
		return err
	}
	r.victim = pid
	return h.Release(ctx)
}

// hitHost hits all of the host. What is held is over when everything stands still, before anybody has seen it.
func (r *round) hitHost(ctx context.Context) error {
	switch h := r.one; r.what {
	case kill:
		return h.Kill(ctx)
	case freeze:
		return h.Freeze(ctx)
	case cut:
		return errors.Join(h.Fault(ctx, faultfs.Fault{Kind: faultfs.Hang}), h.Release(ctx), h.Cut(ctx))
	default:
		return errors.Join(r.stopCleanly(ctx), h.Kill(ctx))
	}
}

// stopCleanly stops the plugin, or the engine with all it runs.
func (r *round) stopCleanly(ctx context.Context) error {
	h := r.one
	stopped := make(chan error, 1)
	go func() {
		if r.who == plugin {
			_, err := h.Docker(ctx, "plugin", "disable", "--force", cell.PluginName)
			stopped <- err
			return
		}
		stopped <- h.StopEngine(ctx)
	}()
	patience := time.NewTimer(stopTime)
	defer patience.Stop()
	select {
	case err := <-stopped:
		return errors.Join(err, h.Release(ctx))
	case <-patience.C:
	}
	if err := h.Release(ctx); err != nil {
		return err
	}
	return <-stopped
}

// heal brings back what was hit.
func (r *round) heal(ctx context.Context) error {
	h := r.one
	switch r.who {
	case host:
		switch r.what {
		case freeze:
			return h.Thaw(ctx)
		case cut:
			return errors.Join(h.Join(ctx), h.Heal(ctx))
		}
		return h.Return(ctx)
	case store:
		if r.what == enospc {
			if err := r.refused(ctx); err != nil {
				return err
			}
		}
		if r.what == hang {
			r.outlast(ctx)
		}
		return h.Heal(ctx)
	case container:
		if r.what == freeze {
			if err := r.refused(ctx); err != nil {
				return err
			}
			return r.containers(ctx, "paused", "unpause")
		}
	case guard:
		if r.what == stop { // in vain: it has volumes to guard
			return nil
		}
		return await(ctx, "another guard", func() error {
			if now := h.GuardPID(); now == 0 || now == r.victim {
				return errors.New("there is none")
			}
			return nil
		})
	case dockerd:
		if r.what != freeze {
			gone := func() error {
				if h.PID("dockerd") != 0 {
					return errors.New("it is still there")
				}
				return nil
			}
			return errors.Join(await(ctx, "the end of the engine", gone), h.StartEngine(ctx))
		}
		return errors.Join(r.refused(ctx), unix.Kill(r.victim, unix.SIGCONT))
	case plugin:
		switch r.what {
		case freeze:
			return errors.Join(r.refused(ctx), unix.Kill(r.victim, unix.SIGCONT))
		case stop:
			_, err := h.Docker(ctx, "plugin", "enable", cell.PluginName)
			return err
		}
		return await(ctx, "the plugin", func() error {
			if now := h.PluginPID(); now == 0 || now == r.victim {
				return errors.New("it does not run")
			}
			return nil
		})
	}
	return nil
}

// outlast waits until the fault has lasted as long as it shall at least.
func (r *round) outlast(ctx context.Context) {
	rest := time.NewTimer(r.lasts - time.Since(r.struck))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// containers gives an order for the containers of host one that are in a state.
func (r *round) containers(ctx context.Context, state, verb string) error {
	found, err := r.one.Docker(ctx, "ps", "--quiet", "--filter", "status="+state)
	if err == nil {
		_, err = r.one.Docker(ctx, append([]string{verb}, strings.Fields(found)...)...)
	}
	return err
}

// refused waits until host two has tried in vain to get every volume, or has it.
func (r *round) refused(ctx context.Context) error {
	return await(ctx, r.two.Name+" to try", func() error {
		for _, v := range r.volumes {
			if v.tries.Load() == 0 {
				return fmt.Errorf("%s was not asked for", v.name)
			}
		}
		return nil
	})
}
