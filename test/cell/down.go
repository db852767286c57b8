package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Down removes the cell in dir and everything of it on the machine. It also clears away what a half-made or crashed cell
// left, and does nothing when there is nothing.
func Down(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find directory of the cell: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	nets, err := filepath.Glob(namespacePath(dir, "*"))
	if err != nil {
		return fmt.Errorf("find network namespaces: %w", err)
	}
	if err := killAll(ctx, prefix(dir), nets...); err != nil {
		return err
	}
	for _, net := range nets {
		if err := run(ctx, "ip", "netns", "del", filepath.Base(net)); err != nil {
			return err
		}
	}
	if err := forgetNamespaces(); err != nil {
		return err
	}
	if err := detachBelow(dir); err != nil {
		return err
	}
	if err := errors.Join(removeGroups(ctx, prefix(dir)), removeStrays(hostDirs(dir)...)); err != nil {
		return err
	}
	return removeFiles(dir)
}

// hostDirs are the directories of the hosts of a cell.
func hostDirs(dir string) []string {
	hosts, err := filepath.Glob(filepath.Join(dir, "host*"))
	if err != nil {
		return nil
	}
	return hosts
}

// forgetNamespaces removes the mount that `ip netns` keeps its names in, unless names are left: the mount is busy then.
func forgetNamespaces() error {
	err := unix.Unmount(namespaces, 0)
	if err == nil {
		err = unix.Rmdir(namespaces)
	}
	for _, harmless := range []error{unix.EBUSY, unix.EINVAL, unix.ENOENT, unix.ENOTEMPTY} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}

// detachBelow frees the loop devices of files below a directory and unmounts what is mounted there. A device that is mounted
// is freed by its last unmount. The devices come first: once their store is unmounted they don't tell where their files are.
func detachBelow(dir string) error {
	problems := []error{freeLoops(dir)}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for i := len(mounts) - 1; i >= 0; i-- { // later mounts may lie on earlier ones
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH); err != nil {
			problems = append(problems, fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err))
		}
	}
	return errors.Join(problems...)
}

// freeLoops frees the loop devices of files below a directory, as far as it can.
func freeLoops(dir string) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return fmt.Errorf("list loop devices: %w", err)
	}
	var problems []error
	for _, file := range files {
		backing, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(backing), dir+"/") {
			continue
		}
		problems = append(problems, freeLoop("/dev/"+strings.Split(file, "/")[3]))
	}
	return errors.Join(problems...)
}

func freeLoop(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return fmt.Errorf("open loop device: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("free %s: %w", device, err)
	}
	return nil
}

// removeFiles removes the directory of a cell, cell.json last; a directory without it is not a cell's. All in it is the
// cell's: Up begins with an empty one.
func removeFiles(dir string) error {
	mark := filepath.Join(dir, "cell.json")
	if _, err := os.Stat(mark); err != nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list files of the cell: %w", err)
	}
	for _, e := range entries {
		if name := filepath.Join(dir, e.Name()); name != mark {
			if err := os.RemoveAll(name); err != nil {
				return fmt.Errorf("remove files of the cell: %w", err)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove directory of the cell: %w", err)
	}
	return nil
}
