package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mooring/plugin/store"
)

const (
	// idleTime is how long a guard stays that has nothing to guard and nobody to talk to.
	idleTime = time.Minute
	// succeedTime is how long a new guard has to beat in the old one's place.
	succeedTime = 10 * time.Second
	// lockTime is how long a new guard tries to get the lock. The plugin waits a bit longer for it.
	lockTime = startTime - time.Second
)

// Run is the guard as a process. Its settings are read from in. It ends when ctx does or the
// plugin says so, but not as long as it watches a volume; and when the next guard has taken over. It
// logs into the state directory, since standard output is the plugin's, which may be gone.
func Run(ctx context.Context, in io.Reader, level hclog.Level) error {
	var s settings
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read the guard's settings from standard input (the plugin writes them): %w", err)
	}
	file, err := openLog(s.StateDir)
	if err != nil {
		return fmt.Errorf("open the guard's log: %w", err)
	}
	log := patientLog(file, level)
	if err := guardHost(ctx, s.Host, s.Address, log); err != nil {
		_, _ = fmt.Fprintln(file, "guard:", err) // the last line must not get lost
		return err
	}
	return nil
}

func patientLog(file *os.File, level hclog.Level) hclog.Logger {
	lines := make(chan []byte, 256)
	go func() {
		for line := range lines {
			_, _ = file.Write(line)
		}
	}()
	return hclog.New(&hclog.LoggerOptions{Name: "guard", Level: level, Output: patientWriter{lines}, JSONFormat: true})
}

// guardHost takes the lock, from an earlier guard if there is one, and guards.
func guardHost(ctx context.Context, host Host, address string, log hclog.Logger) error {
	leases, err := place(host, address, log)
	if err != nil {
		return err
	}
	host.Instance = store.NewID()[:16]
	lock, old, err := takeLock(host.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	var known Status
	if old != nil {
		defer old.conn.Close()
		if known, err = old.receive(); err != nil {
			return err
		}
		if known.Format != format || !known.Host.same(host) {
			return fmt.Errorf("guard %d is that of host %s and cannot be replaced by one of host %s", known.PID, known.Host.Host, host.Host)
		}
		host.Instance = known.Host.Instance
	} else if known.Fenced, err = readRecord(host.StateDir, host.Boot); err != nil {
		return err
	} else {
		known.Pulse = loadPulse(host.StateDir)
	}
	notes := protect()
	outside := moveOut(host.Host)
	if outside != nil {
		notes = append(notes, fmt.Sprintf("ends with the plugin: %v", outside))
	}
	log.Info("guard started", "host", host.Host, "pid", os.Getpid(), "independent", outside == nil, "notes", notes, "replaces", known.PID)
	g, reports := build(host, leases, known, log)
	go reports.run()
	go func() { // nobody waits for it: a guard that beats soon matters more
		if err := rehearse(); err != nil {
			log.Warn("fencing not rehearsed", "error", err)
		}
	}()
	s := &server{guard: g, lock: lock, independent: outside == nil, notes: notes, log: log, callers: map[*net.UnixConn]bool{}, alone: time.Now()}
	return s.run(ctx, old)
}

// build makes the guard with its real edges, and with what the one before it knew.
func build(host Host, leases Leases, known Status, log hclog.Logger) (*Guard, *keeper) {
	reports := newKeeper(host, func(err error) { log.Warn("report not kept", "error", err) })
	g := New(host, known.Fenced, Options{Leases: leases, Fence: Fence,
		Keep: reports.keep, Clock: bootTime, Log: log})
	for _, v := range known.Volumes {
		g.watched[v.Name] = v
	}
	g.pulse, g.sequence = known.Pulse, known.Sequence
	return g, reports
}

// takeLock locks the state directory for one guard. It tries again while the lock's holder does not speak: the kernel closes the
// socket of a process that was killed before it frees its lock, and much later if the machine is busy. One that
// is silent, but listens, is left alone.
func takeLock(dir string) (*os.File, *link, error) {
	last := time.Now().Add(lockTime)
	for {
		lock, old, err := tryLock(dir)
		if !hungUp(err) || time.Now().After(last) {
			return lock, old, err
		}
		time.Sleep(startPause)
	}
}

// tryLock takes the lock if it is free. While another guard has the lock, that one is asked to
// share it: the lock is never free in between, so no third guard can start.
func tryLock(dir string) (*os.File, *link, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the guard's lock: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil, nil
	}
	if err := lock.Close(); err != nil {
		return nil, nil, err
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	old, err := dial(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("another guard has the lock: %w", err)
	}
	if err := old.send(request{Verb: handOver}); err != nil {
		return nil, nil, errors.Join(err, old.conn.Close())
	}
	lock, err = old.receiveFile()
	if err != nil {
		return nil, nil, errors.Join(err, old.conn.Close())
	}
	return lock, old, nil
}

// run beats, once at first in place of an old guard, and serves until the guard ends.
func (s *server) run(ctx context.Context, old *link) error {
	if old != nil {
		if err := within(succeedTime, s.guard.succeed); err != nil {
			return fmt.Errorf("the old guard goes on: %w", err)
		}
	}
	l, err := listen(s.guard.host.StateDir)
	if err != nil {
		return err
	}
	ended, end := context.WithCancel(context.Background())
	s.end = end
	if old != nil {
		if err := old.send(request{Verb: beaten}); err != nil && !hungUp(err) {
			return fmt.Errorf("tell the old guard: %w", err)
		}
	}
	go s.serve(l)
	go func() { _ = s.guard.Run(ended) }()
	return s.wait(ctx, ended)
}

// wait returns when the guard may end. What still waits for the store then ends with the process.
func (s *server) wait(ctx, ended context.Context) error {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-ended.Done():
			return nil
		case <-ticks.C:
		}
		if (ctx.Err() != nil || s.forgotten(idleTime)) && s.guard.Idle() {
			return nil
		}
	}
}
