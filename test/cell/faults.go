package cell

import (
	"context"
	"fmt"
	"path/filepath"

	"mooring/test/faultfs"
)

// storePart is the part of a host's control group in which the file system over its store runs.
const storePart = "store"

// Store is the directory under which the host's plugin reaches the store: the cell's own, or a file system over it that can
// fail. The latter is mounted on the host only.
func (h *Host) Store() string {
	if !h.Faulty {
		return h.cell.Store
	}
	return h.faultyStore()
}

func (h *Host) faultyStore() string { return filepath.Join(h.Dir, "store") }

func (h *Host) faultSocket() string { return filepath.Join(h.Dir, "store.sock") }

// mountStore starts the file system that can fail, as part of the host, and waits until it answers.
func (h *Host) mountStore(ctx context.Context) error {
	if !h.Faulty {
		return nil
	}
	err := h.startIn(ctx, h.group()+"/"+storePart, "store", h.cell.Faults, "mount", "--socket="+h.faultSocket(), h.cell.Store, h.faultyStore())
	if err != nil {
		return err
	}
	err = await(ctx, "the store of "+h.Name, func(ctx context.Context) error { return h.Heal(ctx) })
	if err != nil {
		return withLog(err, h.Log("store"))
	}
	return nil
}

// Fault makes the store fail for this host, until Heal or another fault. The host must have been made with faults.
func (h *Host) Fault(ctx context.Context, fault faultfs.Fault) error {
	if !h.Faulty {
		return fmt.Errorf("%s reaches the store directly: only a host that is made with faults can have some", h.Name)
	}
	if err := faultfs.Tell(ctx, h.faultSocket(), fault); err != nil {
		return fmt.Errorf("on %s: %w", h.Name, err)
	}
	return nil
}

// Heal ends what Fault began.
func (h *Host) Heal(ctx context.Context) error { return h.Fault(ctx, faultfs.Fault{}) }

// Hold stops whoever is the first to do an operation on the host's store in the middle of it, until Release.
func (h *Host) Hold(ctx context.Context, hold faultfs.Hold) error {
	if err := faultfs.Keep(ctx, h.faultSocket(), hold); err != nil {
		return fmt.Errorf("hold %s on %s: %w", hold, h.Name, err)
	}
	return nil
}

// AwaitHeld waits until a hold has found its operation.
func (h *Host) AwaitHeld(ctx context.Context, hold faultfs.Hold) error {
	return await(ctx, fmt.Sprintf("%s on %s", hold, h.Name), func(ctx context.Context) error { return faultfs.Kept(ctx, h.faultSocket(), hold) })
}

// Release ends the host's holds.
func (h *Host) Release(ctx context.Context) error { return faultfs.Release(ctx, h.faultSocket()) }
