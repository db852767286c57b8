package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mooring/plugin/loop"
	"mooring/plugin/mounts"
)

const (
	// dataDir is the directory of the file system that is the volume.
	dataDir = "data"
	// draftDir becomes dataDir when it has its owner and mode.
	draftDir = ".data.new"
)

// Mount shows the volume at target, once however often it is asked. An image that was not unmounted in order is repaired
// first, as far as that is safe without asking; one with another UUID than the recorded one is refused. If something on
// this host still has the image's device, the same device is used: two of them would ruin the file system. Images that were
// the volume's before are removed then.
func (i Image) Mount(ctx context.Context, v Spec, target string) error {
	dir, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fmt.Errorf("the volume's files are gone: %w", err)
	}
	defer dir.Close()
	if err := i.mount(ctx, v, target); err != nil {
		return err
	}
	i.removeOlder(dir, v)
	return nil
}

func (i Image) mount(ctx context.Context, v Spec, target string) error {
	r, err := readRecordFor(v)
	if err != nil {
		return err
	}
	if r, err = r.growTo(v); err != nil {
		return err
	}
	image, found, err := r.open(v.image())
	if err != nil {
		return err
	}
	defer image.Close()
	if err := r.follow(v); err != nil {
		return err
	}
	m := imageMount{Image: i, dir: v.Dir, path: v.image(), target: target, record: r, found: found, fs: filesystems()[r.FS]}
	if err := unix.Fstat(int(image.Fd()), &m.stat); err != nil {
		return err
	}
	if done, err := m.alreadyDone(); err != nil || done {
		return err
	}
	if err := clearTarget(target); err != nil {
		return err
	}
	if err := makeEmpty(target); err != nil {
		return err
	}
	err = m.attach(image)
	if err == nil {
		err = errors.Join(m.show(ctx, v), m.device.Close())
	}
	if err != nil {
		return errors.Join(err, clearTarget(target))
	}
	return nil
}

// imageMount is one image on its way to its mount point.
type imageMount struct {
	Image
	dir, path, target string
	record            record
	stat              unix.Stat_t // of the image
	found             superblock
	fs                filesystem
	device            *loop.Device
	fresh             bool // the device was bound just now, so nothing has it mounted
}

// alreadyDone tells whether an earlier Mount did it all, and the file system lives.
func (m *imageMount) alreadyDone() (bool, error) {
	device, err := m.showing(filepath.Base(m.dir), m.stat)
	if err != nil || device == nil {
		return false, err
	}
	defer device.Close()
	m.device = device
	shown, err := m.shown()
	if err != nil || !shown {
		return false, err
	}
	if err := m.thawLeft(m.target); err != nil {
		return false, err
	}
	if alive(m.target) != nil {
		return false, nil
	}
	return true, m.fit()
}

// alive tells whether a file system still takes writes. One that was shut down by a fence, or went read-only after an error,
// can live on in a process that does not end. The nameless file that is made leaves nothing behind.
func alive(target string) error {
	fd, err := unix.Open(target, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("the volume's file system takes no writes: it went read-only, or was shut down and a process still has it; stop that one: %w", err)
	}
	if err != nil {
		return nil // full, perhaps
	}
	return unix.Close(fd)
}

// attach finds the image's loop device or binds one.
func (m *imageMount) attach(image *os.File) error {
	device, err := m.showing(filepath.Base(m.dir), m.stat)
	if err != nil {
		return err
	}
	if device != nil {
		m.device = device
		return nil
	}
	if err := m.refuseReplaced(); err != nil {
		return err
	}
	label, err := m.label(m.target)
	if err != nil {
		return err
	}
	m.device, err = loop.Attach(image, label)
	if err != nil {
		return err
	}
	m.fresh = true
	if !m.device.DirectIO() {
		m.log().Warn("store takes no direct I/O, the volume's data is cached twice", "volume", filepath.Base(m.target))
	}
	return nil
}

// refuseReplaced makes sure that no container has an earlier image of the volume.
func (m *imageMount) refuseReplaced() error {
	device, err := m.Image.device(m.target)
	if err != nil || device == nil {
		return err
	}
	return errors.Join(fmt.Errorf("%s still shows another image of volume %s: stop the containers that have it",
		device.Path(), filepath.Base(m.target)), device.Close())
}

