package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mooring/plugin/durable"
)

// Files keeps leases beside the volumes' data, as lease.<epoch> in each volume's directory, and
// heartbeats in a directory of each host. They share the fate of the data: where one is reached, so is
// the other. A lease goes with its volume's directory.
//
// A change of a lease happens within one directory, opened once: whatever a host does that was delayed
// never ends up beside the leases of a volume that was made meanwhile under the same name.
type Files struct {
	Volumes string // the directory of the volumes' directories
	Beats   string // the directory of the hosts' directories
}

// Current reads the lease with the highest epoch of a volume, the zero Lease if there is none.
func (f Files) Current(volume string) (Lease, error) {
	dir, err := os.OpenRoot(filepath.Join(f.Volumes, volume))
	if errors.Is(err, fs.ErrNotExist) {
		return Lease{}, nil
	}
	if err != nil {
		return Lease{}, fmt.Errorf("read leases: %w", err)
	}
	defer dir.Close()
	return current(dir)
}

// Create makes next the current lease if the current one still is after, as it was read, and returns it
// with its ID. It fails with ErrTaken if it is not.
func (f Files) Create(after, next Lease) (Lease, error) {
	next = next.Stamped()
	return next, f.change(next.Volume, func(dir *os.Root) error { return create(dir, after, next) })
}

// Rewrite replaces the holder's own lease by one of the same epoch, to change its state. It fails with
// ErrTaken if from is not the current one.
func (f Files) Rewrite(from, to Lease) error {
	to.Format = format
	return f.change(to.Volume, func(dir *os.Root) error { return rewrite(dir, from, to) })
}

// Remove does nothing: the leases go with the volume's directory.
func (Files) Remove(Lease) error { return nil }

// change works on the leases in a volume's directory, and makes sure that it was not removed meanwhile.
func (f Files) change(volume string, work func(dir *os.Root) error) error {
	path := filepath.Join(f.Volumes, volume)
	dir, err := os.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("change lease of volume %s: %w", volume, err)
	}
	defer dir.Close()
	if err = work(dir); err != nil && !errors.Is(err, ErrTaken) {
		return fmt.Errorf("change lease of volume %s: %w", volume, err)
	}
	if err != nil {
		return err
	}
	return still(dir, path)
}

// still tells whether path leads to the open directory. A lease in one that was removed is worth nothing.
func still(dir *os.Root, path string) error {
	opened, err := dir.Stat(".")
	if err != nil {
		return err
	}
	found, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !os.SameFile(opened, found) {
		return ErrTaken
	}
	return nil
}

func create(dir *os.Root, after, next Lease) error {
	if err := expect(dir, after); err != nil {
		return err
	}
	data, err := next.Encode()
	if err != nil {
		return err
	}
	err = durable.CreateIn(dir, name(next.Epoch), data)
	if errors.Is(err, fs.ErrExist) {
		return ErrTaken
	}
	if err != nil {
		return err
	}
	// The epoch may have been free only because it is old enough to have been pruned.
	if err := expect(dir, next); err != nil {
		return err
	}
	prune(dir, next.Epoch)
	return nil
}

// rewrite may be late: another host may have the next epoch by then, and the lease means nothing.
func rewrite(dir *os.Root, from, to Lease) error {
	if err := expect(dir, from); err != nil {
		return err
	}
	data, err := to.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteIn(dir, name(to.Epoch), data); err != nil {
		return err
	}
	return expect(dir, to)
}

// expect fails with ErrTaken if the current lease is another one.
func expect(dir *os.Root, want Lease) error {
	found, err := current(dir)
	if err == nil && found != want {
		err = ErrTaken
	}
	return err
}

// prune removes the leases before the previous one. What stays behind is harmless.
func prune(dir *os.Root, current uint64) {
	old, err := epochs(dir)
	if err != nil {
		return
	}
	for _, e := range old {
		if e+1 < current {
			_ = dir.Remove(name(e))
		}
	}
}

func name(epoch uint64) string { return "lease." + strconv.FormatUint(epoch, 10) }

func current(dir *os.Root) (Lease, error) {
	found, err := epochs(dir)
	if err != nil {
		return Lease{}, err
	}
	var highest uint64
	for _, e := range found {
		highest = max(highest, e)
	}
	if highest == 0 {
		return Lease{}, nil
	}
	data, err := dir.ReadFile(name(highest))
	if err != nil {
		return Lease{}, fmt.Errorf("read lease: %w", err)
	}
	path := filepath.Join(dir.Name(), name(highest))
	l, err := Parse(path, data)
	if errors.Is(err, errUnreadable) {
		err = fmt.Errorf("%w: once no host uses the volume, delete that file", err)
	}
	return l, err
}

func epochs(dir *os.Root) ([]uint64, error) {
	list, err := dir.Open(".")
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	defer list.Close()
	names, err := list.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	var found []uint64
	for _, n := range names {
		text, isLease := strings.CutPrefix(n, "lease.")
		if epoch, err := strconv.ParseUint(text, 10, 64); isLease && err == nil {
			found = append(found, epoch)
		}
	}
	return found, nil
}
