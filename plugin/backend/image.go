package backend

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
	"mooring/plugin/loop"
	"mooring/plugin/mounts"
)

// Image keeps each volume in the sparse file "image" of its place in the store, or, after a takeover, "image.<epoch>". A file system in it, on a loop device,
// shows its directory "data"; the file system's root stays hidden, because it has entries that are not the user's. The size
// is a real limit.
type Image struct {
	// Boot is the identifier of this boot of the host. Devices that another boot bound are another host's: they occur only
	// where one kernel plays several hosts, and then the lease decides between them.
	Boot string
	Log  hclog.Logger // nil is silent
}

// What Status says of a mounted image.
const (
	ShownDevice   = "device"   // path of its loop device
	ShownDirectIO = "directIO" // whether its data goes past the page cache of the store
)

const (
	// labelPrefix begins the labels of our loop devices.
	labelPrefix = "mooring:"
	// freeTime is how long Unmount waits for the device to come free. The kernel needs a moment after the last mount has
	// gone; longer means that some process still has the volume.
	freeTime = 2 * time.Second
	freePoll = 5 * time.Millisecond
)

// Provision makes the image. Only a file that it has just created is ever formatted: under a name of its own, which becomes
// "image" when everything is on disk, and never in the place of another file.
func (i Image) Provision(ctx context.Context, v Spec) error {
	r, err := i.recordOf(v)
	if err != nil {
		return err
	}
	if err := removeDrafts(v.Dir); err != nil {
		return err
	}
	image, _, err := r.open(v.image())
	if errors.Is(err, fs.ErrNotExist) {
		return r.format(ctx, v)
	}
	if err != nil {
		return err
	}
	return image.Close() // an earlier Provision got this far
}

