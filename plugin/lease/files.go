package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mooring/plugin/durable"
)

// format of the files; a newer one is refused.
const format = 1

// ErrTaken says that another host created the epoch first.
var ErrTaken = errors.New("another host took the lease first")

// Current reads the lease with the highest epoch in a volume's directory, the zero Lease if there is none.
func Current(dir string) (Lease, error) {
	epochs, err := epochs(dir)
	if err != nil {
		return Lease{}, err
	}
	var highest uint64
	for _, e := range epochs {
		highest = max(highest, e)
	}
	if highest == 0 {
		return Lease{}, nil
	}
	return read(path(dir, highest))
}

// Create makes a lease the current one. It fails with ErrTaken when its epoch or a later one exists.
func Create(dir string, l Lease) error {
	data, err := encode(&l)
	if err != nil {
		return err
	}
	err = durable.Create(path(dir, l.Epoch), data)
	if errors.Is(err, fs.ErrExist) {
		return ErrTaken
	}
	if err != nil {
		return fmt.Errorf("write lease of volume %s: %w", l.Volume, err)
	}
	// The epoch may have been free only because it is old enough to have been pruned.
	current, err := Current(dir)
	if err != nil {
		return err
	}
	if current.Epoch != l.Epoch {
		return ErrTaken
	}
	prune(dir, l.Epoch)
	return nil
}

// Rewrite replaces the holder's own lease, to change its state or instance.
func Rewrite(dir string, l Lease) error {
	data, err := encode(&l)
	if err != nil {
		return err
	}
	if err := durable.Write(path(dir, l.Epoch), data); err != nil {
		return fmt.Errorf("rewrite lease of volume %s: %w", l.Volume, err)
	}
	return nil
}

// prune removes the leases before the previous one. What stays behind is harmless.
func prune(dir string, current uint64) {
	old, err := epochs(dir)
	if err != nil {
		return
	}
	for _, e := range old {
		if e+1 < current {
			_ = os.Remove(path(dir, e))
		}
	}
}

func path(dir string, epoch uint64) string {
	return filepath.Join(dir, "lease."+strconv.FormatUint(epoch, 10))
}

func epochs(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	var found []uint64
	for _, entry := range entries {
		text, isLease := strings.CutPrefix(entry.Name(), "lease.")
		if epoch, err := strconv.ParseUint(text, 10, 64); isLease && err == nil {
			found = append(found, epoch)
		}
	}
	return found, nil
}

func encode(l *Lease) ([]byte, error) {
	l.Format = format
	data, err := json.Marshal(l)
	return append(data, '\n'), err
}

func read(path string) (Lease, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Lease{}, fmt.Errorf("read lease: %w", err)
	}
	var l Lease
	if err := json.Unmarshal(data, &l); err != nil {
		return Lease{}, fmt.Errorf("lease %s is unreadable (%w): once no host uses the volume, delete that file", path, err)
	}
	if l.Format != format {
		return Lease{}, fmt.Errorf("lease %s has format %d, this plugin knows format %d: use the newer plugin on this host too",
			path, l.Format, format)
	}
	return l, nil
}