// shown tells whether exactly this volume is mounted at target.
func (m *imageMount) shown() (bool, error) {
	mounted, err := mounts.Mounted(m.target)
	if err != nil || !mounted {
		return false, err
	}
	tree, err := mounts.TreeAt(m.target, m.target)
	rdev := m.device.Rdev()
	return tree == mounts.Tree{Major: int(unix.Major(rdev)), Minor: int(unix.Minor(rdev)), Root: "/" + dataDir}, err
}

// show mounts the device's file system and leaves only the volume's directory of it at target.
func (m *imageMount) show(ctx context.Context, v Spec) error {
	if m.fresh {
		if err := m.prepare(ctx); err != nil {
			return err
		}
	}
	flags, own, err := mountArgs(m.record.FS, v.Options)
	if err != nil {
		return err
	}
	options := strings.Join(append([]string{m.fs.options()}, own...), ",")
	if err := unix.Mount(m.device.Path(), m.target, m.record.FS, flags, options); err != nil {
		err = fmt.Errorf("mount %s with the %s of %s: %w", m.device.Path(), m.record.FS, m.path, err)
		if errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) {
			err = m.unsound(err)
		}
		return err
	}
	if !m.fresh {
		if err := m.thawLeft(m.target); err != nil {
			return err
		}
	}
	if err := alive(m.target); err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Stat(m.target, &stat); err != nil || stat.Dev != m.device.Rdev() {
		return errors.Join(fmt.Errorf("%s does not show %s after mounting", m.target, m.device.Path()), err)
	}
	if err := m.fit(); err != nil {
		return err
	}
	if err := makeData(m.target, v); err != nil {
		return err
	}
	if err := showOnly(m.target, dataDir); err != nil {
		return err
	}
	if shown, err := m.shown(); err != nil || !shown {
		return errors.Join(fmt.Errorf("%s does not show the volume after mounting", m.target), err)
	}
	return nil
}

// prepare does what a file system can only have done to it while it is not mounted.
func (m *imageMount) prepare(ctx context.Context) error {
	name := filepath.Base(m.dir)
	did, err := m.fs.repair(ctx, m.device.Path(), m.found)
	if err != nil {
		return m.unsound(err)
	}
	if did != "" {
		m.log().Info("file system was not unmounted in order", "volume", name, "repair", did)
	}
	if m.record.Fitted == m.record.Size {
		return nil
	}
	if grown, err := m.fs.growDetached(ctx, m.device.Path()); err != nil || !grown {
		return err
	}
	return m.saveFitted()
}

// unsound says what to do about a file system that has to be repaired first. That may take as long as it takes, and someone has to want it.
func (m *imageMount) unsound(err error) error {
	return fmt.Errorf("the volume's file system must be repaired before it is mounted: %w; do it with `mooring volumes fsck %s --repair`", err, filepath.Base(m.dir))
}

// fit completes a growth that was recorded but not finished. Where the rights for it are missing the volume keeps its old
// size until it is mounted the next time.
func (m *imageMount) fit() error {
	if m.record.Fitted == m.record.Size {
		return nil
	}
	if err := m.growMounted(); err != nil {
		m.log().Warn("volume keeps its old size for now", "volume", filepath.Base(m.dir), "error", err)
		return nil
	}
	return m.saveFitted()
}

func (m *imageMount) growMounted() error {
	if err := m.device.Resize(); err != nil {
		return err
	}
	dir, err := os.Open(m.target)
	if err != nil {
		return err
	}
	defer dir.Close()
	return m.fs.growMounted(dir, m.record.Size)
}

func (m *imageMount) saveFitted() error {
	m.record.Fitted = m.record.Size
	return m.record.save(m.dir)
}

// makeData makes the volume's directory below the root of its file system, the first time. It needs no sync: as long as
// nothing in it is on disk it may as well be made again.
func makeData(root string, v Spec) error {
	data, draft := filepath.Join(root, dataDir), filepath.Join(root, draftDir)
	if _, err := os.Lstat(data); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{"lost+found", draftDir}, e.Name()) {
			return fmt.Errorf("the volume's file system has no directory %s but holds %s: restore it", dataDir, e.Name())
		}
	}
	if err := os.Mkdir(draft, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Chown(draft, v.UID, v.GID); err != nil {
		return err
	}
	if err := unix.Chmod(draft, v.Mode); err != nil {
		return err
	}
	return os.Rename(draft, data)
}

// showOnly replaces the mount at target by a mount of one of its directories.
func showOnly(target, name string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(target, name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open directory %s of the volume: %w", name, err)
	}
	defer unix.Close(tree)
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount root of the volume's file system: %w", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount directory %s of the volume at %s: %w", name, target, err)
	}
	return nil
}
