package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mooring/plugin/durable"
	"mooring/plugin/mounts"
)

// Snapshot is what an image was at one moment. It lies with its record in a directory of its own in the volume's, so it goes
// where the volume goes, to the trash for example.
type Snapshot struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	Size int64     `json:"size"`
}

const (
	snapshotsDir = "snapshots"
	// halfSnapshot begins the names of snapshots that are being made or removed.
	halfSnapshot = ".half."
)

func snapshotDir(v Spec, name string) string { return filepath.Join(v.Dir, snapshotsDir, name) }

// Source is what is copied: a volume, which is mounted at Target or not, or a snapshot of it.
type Source struct {
	Spec
	Target   string
	Snapshot string // "" is the volume as it is now
}

// Snapshot keeps what the volume is now under a name. The caller has the volume's lease.
func (i Image) Snapshot(ctx context.Context, v Spec, target, name string, how Copying) (Snapshot, error) {
	kept := Snapshot{Name: name, At: time.Now().UTC().Truncate(time.Second)}
	if _, err := os.Lstat(snapshotDir(v, name)); !errors.Is(err, fs.ErrNotExist) {
		return kept, errors.Join(err, fmt.Errorf("there is a snapshot %s already: remove it first, or choose another name", name))
	}
	if err := removeHalfSnapshots(v); err != nil {
		return kept, err
	}
	draft := snapshotDir(v, halfSnapshot+name)
	if err := os.MkdirAll(draft, 0o700); err != nil {
		return kept, err
	}
	r, err := i.copyTo(ctx, imageFile(draft, 0), Source{Spec: v, Target: target}, how)
	if err == nil {
		kept.Size = r.Size
		err = errors.Join(r.save(draft), kept.save(draft))
	}
	if err == nil {
		err = how.Confirm()
	}
	if err == nil {
		err = durable.Rename(draft, snapshotDir(v, name))
	}
	if err != nil {
		return kept, errors.Join(err, os.RemoveAll(draft))
	}
	return kept, durable.SyncDir(v.Dir)
}

func (s Snapshot) save(dir string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, "snapshot.json"), append(data, '\n'))
}

// removeHalfSnapshots clears away what a crash left.
func removeHalfSnapshots(v Spec) error {
	half, err := filepath.Glob(snapshotDir(v, halfSnapshot+"*"))
	for _, dir := range half {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// Snapshots lists what is kept of a volume.
func (Image) Snapshots(v Spec) ([]Snapshot, error) {
	entries, err := os.ReadDir(filepath.Join(v.Dir, snapshotsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Snapshot
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), halfSnapshot) {
			continue
		}
		path := filepath.Join(snapshotDir(v, e.Name()), "snapshot.json")
		data, err := os.ReadFile(path)
		var s Snapshot
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err != nil || s.Name != e.Name() {
			return nil, errors.Join(fmt.Errorf("%s is no snapshot that this driver made: move it away", filepath.Dir(path)), err)
		}
		found = append(found, s)
	}
	return found, nil
}

// RemoveSnapshot removes one for good, whoever has the volume.
func (Image) RemoveSnapshot(v Spec, name string) error {
	half := snapshotDir(v, halfSnapshot+"removed."+name)
	err := os.Rename(snapshotDir(v, name), half)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no snapshot %s: %w", name, err)
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(half)
}

// Clone makes the image of a new volume, which has none yet, from a source of the same kind. The caller has both leases. The
// copy has the UUID of its source: a host mounts both by their devices.
func (i Image) Clone(ctx context.Context, v Spec, from Source, how Copying) error {
	if err := removeDrafts(v.Dir); err != nil {
		return err
	}
	draft := filepath.Join(v.Dir, draftPrefix+"clone")
	r, err := i.copyTo(ctx, draft, from, how)
	if err == nil {
		err = how.Confirm()
	}
	if err == nil {
		err = r.save(v.Dir) // before the image is there, as with a new one
	}
	if err == nil {
		err = durable.Rename(draft, v.image())
	}
	if err != nil {
		return errors.Join(err, removeDrafts(v.Dir))
	}
	return nil
}

// copyTo makes a new file with the content of a source in one moment, and returns its record.
func (i Image) copyTo(ctx context.Context, path string, from Source, how Copying) (record, error) {
	original := from.image()
	dir := from.Dir
	if from.Snapshot != "" {
		dir = snapshotDir(from.Spec, from.Snapshot)
		original = imageFile(dir, 0)
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return record{}, fmt.Errorf("volume %s has no snapshot %s", filepath.Base(from.Dir), from.Snapshot)
		}
	}
	r, err := readRecord(dir)
	if err != nil {
		return r, err
	}
	r.Image = 0 // the copy is the first image of its place
	src, _, err := r.open(original)
	if err != nil {
		return r, err
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return r, err
	}
	copying := func() error { return how.copy(ctx, dst, src) }
	if from.Snapshot == "" {
		err = i.standingStill(from.Target, how.Whole, copying)
	} else {
		err = copying()
	}
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return r, fmt.Errorf("copy %s: %w", original, err)
	}
	return r, nil
}

// standingStill works on an image while nobody can write it: its file system is frozen, or not mounted.
func (i Image) standingStill(target string, long bool, work func() error) error {
	device, err := i.device(target)
	if err != nil {
		return err
	}
	if device == nil {
		return work()
	}
	defer device.Close()
	mounted, err := mounts.Mounted(target)
	if err != nil {
		return err
	}
	if !mounted {
		return fmt.Errorf("%s still shows the image, which is not mounted where it should be: stop the processes that have it", device.Path())
	}
	if long {
		return errors.New("the volume is in use, and its writers would have to wait until all is copied: stop its containers first")
	}
	if err := freeze(target); err != nil {
		return err
	}
	err = work()
	still, thawErr := thaw(target)
	if thawErr == nil && !still {
		thawErr = errors.New("somebody thawed the volume meanwhile")
	}
	return errors.Join(err, thawErr)
}
