package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/admin"
	"mooring/plugin/store"
)

// Mount mounts a volume for one mount of one container and returns where. It fails while another host
// holds the volume, naming that host. The same ID may be held several times.
func (d *Driver) Mount(ctx context.Context, r *api.MountRequest) (*api.MountResponse, error) {
	err := d.attend(ctx, r.Name,
		func(ctx context.Context) error { return d.mount(ctx, r.Name, r.ID) },
		func(ctx context.Context) error { return d.unmount(ctx, r.Name, r.ID) })
	if err != nil {
		return nil, err
	}
	return &api.MountResponse{Mountpoint: d.target(r.Name)}, nil
}

// Unmount gives back one hold of a mount ID; an unknown one is success. The last one unmounts the volume
// and releases its lease, unless the kernel still shows a container with it: then Run does so later. One that
// waits for another call on the volume until its time is over is carried out after that call all the same.
func (d *Driver) Unmount(ctx context.Context, r *api.UnmountRequest) error {
	return d.insist(ctx, r.Name, func(ctx context.Context) error { return d.unmount(ctx, r.Name, r.ID) })
}

// mount is Mount with the volume's lock held.
func (d *Driver) mount(ctx context.Context, name, id string) error {
	s, v, err := d.ready(ctx, name)
	if err != nil {
		return err
	}
	if err := d.checkDrain(v, id); err != nil {
		return err
	}
	if v, err = d.settleLoss(ctx, s, v); err != nil {
		return err
	}
	if v, err = d.matchStore(s, v); err != nil {
		return err
	}
	lapses := d.lapses() // before the lease is taken: a lapse since then may have cost it
	l, err := d.acquire(ctx, s, v)
	v.seen = l
	if err != nil {
		d.publish(v)
		return err
	}
	fresh := v.Epoch == 0
	if l.Epoch != v.Epoch {
		v.Lapses = lapses
	}
	v.Epoch, v.Boot, v.mounted, v.arrived = l.Epoch, d.self.Boot, d.cfg.Clock(), false
	if err := d.attach(ctx, s, v, id, fresh); err != nil {
		if fresh { // nobody here uses it: back to where it was
			err = errors.Join(err, d.release(ctx, s, v))
		}
		return err
	}
	return nil
}

// attach mounts a volume whose lease this host has, and counts the hold. A fresh one is not mounted here.
func (d *Driver) attach(ctx context.Context, s *store.Store, v volume, id string, fresh bool) error {
	if err := d.checkReach(); err != nil {
		return fmt.Errorf("mount volume %s: %w", v.Name, err)
	}
	if err := d.watchOver(ctx, s, v); err != nil {
		return err
	}
	v, err := d.firstUse(ctx, s, v)
	if err != nil {
		return fmt.Errorf("prepare volume %s: %w", v.Name, err)
	}
	if fresh {
		if v, err = d.renew(ctx, s, v); err != nil {
			return fmt.Errorf("prepare volume %s: %w", v.Name, err)
		}
	}
	if err := d.backend.Mount(ctx, d.spec(s, v), d.target(v.Name)); err != nil {
		return fmt.Errorf("mount volume %s: %w", v.Name, err)
	}
	v.shown = d.backend.Status(d.target(v.Name))
	if err := d.watchOver(ctx, s, v); err != nil {
		return err
	}
	if err := d.save(v.hold(id)); err != nil {
		return err
	}
	d.log.Info("volume mounted", "volume", v.Name, "epoch", v.Epoch, "id", id)
	return nil
}

// settleTime is how long a plugin must have run to end itself: were the next one no better off, the engine would start one after
// the other.
const settleTime = 10 * time.Second

// errUnseen says that mounts would go unseen.
var errUnseen = errors.New("the engine has lost its side of the plugin's mounts: the plugin ends so that the engine starts it anew; " +
	"should that not help, stop the containers that use it, then `docker plugin disable -f` and `docker plugin enable` it")

// checkReach refuses to mount where the engine would not see it: the container would write to the host's own disk. An engine
// that was killed lacks its side after it has started again, until it starts the plugin once more (Docker Engine 20.10).
func (d *Driver) checkReach() error {
	reaches, err := d.cfg.Reaches()
	if err != nil || reaches {
		return err
	}
	if d.cfg.Clock()-d.began >= settleTime {
		select {
		case d.unseen <- errUnseen:
		default: // it ends already
		}
	}
	return errUnseen
}

