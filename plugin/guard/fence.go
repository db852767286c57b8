package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

const (
	// killTime is how long killed processes get to end or to be seen waiting in the kernel; flushTime and
	// unmountTime bound what may wait for the store. Together with a late look at the clock they stay
	// below lease.FenceTime.
	killTime    = 2 * time.Second
	flushTime   = 500 * time.Millisecond
	unmountTime = 500 * time.Millisecond

	// shutdownIoctl ends all writing to an ext4 or xfs file system at once (_IOR('X', 125, __u32)).
	shutdownIoctl = 0x8004587d
	// withoutFlush leaves the journal as it is: it must not be written when the store comes back, perhaps
	// under a new owner.
	withoutFlush = 2
	// thawIoctl (FITHAW) ends that a file system stands still.
	thawIoctl = 0xc0045878
	// loopMajor is the kernel's number of loop devices: no other file system is ever shut down, whatever the
	// plugin says.
	loopMajor = 7
)

// Fence makes this host unable to write volumes, in this order: it kills every process that has one
// mounted and sees each of them dead or stuck in the kernel, then silences file systems, then unmounts.
// Kill comes first because a file system that is shut down under its writers can acknowledge to the last
// one what it then drops (ext4, kernel 6.18); no answer leaves a killed process. With mayFlush a file
// system of its own is flushed instead, if it answers. Fencing again is harmless.
func Fence(volumes []Volume, mayFlush bool) []Report {
	f := fencing{reports: map[string]*Report{}, killed: map[int]bool{}, files: map[string]*os.File{}}
	for _, v := range volumes {
		f.reports[v.Name] = &Report{Volume: v}
	}
	f.kill(time.Now().Add(killTime))
	var quiet errgroup.Group
	for _, r := range f.reports {
		quiet.Go(func() error { f.silence(r, mayFlush); return nil })
	}
	_ = quiet.Wait()
	done := make([]Report, 0, len(f.reports))
	for _, v := range volumes {
		done = append(done, *f.reports[v.Name])
	}
	return done
}

// fencing is one run of Fence.
type fencing struct {
	reports map[string]*Report
	killed  map[int]bool
	files   map[string]*os.File // an open file of each volume's own file system, by volume
}

// kill kills until a look finds nobody but processes that are stuck.
func (f *fencing) kill(deadline time.Time) {
	for {
		holders, err := mounts.Holders("/proc", f.shown())
		if err != nil {
			f.fail(fmt.Errorf("look for processes: %w", err))
			return
		}
		maps.DeleteFunc(holders, func(name string, _ []mounts.Holder) bool { // looked at afterwards, it was so all the time
			return !f.reports[name].Volume.mayBeThere()
		})
		f.thaw(f.open(holders))
		fresh, err := f.killOnce(holders, deadline)
		if err != nil {
			f.fail(err)
			return
		}
		if !fresh {
			return
		}
		if time.Now().After(deadline) {
			f.fail(errors.New("processes do not end although they were killed"))
			return
		}
	}
}

// shown are the volumes that mount tables can show. A volume whose device shows something else by now is left out: that may be another
// one of these, and a tree stands for one volume only.
func (f *fencing) shown() map[string]mounts.Volume {
	shown := map[string]mounts.Volume{}
	for name, r := range f.reports {
		if r.Volume.Tree.Root != "" && r.Volume.mayBeThere() {
			shown[name] = mounts.Volume{Tree: r.Volume.Tree, Target: r.Volume.Target}
		}
	}
	return shown
}

// killOnce kills all processes in the mount namespaces of holders, and tells whether it found any that it
// had not killed before: only then somebody may have started another one meanwhile.
func (f *fencing) killOnce(holders map[string][]mounts.Holder, deadline time.Time) (bool, error) {
	namespaces, err := f.namespaces(holders)
	if err != nil {
		return false, err
	}
	killed, err := killNamespaces(namespaces, deadline)
	f.resetStuck()
	fresh := false
	for namespace, volumes := range namespaces {
		for _, p := range killed[namespace] {
			fresh = fresh || !f.killed[p.pid]
			f.killed[p.pid] = true
			for _, name := range volumes {
				f.reports[name].add(p)
			}
		}
	}
	return fresh, err
}

// resetStuck takes those that were stuck for dead, unless they are found again.
func (f *fencing) resetStuck() {
	for _, r := range f.reports {
		r.Killed, r.Stuck = append(r.Killed, r.Stuck...), nil
	}
}

func (r *Report) add(p victim) {
	r.Killed = slices.DeleteFunc(r.Killed, func(pid int) bool { return pid == p.pid })
	if p.dead {
		r.Killed = append(r.Killed, p.pid)
	} else {
		r.Stuck = append(r.Stuck, p.pid)
	}
}

