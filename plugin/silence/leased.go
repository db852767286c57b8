package silence

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring/coordinator"
	"mooring/plugin/lease"
)

const (
	leasesFresh  = 2 * time.Second // what was read is good for so long: who asks often costs the store little
	leasesWait   = 3 * time.Second // for a store that does not answer, before what was read last is shown
	leasesAtOnce = 8               // reads under way
)

// Leased tells who holds volumes, for one who shows it. It reads when it is asked, and whatever hangs keeps one reader, not
// those who ask.
type Leased struct {
	source Source

	mu      sync.Mutex
	reading *reading // under way; nil: none is
	last    reading  // that ended well
}

// reading is one pass over volumes. What is in it is written before done is closed.
type reading struct {
	volumes []string
	done    chan struct{}
	at      time.Time
	leases  map[string]coordinator.Lease
	err     error
}

// NewLeased shows the leases of a source, which is to be its own.
func NewLeased(source Source) *Leased { return &Leased{source: source} }

// Leases returns the leases of volumes, not to be changed, and when they were read. With an error they are those that were read last, none if there
// are none. It returns within some seconds, whatever hangs.
func (l *Leased) Leases(ctx context.Context, volumes []string) (map[string]coordinator.Lease, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, leasesWait)
	defer cancel()
	for {
		r, fresh := l.begin(volumes)
		if fresh {
			return r.leases, r.at, nil
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return l.before(errors.New("the store of leases does not answer"))
		}
		if r.err != nil {
			return l.before(r.err)
		}
		if r.has(volumes) { // else it was begun for one who asked for others
			return r.leases, r.at, nil
		}
	}
}

// begin returns the latest reading that is fresh and has these volumes, or the one that is under way, which it starts if need be.
func (l *Leased) begin(volumes []string) (r *reading, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.has(volumes) && time.Since(l.last.at) < leasesFresh {
		last := l.last
		return &last, true
	}
	if l.reading == nil {
		l.reading = &reading{volumes: volumes, done: make(chan struct{})}
		go l.read(l.reading)
	}
	return l.reading, false
}

// has tells whether a reading was of all of these volumes.
func (r *reading) has(volumes []string) bool {
	for _, name := range volumes {
		if _, read := r.leases[name]; !read {
			return false
		}
	}
	return r.leases != nil
}

func (l *Leased) before(err error) (map[string]coordinator.Lease, time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.leases, l.last.at, err
}

// read is one reading. It has a goroutine of its own: the kernel lets nobody give up waiting for a file.
func (l *Leased) read(r *reading) {
	leases, err := l.source.Leases()
	if err == nil {
		r.leases = l.readAll(leases, r.volumes)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.at, r.err = time.Now(), err; err == nil {
		l.last = *r
	}
	l.reading = nil
	close(r.done)
}

func (l *Leased) readAll(leases Leases, volumes []string) map[string]coordinator.Lease {
	var mu sync.Mutex
	read := make(map[string]coordinator.Lease, len(volumes))
	var group errgroup.Group
	group.SetLimit(leasesAtOnce)
	for _, name := range volumes {
		group.Go(func() error {
			one := l.readOne(leases, name)
			mu.Lock()
			defer mu.Unlock()
			read[name] = one
			return nil
		})
	}
	_ = group.Wait() // what is wrong with a volume is its own
	return read
}

func (l *Leased) readOne(leases Leases, volume string) coordinator.Lease {
	current, err := leases.Current(volume)
	size, sizeErr := l.source.Size(volume)
	if err := errors.Join(err, sizeErr); err != nil {
		return coordinator.Lease{Error: err.Error()}
	}
	shown := coordinator.Lease{Epoch: current.Epoch, State: string(current.State), Size: size}
	if current.State == lease.Held || current.State == lease.Unattended {
		shown.Host, shown.Unguarded = current.Host, current.Unguarded
	}
	return shown
}
