package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring/test/cell"
)

const manyVolumes = 1000

// listFigures times `docker volume ls` without volumes of ours and with a thousand.
func listFigures(ctx context.Context, h *cell.Host) ([]Figure, error) {
	before, err := listing(ctx, h)
	if err != nil {
		return nil, err
	}
	if err := eachVolume(ctx, "create", func(ctx context.Context, name string) error {
		_, err := h.Docker(ctx, "volume", "create", "--driver", cell.PluginName, name)
		return err
	}); err != nil {
		return nil, err
	}
	after, err := listing(ctx, h)
	if err != nil {
		return nil, err
	}
	err = eachVolume(ctx, "remove", func(ctx context.Context, name string) error {
		_, err := h.Docker(ctx, "volume", "rm", name)
		return err
	})
	added := after - before
	return []Figure{{Name: "docker volume ls: added by 1,000 volumes", Value: added, Unit: "ms", Aim: "<= 50", Met: added <= 50}}, err
}

// eachVolume does something to each of many volumes, a few at a time.
func eachVolume(ctx context.Context, what string, do func(context.Context, string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range manyVolumes {
		group.Go(func() error {
			if err := do(ctx, fmt.Sprintf("many%d", i)); err != nil {
				return fmt.Errorf("%s a thousand volumes: %w", what, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// listing is the median time of `docker volume ls`, in milliseconds.
func listing(ctx context.Context, h *cell.Host) (float64, error) {
	var times []float64
	for range *cycles {
		begin := time.Now()
		if _, err := h.Docker(ctx, "volume", "ls", "--quiet"); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(begin).Microseconds())/1000)
	}
	return median(times), nil
}

// firstWriteFigure kills a host whose container writes a volume, and times the first write to it on another host.
func firstWriteFigure(ctx context.Context, dying, other *cell.Host) ([]Figure, error) {
	volume := "type=volume,volume-driver=" + cell.PluginName + ",source=deathdata,target=/data"
	writer := "while :; do date +%s.%N >>/data/log; sync /data/log; sleep 0.05; done"
	if _, err := dying.Docker(ctx, "run", "--detach", "--network", "none", "--user", "0", "--entrypoint", "bash", "--mount", volume, elasticsearch, "-c", writer); err != nil {
		return nil, err
	}
	if err := dying.Kill(ctx); err != nil {
		return nil, err
	}
	died := time.Now()
	patience, cancel := context.WithTimeout(ctx, 2*takeSeconds*time.Second)
	defer cancel()
	for {
		_, err := other.Docker(ctx, "run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "bash", "--mount", volume, elasticsearch, "-c", "echo next >>/data/log && sync /data/log")
		if err == nil {
			break
		}
		if patience.Err() != nil {
			return nil, err
		}
	}
	took := time.Since(died).Seconds()
	f := against("host death to first write on another host / time after which a lease may be taken", "s", took, takeSeconds,
		fmt.Sprintf("< %d s", takeSeconds+2), func(float64) bool { return took < takeSeconds+2 })
	return []Figure{f}, dying.Return(ctx)
}
