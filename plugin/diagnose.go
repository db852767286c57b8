package plugin

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"mooring/plugin/admin"
	"mooring/plugin/doctor"
	"mooring/plugin/store"
)

// lookTime is how long a look waits for the call that is at work on a volume.
const lookTime = time.Second

// lookLimit is how long a look waits for storage, to say of what does not answer that it does not, and go on with the rest.
func (c Config) lookLimit() time.Duration { return c.CallBudget / 5 }

// Diagnose compares this host's record, the store and the kernel, and returns what does not fit.
func (d *Driver) Diagnose(ctx context.Context) ([]doctor.Finding, error) {
	return bounded(ctx, d, func(ctx context.Context) ([]doctor.Finding, error) {
		s, err := limited(ctx, d, d.cfg.lookLimit(), func(context.Context) (*store.Store, error) { return d.usableStore() })
		f := d.hostFacts()
		if err != nil {
			f.StoreProblem = err.Error()
			f.Volumes = d.records()
			bound, err := d.askDevices(ctx)
			f.Devices = silentDevices(bound)
			return doctor.Examine(f), err
		}
		if err := d.storeFacts(ctx, s, &f); err != nil {
			return nil, err
		}
		d.confirm(ctx, s, &f)
		return doctor.Examine(f), nil
	})
}

// confirm looks again, under its lock, at each volume that did not seem right: without the lock a call at
// work looks like a fault.
func (d *Driver) confirm(ctx context.Context, s *store.Store, f *doctor.Facts) {
	for i, v := range f.Volumes {
		if len(doctor.ExamineVolume(*f, v)) > 0 {
			f.Volumes[i] = d.lookAgain(ctx, s, v.Name)
		}
	}
}

func (d *Driver) lookAgain(ctx context.Context, s *store.Store, name string) doctor.Volume {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	unlock, err := d.locks.lock(ctx, name)
	if err != nil {
		return doctor.Volume{Name: name, Busy: true}
	}
	defer unlock()
	return d.volumeFacts(ctx, s, name)
}

// Repair mends the fixable findings. Each volume is looked at again under its lock, so that a finding that is
// not true any more changes nothing.
func (d *Driver) Repair(ctx context.Context) ([]admin.Repair, error) {
	found, err := d.Diagnose(ctx)
	if err != nil {
		return nil, err
	}
	// With a second plugin under this name, what looks like this host's may be that one's.
	if err := d.checkRival(); err != nil {
		return nil, fmt.Errorf("repair nothing: %w", err)
	}
	var repairs []admin.Repair
	for _, finding := range found {
		if !finding.Fixable {
			continue
		}
		repair := admin.Repair{Finding: finding}
		if err := d.mend(ctx, finding); err != nil {
			repair.Error = err.Error()
			d.log.Warn("not repaired", "finding", finding.Kind, "volume", finding.Volume, "path", finding.Path, "error", err)
		} else {
			d.log.Info("repaired", "finding", finding.Kind, "volume", finding.Volume, "path", finding.Path)
		}
		repairs = append(repairs, repair)
	}
	return repairs, nil
}

// mend repairs what one finding is about.
func (d *Driver) mend(ctx context.Context, finding doctor.Finding) error {
	if finding.Volume != "" {
		return d.attend(ctx, finding.Volume, func(ctx context.Context) error { return d.mendVolume(ctx, finding) }, nil)
	}
	_, err := bounded(ctx, d, func(context.Context) (struct{}, error) {
		s, err := d.usableStore()
		switch {
		case err != nil:
		case finding.Kind == doctor.TrashFull:
			err = s.EmptyTrash(time.Now())
		case finding.Kind == doctor.HalfMadeFile:
			err = os.RemoveAll(finding.Path) // gone if its maker completed it or gave it up after all
		}
		return struct{}{}, err
	})
	return err
}

// mendVolume ends a use of the volume that no container has a part in, or forgets a volume that is gone. The
// caller has the volume's lock.
func (d *Driver) mendVolume(ctx context.Context, finding doctor.Finding) error {
	s, err := d.usableStore()
	if err != nil {
		return err
	}
	now := doctor.ExamineVolume(d.hostFacts(), d.volumeFacts(ctx, s, finding.Volume))
	still := slices.ContainsFunc(now, func(f doctor.Finding) bool { return f.Kind == finding.Kind && f.Fixable })
	v, known := d.volume(finding.Volume)
	switch {
	case !still || !known:
		return nil
	case finding.Kind == doctor.RemovedElsewhere:
		return d.forgetRemoved(s, v.Name)
	}
	return d.release(ctx, s, v)
}