// recordOf is the image's record, written if there is none.
func (i Image) recordOf(v Spec) (record, error) {
	r, err := readRecord(v.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if _, err := os.Lstat(v.image()); !errors.Is(err, fs.ErrNotExist) {
		return r, errors.Join(err, fmt.Errorf("%s was not made by this driver: it is not formatted; "+
			"move it away, or restore image.json beside it", v.image()))
	}
	if err := CheckImage(v.FS, v.Size); err != nil {
		return r, err
	}
	return newRecord(v.Dir, v.FS, v.Size)
}

const draftPrefix = imagePrefix + ".new."

// format makes the image in a draft file and gives it its name. Another host that does the same, because this one was
// thought dead, removes the draft; then the link fails.
func (r record) format(ctx context.Context, v Spec) error {
	chosen, err := mkfsArgs(r.FS, v.Mkfs)
	if err != nil {
		return err
	}
	err = makeImage(v.image(), func(draft *os.File) error {
		if err := draft.Truncate(r.Size); err != nil {
			return err
		}
		return filesystems()[r.FS].make(ctx, draft.Name(), r.UUID, chosen)
	})
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	return nil
}

// makeImage makes a file under a draft's name, and gives it its own when everything is on disk.
func makeImage(path string, fill func(draft *os.File) error) error {
	dir := filepath.Dir(path)
	draft, err := os.CreateTemp(dir, draftPrefix+"*")
	if err != nil {
		return err
	}
	err = fill(draft)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err == nil {
		err = os.Link(draft.Name(), path)
	}
	if err = errors.Join(err, os.Remove(draft.Name())); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// removeDrafts clears away what a crash left of an image that was not finished.
func removeDrafts(dir string) error {
	drafts, err := filepath.Glob(filepath.Join(dir, draftPrefix+"*"))
	if err != nil {
		return err
	}
	for _, draft := range drafts {
		if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Unmount takes away every mount at target, target, and with them the loop device. It fails while the device is in use
// elsewhere: the volume is not free then.
func (i Image) Unmount(ctx context.Context, target string) error {
	device, err := i.device(target)
	if err != nil {
		return err
	}
	if device != nil { // a file system that stays frozen would keep its device
		if err := errors.Join(i.thawLeft(target), device.Close()); err != nil {
			return err
		}
	}
	if err := clearTarget(target); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, freeTime)
	defer cancel()
	poll := time.NewTicker(freePoll)
	defer poll.Stop()
	for {
		device, err := i.device(target)
		if err != nil || device == nil {
			return err
		}
		if err := device.Close(); err != nil {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is still in use: a process has the volume mounted or its device open", device.Path())
		}
	}
}

// Tree names the volume's root directory as mount tables do: the one mounted at target, or else the one on the volume's
// loop device. Without a device nothing can have the volume, and the tree is one that no mount shows.
func (i Image) Tree(v Spec, target string) (mounts.Tree, error) {
	mounted, err := mounts.Mounted(target)
	if err != nil {
		return mounts.Tree{}, err
	}
	if mounted {
		return mounts.TreeAt(target, target)
	}
	device, err := i.device(target)
	if err != nil || device == nil {
		return mounts.Tree{Root: "nowhere"}, err
	}
	major, minor := unix.Major(device.Rdev()), unix.Minor(device.Rdev())
	return mounts.Tree{Major: int(major), Minor: int(minor), Root: "/" + dataDir}, device.Close()
}

// Status names the volume's loop device and tells whether its data goes past the page cache of the store.
func (i Image) Status(target string) map[string]any {
	device, err := i.device(target)
	if err != nil || device == nil {
		return nil
	}
	defer device.Close()
	return map[string]any{ShownDevice: device.Path(), ShownDirectIO: device.DirectIO()}
}

// bootLabel begins the label of every loop device that this boot of the host has bound.
func (i Image) bootLabel() string {
	sum := sha256.Sum256([]byte(i.Boot))
	return fmt.Sprintf("%s%x:", labelPrefix, sum[:8])
}

// label marks the loop device of the volume that belongs at target. The directory of mount points, by its identity, tells it
// from a volume of the same name in another driver's store. It is "" if there is no such directory and so no device.
func (i Image) label(target string) (string, error) {
	var root unix.Stat_t
	err := unix.Stat(filepath.Dir(target), &root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at the directory of mount points: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", root.Dev, root.Ino, filepath.Base(target)))
	return fmt.Sprintf("%s%x", i.bootLabel(), sum[:12]), nil
}

// device is the loop device of the volume that belongs at target, opened; nil if there is none. It doesn't touch the store.
func (i Image) device(target string) (*loop.Device, error) {
	label, err := i.label(target)
	if err != nil || label == "" {
		return nil, err
	}
	return find(func(path string) bool { return isImageOf(path, filepath.Base(target)) },
		func(d *loop.Device) (bool, error) { return d.Label() == label, nil })
}

// isImageOf tells whether a path can be that of an image of the volume.
func isImageOf(path, volume string) bool {
	_, is := imageEpoch(filepath.Base(path))
	return is && filepath.Base(filepath.Dir(path)) == volume
}

// showing is the loop device that this host has bound to an image of the volume, opened; nil if there is none. A device that
// shows the image and that no driver like this one made is an error. Devices of other files are left alone: to ask one what it
// shows takes an answer of its file's storage, which may be anybody's.
func (i Image) showing(volume string, image unix.Stat_t) (*loop.Device, error) {
	return find(func(path string) bool { return isImageOf(path, volume) }, func(d *loop.Device) (bool, error) {
		if !d.Shows(image) {
			return false, nil
		}
		if !strings.HasPrefix(d.Label(), labelPrefix) {
			return false, fmt.Errorf("%s, which this driver did not make, shows the volume's image: detach it with losetup -d", d.Path())
		}
		return strings.HasPrefix(d.Label(), i.bootLabel()), nil
	})
}

// find opens the first bound loop device that is wanted, by the path of its file and then by what it is.
func find(path func(string) bool, is func(*loop.Device) (bool, error)) (*loop.Device, error) {
	bound, err := loop.Bound()
	if err != nil {
		return nil, err
	}
	for number, file := range bound {
		if !path(file) {
			continue
		}
		device, err := loop.Open(number)
		if errors.Is(err, loop.ErrFree) {
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted, err := is(device)
		if wanted && err == nil {
			return device, nil
		}
		if err := errors.Join(err, device.Close()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (i Image) log() hclog.Logger {
	if i.Log == nil {
		return hclog.NewNullLogger()
	}
	return i.Log
}
