// Package backend makes the storage of volumes and mounts it. Which volume may be mounted, and when, is
// not its business: a back end does as it is told, as often as it is told.
package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

// Spec is a volume as a back end sees it.
type Spec struct {
	Dir      string // its directory in the store, which exists; symbolic links resolved; its last element is the volume's name
	UID, GID int    // owner of the volume's root directory
	Mode     uint32 // permissions of the volume's root directory
	Kind     string // which back end has it; "" is KindDir
	FS       string // for an image: the file system to make in it
	Size     int64  // for an image: its size in bytes when it is made
	Image    uint64 // for an image: the epoch under which its file was made; see ImageName
	Mkfs     string // for an image: chosen options for making its file system; see CheckMkfs
	Options  string // for an image: chosen options for mounting it; see CheckMount
}

func (v Spec) image() string { return imageFile(v.Dir, v.Image) }

// Dir keeps each volume in the directory "data" of its place in the store, and mounts it by binding.
type Dir struct{}

func (Dir) data(v Spec) string { return filepath.Join(v.Dir, "data") }

// Provision makes the volume's directory, or sets its owner and mode again.
func (d Dir) Provision(_ context.Context, v Spec) error {
	data := d.data(v)
	if err := os.Mkdir(data, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Chown(data, v.UID, v.GID); err != nil {
		return err
	}
	return unix.Chmod(data, v.Mode) // os.Chmod has no set-group-ID bit in its permissions
}

// Renew has nothing that it could do: a copy of a directory takes as long as its files are large.
func (Dir) Renew(context.Context, Spec, uint64) (bool, error) { return false, nil }

// Mount binds the volume at target and makes sure that it is there, once however often it is asked. It
// replaces anything else that was mounted there before.
func (d Dir) Mount(_ context.Context, v Spec, target string) error {
	if mounted, err := d.mounted(v, target); err != nil || mounted {
		return err
	}
	if err := clearTarget(target); err != nil {
		return err
	}
	if err := makeEmpty(target); err != nil {
		return err
	}
	if err := unix.Mount(d.data(v), target, "", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("bind %s at %s: %w", d.data(v), target, err), os.Remove(target))
	}
	if mounted, err := d.mounted(v, target); err != nil || !mounted {
		return errors.Join(fmt.Errorf("%s does not show the volume after mounting", target), err, clearTarget(target))
	}
	return nil
}

// mounted tells whether exactly this volume is mounted at target.
func (d Dir) mounted(v Spec, target string) (bool, error) {
	want, err := os.Stat(d.data(v))
	if err != nil {
		return false, fmt.Errorf("the volume's files are gone: %w", err)
	}
	mounted, err := mounts.Mounted(target)
	if err != nil || !mounted {
		return false, err
	}
	got, err := os.Stat(target)
	return err == nil && os.SameFile(want, got), err
}

// makeEmpty makes a mount point. Files in it were written by somebody while nothing was mounted there;
// mounting over them would hide them.
func makeEmpty(target string) error {
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(target)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return fmt.Errorf("%s holds files that were written while nothing was mounted there: move them away", target)
	}
	return nil
}

// Unmount takes away every mount at target, and target.
func (d Dir) Unmount(_ context.Context, target string) error { return clearTarget(target) }

// clearTarget takes away every mount at target, and then target itself: where a volume should be mounted
// and is not, a container must fail to start, not write to the host's own disk.
func clearTarget(target string) error {
	for {
		mounted, err := mounts.Mounted(target)
		if err != nil {
			return err
		}
		if !mounted {
			break
		}
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	// Files written there while nothing was mounted are the next Mount's to complain about.
	err := os.Remove(target)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return fmt.Errorf("remove mount point: %w", err)
}

// Status has nothing to say of a directory.
func (Dir) Status(string) map[string]any { return nil }

// Tree names the volume's root as mount tables do, from its mount at target if it has one: that is
// what containers got, even if the store has been replaced since.
func (d Dir) Tree(v Spec, target string) (mounts.Tree, error) {
	return mounts.TreeAt(target, d.data(v))
}
