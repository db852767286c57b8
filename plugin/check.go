package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/store"
)

// Check lets the file system's own checker look at an image that nobody has mounted, and repair it if that is ordered. It
// takes as long as it takes; nobody can mount the volume meanwhile.
func (d *Driver) Check(ctx context.Context, name string, order admin.CheckOrder, say admin.Say) (backend.Check, error) {
	return atLeisure(ctx, d, name, func(ctx context.Context) (found backend.Check, err error) {
		if v, known := d.volume(name); known && v.Epoch > 0 {
			return found, fmt.Errorf("volume %s is in use on this host: stop its containers first", name)
		}
		err = d.underLease(ctx, name, func(ctx context.Context, s *store.Store, v volume) (volume, error) {
			keeper, err := d.filledImage(v, "be checked")
			if err != nil {
				return v, err
			}
			ctx, stop := d.whileBeating(ctx)
			defer stop()
			d.log.Info("file system is checked", "volume", name, "repair", order.Repair)
			if found, err = keeper.Check(ctx, d.spec(s, v), d.target(name), order.Repair, say); err != nil {
				return v, fmt.Errorf("check volume %s: %w", name, err)
			}
			d.log.Info("file system was checked", "volume", name, "sound", found.Sound, "repaired", found.Repaired)
			return v, nil
		})
		return found, err
	})
}

var errNoBeat = errors.New("this host has no recent heartbeat in the store, so another one may take the volume")

// whileBeating is ctx until this host has no recent heartbeat: what writes to a volume outside the guard's watch must end
// then. The kernel ends it if this process does.
func (d *Driver) whileBeating(ctx context.Context) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	d.calls.Go(func() {
		looks := time.NewTicker(d.cfg.FenceAfter / beatLooks)
		defer looks.Stop()
		for {
			if age, beaten := d.beatAge(); !beaten || age >= d.cfg.FenceAfter {
				end(errNoBeat)
			}
			select {
			case <-looks.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() { end(nil) }
}

// beatLooks is how often within the time after which a host is fenced its heartbeat is looked at.
const beatLooks = 20