// namespaces are the mount namespaces whose processes are to be killed, each with its volumes. The
// host's own and the guard's own are spared: there it is not a container that has the volume mounted,
// and killing the host would be worse than what it may write.
func (f *fencing) namespaces(holders map[string][]mounts.Holder) (map[string][]string, error) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, fmt.Errorf("read own mount namespace: %w", err)
	}
	host, _ := os.Readlink("/proc/1/ns/mnt")
	found := map[string][]string{}
	for name, list := range holders {
		r := f.reports[name]
		r.Spared = nil
		for _, h := range list {
			namespace, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(h.PID), "ns/mnt"))
			switch {
			case err != nil:
				continue // it has ended
			case namespace == own || namespace == host:
				r.Spared = append(r.Spared, h.String())
			case !slices.Contains(found[namespace], name):
				found[namespace] = append(found[namespace], name)
			}
		}
	}
	return found, nil
}

// open finds a way to each volume's own file system, by the mount point here or by a container's, which
// outlives the plugin's. It returns those that it has just found.
func (f *fencing) open(holders map[string][]mounts.Holder) []*os.File {
	var found []*os.File
	for name, r := range f.reports {
		if !r.Volume.OwnFS || r.Volume.Tree.Major != loopMajor || f.files[name] != nil {
			continue
		}
		paths := []string{r.Volume.Target}
		for _, h := range holders[name] {
			paths = append(paths, filepath.Join("/proc", strconv.Itoa(h.PID), "root", h.Mountpoint))
		}
		for _, path := range paths {
			if file := openOn(path, r.Volume); file != nil {
				f.files[name] = file
				found = append(found, file)
				break
			}
		}
	}
	return found
}

// thaw lets writers go on that wait because a plugin died while it took a snapshot: they could not be killed. The time in
// which they may write is not over yet.
func (f *fencing) thaw(files []*os.File) {
	var thawed errgroup.Group
	for _, file := range files {
		thawed.Go(func() error {
			_ = within(flushTime, func() error { return unix.IoctlSetInt(int(file.Fd()), thawIoctl, 0) })
			return nil // most were not frozen
		})
	}
	_ = thawed.Wait()
}

// openOn opens a path if it lies on the volume's device, which shows nothing else while it is open. The roots of mounted file
// systems are in memory, so that this does not wait for the store.
func openOn(path string, v Volume) *os.File {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	var stat unix.Stat_t
	device := unix.Mkdev(uint32(v.Tree.Major), uint32(v.Tree.Minor))
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil || stat.Dev != device || !v.mayBeThere() {
		file.Close()
		return nil
	}
	return file
}

// silence takes the volume's mount away, and before that, if the volume has a file system of its own,
// sees that nothing is written to it later.
func (f *fencing) silence(r *Report, mayFlush bool) {
	file := f.files[r.Volume.Name]
	if file == nil {
		r.fail(within(unmountTime, func() error { return unmount(r.Volume.Target) }))
		return
	}
	// Detached first: the flush or the shutdown then is the last thing that happens to the file system.
	r.fail(within(unmountTime, func() error { return detach(r.Volume.Target) }))
	flushed := mayFlush && len(r.Stuck) == 0 && within(flushTime, func() error { return unix.Syncfs(int(file.Fd())) }) == nil
	if !flushed {
		r.Shutdown = true
		r.fail(within(flushTime, func() error { return shutDown(file) }))
	}
	// The last reference may write for the store's sake; nobody waits for it.
	r.fail(within(unmountTime, file.Close))
}

func shutDown(file *os.File) error {
	if err := unix.IoctlSetPointerInt(int(file.Fd()), shutdownIoctl, withoutFlush); err != nil && !errors.Is(err, unix.EIO) {
		return fmt.Errorf("shut down file system at %s: %w", file.Name(), err)
	}
	return nil
}

// unmount takes away every mount at target, by detaching it if something of the host's is in it, and
// then target itself: a container must fail to start there, not write to the host's own disk.
func unmount(target string) error {
	return popMounts(target, func() error {
		if unix.Unmount(target, unix.UMOUNT_NOFOLLOW) == nil {
			return nil
		}
		return unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	})
}

func detach(target string) error {
	return popMounts(target, func() error { return unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH) })
}

func popMounts(target string, pop func() error) error {
	for {
		mounted, err := mounts.Mounted(target)
		if err != nil {
			return err
		}
		if !mounted {
			break
		}
		if err := pop(); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	err := os.Remove(target)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return fmt.Errorf("remove mount point: %w", err)
}

// within does work that a store which does not answer may keep for ever.
func within(limit time.Duration, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("the store does not answer within %s", limit)
	}
}

func (f *fencing) fail(err error) {
	for _, r := range f.reports {
		r.fail(err)
	}
}

func (r *Report) fail(err error) {
	if err != nil {
		r.Problem = err.Error()
	}
}
