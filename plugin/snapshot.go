package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Snapshot keeps what an image is now under a name, without stopping its containers.
func (d *Driver) Snapshot(ctx context.Context, name string, order admin.SnapshotOrder, say admin.Say) (backend.Snapshot, error) {
	if !namePattern.MatchString(order.Snapshot) {
		return backend.Snapshot{}, fmt.Errorf("snapshot name %q is not allowed: use %s", order.Snapshot, nameForm)
	}
	return atLeisure(ctx, d, name, func(ctx context.Context) (kept backend.Snapshot, err error) {
		err = d.underLease(ctx, name, func(ctx context.Context, s *store.Store, v volume) (volume, error) {
			keeper, err := d.filledImage(v, "have snapshots")
			if err != nil {
				return v, err
			}
			how := d.copying(s, v, order.Copy, say)
			if kept, err = keeper.Snapshot(ctx, d.spec(s, v), d.target(name), order.Snapshot, how); err != nil {
				return v, fmt.Errorf("snapshot of volume %s: %w", name, remedied(err))
			}
			d.log.Info("snapshot taken", "volume", name, "snapshot", order.Snapshot, "epoch", v.Epoch)
			return v, nil
		})
		return kept, err
	})
}

// Snapshots lists what is kept of a volume, the oldest first.
func (d *Driver) Snapshots(ctx context.Context, name string) ([]backend.Snapshot, error) {
	return bounded(ctx, d, func(context.Context) ([]backend.Snapshot, error) {
		s, v, keeper, err := d.imageInStore(name)
		if err != nil {
			return nil, err
		}
		found, err := keeper.Snapshots(d.spec(s, v))
		slices.SortFunc(found, func(a, b backend.Snapshot) int { return a.At.Compare(b.At) })
		return found, err
	})
}

// removeSnapshot removes NAME@SNAPSHOT for good. Whoever has the volume goes on.
func (d *Driver) removeSnapshot(ctx context.Context, name, snapshot string) (store.Removed, error) {
	gone := store.Removed{Name: name + "@" + snapshot}
	err := d.attend(ctx, name, func(context.Context) error {
		s, v, keeper, err := d.imageInStore(name)
		if err != nil {
			return err
		}
		if !namePattern.MatchString(snapshot) {
			return fmt.Errorf("%w: %s", admin.ErrNoVolume, gone.Name)
		}
		if err := keeper.RemoveSnapshot(d.spec(s, v), snapshot); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
		d.log.Info("snapshot removed", "volume", name, "snapshot", snapshot)
		return nil
	}, nil)
	return gone, err
}

// imageInStore is an image volume as the store has it, known to this host or not.
func (d *Driver) imageInStore(name string) (*store.Store, volume, imageKeeper, error) {
	s, err := d.usableStore()
	if err != nil {
		return nil, volume{}, nil, fmt.Errorf("volume %s: %w", name, err)
	}
	found, err := d.stored(s, name)
	if err != nil {
		return nil, volume{}, nil, err
	}
	v := volume{Volume: found}
	keeper, err := d.images(v, "have snapshots")
	return s, v, keeper, err
}

// filledImage is images for a volume that has an image already.
func (d *Driver) filledImage(v volume, verb string) (imageKeeper, error) {
	keeper, err := d.images(v, verb)
	if err == nil && !v.Used {
		err = fmt.Errorf("volume %s was never mounted: it has no file system of Mooring's yet", v.Name)
	}
	return keeper, err
}

// copying is how an image under this host's lease is copied: the copy counts only if this host had the lease all the while.
func (d *Driver) copying(s *store.Store, v volume, whole bool, say admin.Say) backend.Copying {
	how := backend.Copying{Whole: whole}
	if say != nil {
		percent := int64(-1)
		how.Progress = func(done, total int64) {
			if now := done * 100 / max(total, 1); now > percent {
				percent = now
				say(fmt.Sprintf("copied %d %% of %s", now, store.Size(total>>10<<10)))
			}
		}
	}
	how.Confirm = func() error {
		current, err := d.current(s, v.Name)
		if err == nil && (current.Epoch != v.Epoch || !current.Of(d.self)) {
			err = fmt.Errorf("volume %s was taken over by host %s while it was copied: %w", v.Name, current.Host, lease.ErrTaken)
		}
		return err
	}
	return how
}

// remedied says what an operator can do about a store that cannot share blocks.
func remedied(err error) error {
	if errors.Is(err, backend.ErrNoReflinks) {
		return fmt.Errorf("%w: stop the volume's containers and give --copy, which copies all data", err)
	}
	return err
}

// atLeisure runs an operator's order on one volume, which may take long. When its caller goes away it is told to stop; no
// other call on the volume comes in between.
func atLeisure[T any](ctx context.Context, d *Driver, name string, work func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	d.calls.Go(func() {
		var o outcome
		waiting, cancel := context.WithTimeout(ctx, d.cfg.CallBudget)
		unlock, err := d.locks.lock(waiting, name)
		cancel()
		if err != nil {
			o.err = fmt.Errorf("volume %s is busy with another call: try again later: %w", name, err)
		} else {
			o.err = d.protected(ctx, name, func(ctx context.Context) (err error) {
				o.result, err = work(ctx)
				return err
			})
			unlock()
		}
		done <- o
	})
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("volume %s: stopped: %w", name, ctx.Err())
	}
}

// splitSource is the volume and the snapshot, "" for the volume as it is now, in VOLUME or VOLUME@SNAPSHOT.
func splitSource(from string) (name, snapshot string, err error) {
	name, snapshot, at := strings.Cut(from, "@")
	if !namePattern.MatchString(name) || at && !namePattern.MatchString(snapshot) {
		return "", "", fmt.Errorf("from %q is neither a VOLUME nor a VOLUME@SNAPSHOT", from)
	}
	return name, snapshot, nil
}

// now is when a volume is made, as records have it.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
