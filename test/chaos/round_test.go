package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"mooring/test/cell"
)

// round is one fault that hits one target on host one, while host two wants the volumes.
type round struct {
	one, two *cell.Host
	dir      string       // of the store
	kept     *keptOutside // leases that are not in the store; nil: they are
	who      target
	what     fault
	victim   int           // process that was hit
	struck   time.Time     // when the store began to hang
	lasts    time.Duration // how long it does so at least
	volumes  []*volume
}

func newRound(c *cell.Cell, pair [2]*cell.Host, who target, what fault, choices map[step]choice) *round {
	r := &round{one: pair[0], two: pair[1], dir: filepath.Join(c.Store, "mooring"), who: who, what: what}
	for _, when := range steps {
		if leftOut(who, what, when) != "" || c.Leases != "" && ofLeases(when) {
			continue
		}
		chosen := choices[when]
		switch {
		case silent(who, what):
			r.add(when, dir, chosen.after)
		case when == write:
			for _, k := range []kind{ext4, xfs, dir} {
				r.add(when, k, chosen.after)
			}
		default:
			r.add(when, chosen.image, chosen.after)
		}
	}
	return r
}

func (r *round) add(when step, k kind, after bool) {
	name := fmt.Sprintf("%s-%s-%s-%s", r.who, r.what, when, k)
	r.volumes = append(r.volumes, &volume{round: r, name: name, when: when, kind: k, hold: holdAt(when, name, after),
		doing: make(chan error, 1), won: make(chan error, 1)})
}

// play tells the round from its beginning to its end; each step is a test of its own.
func play(t *testing.T, r *round) {
	ctx, cancel := context.WithTimeout(t.Context(), roundLimit)
	defer cancel()
	answers := r.watchEngines(ctx)
	err := r.fall(ctx, answers)
	worst, silent := answers.end()
	t.Logf("docker volume ls took up to %s on %s, %s on %s", worst[0].Round(time.Millisecond), r.one.Name, worst[1].Round(time.Millisecond), r.two.Name)
	for _, v := range r.volumes {
		t.Run(string(v.when)+" "+string(v.kind), func(t *testing.T) {
			if v.report != "" {
				t.Log(v.report)
			}
			require.NoError(t, v.err)
		})
	}
	if err != nil || t.Failed() {
		r.repair()
	}
	require.NoError(t, err)
	require.NoError(t, silent, "docker volume ls")
}

// fall is the round itself. Its error is one that ends it; what is wrong with a volume is noted there.
func (r *round) fall(ctx context.Context, answers *answers) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	if err := r.stage(ctx); err != nil {
		return err
	}
	answers.excuse(r.who == plugin || r.who == dockerd || r.who == host)
	if err := r.hit(ctx); err != nil {
		return fmt.Errorf("hit %s: %w", r.who, err)
	}
	for _, v := range r.volumes {
		go v.contend(ctx)
	}
	taken := takenOver(r.who, r.what)
	if taken {
		r.each(func(v *volume) error { return errors.Join(<-v.won, v.audit(ctx)) })
	}
	if r.who == host && r.what == freeze {
		r.each(func(v *volume) error { return v.countUntilNow() })
	}
	if err := r.heal(ctx); err != nil {
		return fmt.Errorf("heal %s: %w", r.who, err)
	}
	answers.excuse(false)
	r.each(func(v *volume) error { return v.giveUp(ctx) })
	if !taken {
		r.each(func(v *volume) error { return <-v.won })
	}
	r.each(func(v *volume) error {
		if lateWrites(r.who, r.what, v.kind) != "" {
			return nil
		}
		return v.audit(ctx)
	})
	r.each(func(v *volume) error {
		return await(ctx, "removal of "+v.name, func() error { return v.discard(ctx) })
	})
	r.each(func(v *volume) error { return await(ctx, "nothing left of "+v.name, v.traces) })
	return r.renew(ctx)
}

// renew does, now that no container is left, what the plugin asks for when the engine has lost its mounts: Docker 20.10 may,
// when it stops a plugin by force in the middle of a mount.
func (r *round) renew(ctx context.Context) error {
	if r.who != plugin || r.what != stop {
		return nil
	}
	_, disabled := r.one.Docker(ctx, "plugin", "disable", "--force", cell.PluginName)
	_, enabled := r.one.Docker(ctx, "plugin", "enable", cell.PluginName)
	return errors.Join(disabled, enabled)
}

// ready waits until host one mounts again after an earlier round.
func (r *round) ready(ctx context.Context) error {
	probe := &volume{round: r, name: "probe-" + r.one.Name}
	return await(ctx, r.one.Name+" to mount", func() error {
		if _, err := r.one.Docker(ctx, probe.writer(r.one, []string{"--rm"}, "--count", "1")...); err != nil {
			return err
		}
		_, err := r.one.Docker(ctx, "volume", "rm", probe.name)
		return err
	})
}

// stage brings every volume to its step, the last one at last.
func (r *round) stage(ctx context.Context) error {
	var all errgroup.Group
	for i, v := range r.volumes {
		if i == len(r.volumes)-1 {
			break
		}
		all.Go(func() error { return v.begin(ctx) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return r.volumes[len(r.volumes)-1].begin(ctx)
}

// each does something with all volumes at once and notes what fails.
func (r *round) each(do func(v *volume) error) {
	var all errgroup.Group
	all.SetLimit(3) // two processors
	for _, v := range r.volumes {
		all.Go(func() error { v.wrong(do(v)); return nil })
	}
	_ = all.Wait()
}

// giveUp ends the volume's use on host one, whatever the fault left of it. A writer that has lived through it shows first
// that it goes on.
func (v *volume) giveUp(ctx context.Context) error {
	select {
	case <-v.doing: // well or not: the fault was in the middle of it
	case <-ctx.Done():
		return fmt.Errorf("the order on %s never ended: %w", v.one.Name, ctx.Err())
	}
	own := []string{"ps", "--quiet", "--all", "--filter", "name=" + v.name + "-"}
	if v.when == write && !takenOver(v.who, v.what) {
		running, err := v.one.Docker(ctx, append(own, "--filter", "status=running")...)
		if err != nil {
			return err
		}
		if running != "" {
			short, stop := context.WithTimeout(ctx, 5*time.Second)
			now, err := v.count()
			if err == nil {
				_ = v.awaitAcks(short, now+5) // unless the guard ends it
			}
			stop()
		}
	}
	return await(ctx, "containers of "+v.name+" to be removed", func() error {
		found, err := v.one.Docker(ctx, own...)
		if err != nil || found == "" {
			return err
		}
		_, err = v.one.Docker(ctx, append([]string{"rm", "-f"}, strings.Fields(found)...)...)
		return err
	})
}

// repair makes the pair fit for another round.
func (r *round) repair() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = r.one.Release(ctx)
	switch r.one.Status(ctx) {
	case "running":
		if r.one.PID("dockerd") == 0 {
			_ = r.one.StartEngine(ctx)
		}
	case "dead":
		_ = r.one.Return(ctx)
	default:
		_ = errors.Join(r.one.Thaw(ctx), r.one.Join(ctx))
	}
	_ = r.one.Heal(ctx)
}