// ready is a volume that can be worked on: its store is there, and it has been recovered.
func (d *Driver) ready(ctx context.Context, name string) (*store.Store, volume, error) {
	if _, known := d.volume(name); !known {
		return nil, volume{}, noSuchVolume(name)
	}
	s, err := d.usableStore()
	if err != nil {
		return nil, volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	if err := errors.Join(d.checkPulse(ctx, s), d.checkRival()); err != nil {
		return nil, volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	if err := d.recover(ctx, s, name); err != nil {
		return nil, volume{}, fmt.Errorf("recover volume %s: %w", name, err)
	}
	if err := d.checkFence(ctx, name); err != nil {
		return nil, volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	v, known := d.volume(name)
	if !known {
		return nil, volume{}, noSuchVolume(name)
	}
	return s, v, nil
}

// settleLoss looks whether this host still has the lease it believes it has. If another host took it,
// nothing may be mounted beside the containers that are left; once they are gone the volume is like new.
func (d *Driver) settleLoss(ctx context.Context, s *store.Store, v volume) (volume, error) {
	if v.Epoch == 0 {
		return v, nil
	}
	current, err := d.current(s, v.Name)
	if err != nil {
		return v, err
	}
	wasLost := v.lost
	v.seen = current
	if v.lost = !current.Of(d.self); !v.lost {
		return v, nil
	}
	if !wasLost {
		d.tally.note(func(h *admin.Happened) { h.LeasesLost++ })
	}
	d.publish(v)
	holders, err := d.holders(s, v)
	if err != nil {
		return v, err
	}
	if len(holders) > 0 {
		return v, fmt.Errorf("volume %s was taken over by host %s (epoch %d) while containers here still have it: stop %s",
			v.Name, current.Host, current.Epoch, holders[0])
	}
	if err := d.takeDown(ctx, v.Name); err != nil {
		return v, err
	}
	return v.idle(), nil
}

// matchStore compares what this host knows of a volume with what the store says, which counts, and makes
// the volume's directory if it was never used.
func (d *Driver) matchStore(s *store.Store, v volume) (volume, error) {
	found, err := s.Read(v.Name)
	switch {
	case err == nil && found.ID == v.ID, err == nil && !v.Used, err == nil && s.WasRemoved(v.ID):
		found.Used = found.Used || found.ID == v.ID && v.Used
		v.Volume = found
		return v, nil
	case err == nil:
		return v, fmt.Errorf("volume %s in the store is not the one this host used before (ID %s, expected %s): "+
			"put the right one back or remove the volume", v.Name, found.ID, v.ID)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrBlank):
		return v, err
	case v.Used && s.WasRemoved(v.ID):
		return v, errors.Join(fmt.Errorf("volume %s was removed by another host", v.Name), d.drop(v.Name))
	case v.Used:
		return v, fmt.Errorf("volume %s holds data but its files are gone from store %s: put %s back or remove the volume",
			v.Name, d.cfg.StoreDir, s.Dir(v.Name))
	}
	return v, s.MakeDir(v.Name)
}

// firstUse completes, under the lease, a volume that was never used, and marks it as used for all hosts
// before anything can be written to it.
func (d *Driver) firstUse(ctx context.Context, s *store.Store, v volume) (volume, error) {
	if v.Used {
		return v, nil
	}
	v, err := d.matchStore(s, v) // again: another host may have used it before the lease was ours
	if err != nil || v.Used {
		return v, err
	}
	if err := checkFilled(v.Volume); err != nil {
		return v, err
	}
	if err := d.backend.Provision(ctx, d.spec(s, v)); err != nil {
		return v, err
	}
	v.Used = true
	return v, s.Settle(v.Volume)
}

// unmount is Unmount with the volume's lock held. The hold is given back whatever else goes wrong,
// because the engine never asks again.
func (d *Driver) unmount(ctx context.Context, name, id string) error {
	v, known := d.volume(name)
	if !known {
		return nil
	}
	s := d.knownStore()
	if s != nil {
		if err := d.recover(ctx, s, name); err != nil {
			d.log.Warn("volume not recovered", "volume", name, "error", err)
		}
		v, _ = d.volume(name)
	}
	left := v.unhold(id)
	if len(left.Holds) > 0 || v.Epoch == 0 || s == nil {
		return d.saveIfChanged(v, left)
	}
	holders, err := d.holders(s, v)
	if err == nil && (len(holders) == 0 || v.lost) {
		err = d.release(ctx, s, v)
	} else if err == nil {
		d.log.Warn("volume stays mounted for a container", "volume", name, "holder", holders[0].String())
		return d.saveIfChanged(v, left)
	}
	if err != nil {
		err = fmt.Errorf("volume %s is released later: %w", name, err)
		return errors.Join(err, d.saveIfChanged(v, left))
	}
	return nil
}

// saveIfChanged spares the disk an Unmount of an unknown ID.
func (d *Driver) saveIfChanged(before, after volume) error {
	if len(before.Holds) == len(after.Holds) && total(before.Holds) == total(after.Holds) {
		return nil
	}
	return d.save(after)
}

func total(holds map[string]int) int {
	sum := 0
	for _, n := range holds {
		sum += n
	}
	return sum
}

func noSuchVolume(name string) error { return fmt.Errorf("no such volume: %s", name) }
