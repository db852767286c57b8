package backend

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring/plugin/loop"
)

// Bound is a loop device that this boot of the host has bound to a volume's image; one that does not answer may be anybody's.
type Bound struct {
	Path   string // of the device
	File   string // that it shows, as the kernel names it
	Volume string // by the file's name only if the device is silent
	Silent bool   // it does not answer, because the storage of its file hangs
	file   func(unix.Stat_t) bool
}

// Shows tells whether the device shows the image that the volume has now. One that was removed, or that is not the volume's
// any more, takes what is written and nobody will read it.
func (b Bound) Shows(v Spec) bool {
	var stat unix.Stat_t
	return unix.Stat(v.image(), &stat) == nil && b.file(stat)
}

// Devices lists the loop devices of the volumes that belong below root, those included whose volume is gone, and those that do not
// answer before ctx ends. It touches sysfs and the devices only.
func (i Image) Devices(ctx context.Context, ask *loop.Asker, root string) ([]Bound, error) {
	bound, err := loop.Bound()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(bound, func(_ int, file string) bool { // not asked: its storage may be slow to answer, whose it may ever be
		_, image := imageEpoch(filepath.Base(file))
		return !image
	})
	var found []Bound
	var errs []error
	for _, answer := range ask.Open(ctx, slices.Sorted(maps.Keys(bound))) {
		file := bound[answer.Number]
		switch device := answer.Device; {
		case errors.Is(answer.Err, loop.ErrSilent):
			found = append(found, Bound{Path: loop.Path(answer.Number), File: file, Volume: filepath.Base(filepath.Dir(file)), Silent: true})
		case errors.Is(answer.Err, loop.ErrFree):
		case answer.Err != nil:
			errs = append(errs, answer.Err)
		default:
			name, ours, err := i.volumeOf(device, root, file)
			if ours {
				found = append(found, Bound{Path: device.Path(), File: file, Volume: name, file: device.Shows}) // what it is bound to does not change
			}
			errs = append(errs, err, device.Close())
		}
	}
	return found, errors.Join(errs...)
}

// volumeOf is the volume below root whose label a device has. The file may be in the trash by now, under a longer name.
func (i Image) volumeOf(device *loop.Device, root, file string) (string, bool, error) {
	name := strings.TrimPrefix(filepath.Base(filepath.Dir(file)), ".deleting.")
	for name != "" && name != "." {
		label, err := i.label(filepath.Join(root, name))
		if err != nil || label != "" && label == device.Label() {
			return name, err == nil, err
		}
		dot := strings.LastIndex(name, ".")
		name = name[:max(dot, 0)]
	}
	return "", false, nil
}

// Examine compares a used image with its record, and changes neither. Growing is the size that the volume shall have and its
// file system has not yet.
func (Image) Examine(v Spec) (growing int64, err error) {
	r, err := readRecord(v.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // Missing says so
	}
	if err != nil {
		return 0, err
	}
	image, err := os.Open(v.image())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer image.Close()
	_, _, err = r.match(image)
	if v.Size > r.Fitted {
		growing = v.Size
	}
	return growing, err
}

// HalfSnapshots are those that were not finished, or not removed to the end, with the time when they were last written.
func HalfSnapshots(dir string) (map[string]time.Time, error) {
	half, err := filepath.Glob(snapshotDir(Spec{Dir: dir}, halfSnapshot+"*"))
	found := make(map[string]time.Time, len(half))
	for _, path := range half {
		for _, file := range []string{path, imageFile(path, 0)} {
			if stat, err := os.Stat(file); err == nil && stat.ModTime().After(found[path]) {
				found[path] = stat.ModTime()
			}
		}
	}
	return found, err
}
