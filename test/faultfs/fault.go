package faultfs

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Kind is a way for storage to fail.
type Kind string

const (
	None    Kind = "none"
	EIO     Kind = "eio"     // every operation fails
	ENOSPC  Kind = "enospc"  // what makes or lengthens a file fails
	ESTALE  Kind = "estale"  // every operation fails, as on a network file system whose server forgot its files
	Hang    Kind = "hang"    // no operation ends until there is another fault or none; SIGKILL ends the wait, as on NFS
	Latency Kind = "latency" // every operation takes longer
)

// Fault is what is wrong with a file system. The zero Fault is like None.
type Fault struct {
	Kind  Kind
	Delay time.Duration // of each operation, for Latency
}

// String is the form that Parse reads.
func (f Fault) String() string {
	switch f.Kind {
	case "":
		return string(None)
	case Latency:
		return fmt.Sprintf("%s %s", f.Kind, f.Delay)
	}
	return string(f.Kind)
}

// Parse reads a fault: one of the kinds, latency followed by its delay.
func Parse(text string) (Fault, error) {
	words := strings.Fields(text)
	form := fmt.Errorf("fault %q is not one of none, eio, enospc, estale, hang, latency 100ms", text)
	if len(words) == 2 && Kind(words[0]) == Latency {
		delay, err := time.ParseDuration(words[1])
		if err != nil || delay <= 0 {
			return Fault{}, form
		}
		return Fault{Kind: Latency, Delay: delay}, nil
	}
	if len(words) == 1 {
		switch kind := Kind(words[0]); kind {
		case None, EIO, ENOSPC, ESTALE, Hang:
			return Fault{Kind: kind}, nil
		}
	}
	return Fault{}, form
}

// gate is what every operation passes first.
type gate struct {
	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when the fault changes
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

func (g *gate) set(f Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) current() (Fault, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault, g.changed
}

// request is an operation as the gate sees it.
type request struct {
	caller    uint32          // thread; 0 is the kernel
	cancel    <-chan struct{} // closed when the caller gets a signal
	needSpace bool
}

// pass lets a request through or says how it fails.
func (g *gate) pass(r request) fuse.Status {
	for {
		fault, changed := g.current()
		switch fault.Kind {
		case EIO:
			return fuse.EIO
		case ESTALE:
			return fuse.Status(unix.ESTALE)
		case ENOSPC:
			if r.needSpace {
				return fuse.Status(unix.ENOSPC)
			}
			return fuse.OK
		case Latency:
			return delay(fault.Delay, changed)
		case Hang:
			if !r.hang(changed) {
				return fuse.EINTR
			}
		default:
			return fuse.OK
		}
	}
}

func delay(length time.Duration, changed <-chan struct{}) fuse.Status {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
	return fuse.OK
}

// hang waits for another fault, and tells whether the caller still waits too. Only SIGKILL ends its wait: a Go program
// gets other signals all the time. The kernel announces the first signal only.
func (r request) hang(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-r.cancel:
	}
	looks := time.NewTicker(50 * time.Millisecond)
	defer looks.Stop()
	for !killed(r.caller) {
		select {
		case <-changed:
			return true
		case <-looks.C:
		}
	}
	return false
}

// killed tells whether SIGKILL waits for a thread.
func killed(thread uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "\nSigPnd:")
	var pending uint64
	_, err = fmt.Sscanf(rest, "%x", &pending)
	return err == nil && pending&(1<<(unix.SIGKILL-1)) != 0
}
