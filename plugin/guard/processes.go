package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mooring/plugin/mounts"
)

// statePause is how often a killed process is looked at until it is dead or stuck.
const statePause = 20 * time.Millisecond

// victim is a process that was killed.
type victim struct {
	pid    int
	dead   bool // otherwise stuck in the kernel
	handle int  // pidfd: names this process even when its number is used again
}

// killNamespaces kills every process whose mount namespace is one of the given ones, and waits until each
// of them is dead or stuck, at most until the deadline.
func killNamespaces[T any](namespaces map[string]T, deadline time.Time) (map[string][]victim, error) {
	pids, err := mounts.Processes("/proc")
	if err != nil {
		return nil, err
	}
	killed := map[string][]victim{}
	defer func() {
		for _, list := range killed {
			for _, v := range list {
				unix.Close(v.handle)
			}
		}
	}()
	var failed []error
	for _, pid := range pids {
		namespace, v, err := killIn(pid, namespaces)
		failed = append(failed, err)
		if v != nil {
			killed[namespace] = append(killed[namespace], *v)
		}
	}
	for _, list := range killed {
		for i := range list {
			failed = append(failed, list[i].await(deadline))
		}
	}
	return killed, errors.Join(failed...)
}

// killIn kills a process if its mount namespace is one of the given ones; nil if it is not.
func killIn[T any](pid int, namespaces map[string]T) (string, *victim, error) {
	link := filepath.Join("/proc", strconv.Itoa(pid), "ns/mnt")
	namespace, err := os.Readlink(link)
	if _, wanted := namespaces[namespace]; err != nil || !wanted {
		return "", nil, nil
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", nil, nil // it has ended
	}
	// Looked at again with the handle open: now it is certain whose number this is.
	again, err := os.Readlink(link)
	if err != nil || again != namespace {
		return "", nil, unix.Close(handle)
	}
	v := victim{pid: pid, handle: handle}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return "", nil, errors.Join(fmt.Errorf("kill process %d: %w", pid, err), unix.Close(handle))
	}
	return namespace, &v, nil
}

// await waits until the process is dead, or each of its threads waits in the kernel: then it ends without
// another instruction of its own as soon as the kernel lets go of it.
func (v *victim) await(deadline time.Time) error {
	for {
		fds := []unix.PollFd{{Fd: int32(v.handle), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(statePause.Milliseconds()))
		if n > 0 {
			v.dead = true
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", v.pid, err)
		}
		if stuck(v.pid) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d runs on although it was killed", v.pid)
		}
	}
}

// stuck tells whether no thread of a process will execute another instruction of its own once it is killed:
// each is dead, on its way out (the first process of a container waits there for all others), or in an
// uninterruptible wait.
func stuck(pid int) bool {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(tasks)
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, thread := range threads {
		data, err := os.ReadFile(filepath.Join(tasks, thread.Name(), "stat"))
		if err == nil && runs(data) { // an error: this thread has ended
			return false
		}
	}
	return true
}

// runs tells whether a thread may still execute instructions, by its line in /proc.
func runs(stat []byte) bool {
	const (
		stateField, flagsField = 0, 6 // after the name, which is in parentheses and may hold some itself
		exiting                = 0x4  // PF_EXITING
	)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= flagsField {
		return true
	}
	switch string(fields[stateField]) {
	case "D", "Z", "X":
		return false
	}
	flags, err := strconv.ParseUint(string(fields[flagsField]), 10, 64)
	return err != nil || flags&exiting == 0
}
