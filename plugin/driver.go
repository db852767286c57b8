package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mooring/plugin/backend"
	"mooring/plugin/lease"
	"mooring/plugin/loop"
	"mooring/plugin/mounts"
	"mooring/plugin/statelog"
	"mooring/plugin/store"
)

// Backend makes the storage of volumes and mounts it, in its own part of the volume's directory. Each
// method may be called again after it succeeded or failed halfway.
type Backend interface {
	// Provision makes the storage. It is called before the volume is used for the first time, never after.
	Provision(ctx context.Context, v backend.Spec) error
	// Renew makes, under a new epoch, storage with the volume's content that a host which had the volume before cannot
	// write, and tells whether it can do so. The volume is not mounted here.
	Renew(ctx context.Context, v backend.Spec, epoch uint64) (bool, error)
	// Mount shows the volume at target, verified; it replaces anything else mounted there.
	Mount(ctx context.Context, v backend.Spec, target string) error
	// Unmount leaves neither a mount nor a directory at target. It fails while something uses the mount.
	Unmount(ctx context.Context, target string) error
	// Tree names the volume's root directory for a search in mount tables, without touching storage.
	Tree(v backend.Spec, target string) (mounts.Tree, error)
	// Status describes what is mounted at target, for the volume's status, without touching storage.
	Status(target string) map[string]any
}

// Driver is the volume driver of one host: the verbs of Docker's protocol, and Run, which keeps this
// host's heartbeat and looks after volumes between calls.
type Driver struct {
	cfg     Config
	log     hclog.Logger
	backend Backend
	guard   Guard
	self    lease.Identity
	state   *statelog.Log
	classes *classes
	owned   *os.File // the state directory, locked for this process
	locks   locks
	watch   lease.Watch
	pulse   pulse
	calls   sync.WaitGroup // verbs at work, also those whose caller has gone
	trash   chan struct{}  // wakes the emptying of the trash
	finding sync.Mutex     // held while the store is looked for
	devices loop.Asker     // of the loop devices that the doctor looks at
	tally   tally          // of the engine's calls and what else happens
	probing probing        // why those who measure are not answered
	began   time.Duration  // clock reading at the start
	unseen  chan error     // tells the process to end

	elsewhere elsewhere

	mu       sync.RWMutex
	volumes  map[string]*volume // published values, never changed
	store    *store.Store       // nil until the store was found
	storeErr error              // why the store cannot be used now
	global   bool               // other hosts see the store too
	drained  time.Time          // since when this host accepts no new mounts; zero if it does
	rival    time.Duration      // until then another plugin under this host's name counts as running
}

// The state log's keys.
const (
	storeKey     = "store"
	volumePrefix = "volume/"
)

// Open reads this host's state. It does not touch the store, which may not answer; Run finds it. An
// error names the file and what to do about it.
func Open(cfg Config) (*Driver, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	stateDir := stateDir(cfg)
	owned, err := own(stateDir)
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, log: cfg.Log, backend: cfg.Backend, guard: cfg.Guard, owned: owned,
		volumes: map[string]*volume{}, trash: make(chan struct{}, 1), began: cfg.Clock(), unseen: make(chan error, 1)}
	d.watch.Gap = cfg.TakeAfter / 2
	if d.backend == nil {
		d.backend = backend.Kinds{Image: backend.Image{Boot: cfg.BootID, Log: cfg.Log}}
	}
	if err := d.load(stateDir); err != nil {
		return nil, errors.Join(err, owned.Close())
	}
	if d.cfg.Reaches == nil {
		d.cfg.Reaches = func() (bool, error) { return mounts.Reaches("/proc", d.cfg.MountRoot) }
	}
	return d, nil
}

func stateDir(cfg Config) string { return filepath.Join(cfg.StateDir, "mooring-host") }

// load reads who this host is and what it knew.
func (d *Driver) load(stateDir string) error {
	host, err := hostName(stateDir, d.cfg.Host)
	if err != nil {
		return err
	}
	d.self = lease.Identity{Host: host, Boot: d.cfg.BootID, Instance: store.NewID()[:16]}
	if d.cfg.MountRoot, err = mountRoot(d.cfg.MountRoot); err != nil {
		return err
	}
	if d.state, err = statelog.Open(filepath.Join(stateDir, "state.log")); err != nil {
		return err
	}
	if d.classes, err = newClasses(d.cfg.ClassesFile, d.cfg.Classes, d.state.Entries()); err != nil {
		return errors.Join(err, d.state.Close())
	}
	if err := d.loadDrain(); err != nil {
		return errors.Join(err, d.state.Close())
	}
	for key, data := range d.state.Entries() {
		name, ok := strings.CutPrefix(key, volumePrefix)
		if !ok {
			continue
		}
		var v volume
		if err := json.Unmarshal(data, &v); err != nil || v.Name != name {
			return errors.Join(fmt.Errorf("state of volume %s in %s is unreadable: repair its line in state.log", name, stateDir), d.state.Close())
		}
		v.mounted = d.cfg.Clock()
		d.volumes[name] = &v
	}
	return nil
}

// Close gives the state directory free. Run must have returned.
func (d *Driver) Close() error {
	if d.cfg.ensemble != nil {
		d.cfg.ensemble.Close()
	}
	return errors.Join(d.state.Close(), d.owned.Close())
}

// attend runs one verb on one volume while its caller waits, at most for the call budget. A caller that
// goes away, or has waited long enough, gets an error; the work goes on, since storage that does not
// answer cannot be interrupted, and if it succeeds after all it is undone (unless undo is nil).
func (d *Driver) attend(ctx context.Context, name string, work, undo func(context.Context) error) error {
	return d.await(ctx, name, work, undo, d.locks.lock)
}

// insist is attend for what must be done however late, because nobody asks again: when its caller has gone before the volume
// was free, it is done once that is so.
func (d *Driver) insist(ctx context.Context, name string, work func(context.Context) error) error {
	late := func(ctx context.Context) error {
		if ctx.Err() == nil {
			return work(ctx)
		}
		d.log.Warn("done late, for a caller that has gone", "volume", name)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.CallBudget)
		defer cancel()
		return work(ctx)
	}
	return d.await(ctx, name, late, nil, func(ctx context.Context, name string) (func(), error) {
		return d.locks.lock(context.WithoutCancel(ctx), name)
	})
}

// await is attend with its way to lock the volume.
func (d *Driver) await(ctx context.Context, name string, work, undo func(context.Context) error,
	lock func(context.Context, string) (func(), error)) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallBudget)
	defer cancel()
	done := make(chan error)
	d.calls.Add(1)
	go func() {
		defer d.calls.Done()
		unlock, err := lock(ctx, name)
		if err != nil {
			return
		}
		defer unlock()
		err = d.protected(ctx, name, work)
		select {
		case done <- err:
		case <-ctx.Done(): // nobody receives any more
			if err == nil && undo != nil {
				d.log.Warn("undone for a caller that has gone", "volume", name)
				_ = d.protected(context.WithoutCancel(ctx), name, undo)
			}
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("volume %s: no result within %s, perhaps because store %s does not answer: %w",
			name, d.cfg.CallBudget, d.cfg.StoreDir, ctx.Err())
	}
}

// protected turns a panic into an error, so that one volume's broken invariant does not end the driver
// of all others, and notes the error in the volume's status.
func (d *Driver) protected(ctx context.Context, name string, work func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("verb panicked", "volume", name, "error", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("volume %s: internal error: %v", name, p)
		}
		d.note(name, err)
	}()
	return store.Explain(work(ctx))
}

// note publishes how the last verb on a volume went.
func (d *Driver) note(name string, err error) {
	v, known := d.volume(name)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if known && v.problem != text {
		v.problem = text
		d.publish(v)
	}
}

// volume returns what is known of a volume.
func (d *Driver) volume(name string) (volume, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v, known := d.volumes[name]
	if !known {
		return volume{}, false
	}
	return *v, true
}

// names lists the known volumes.
func (d *Driver) names() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	names := make([]string, 0, len(d.volumes))
	for name := range d.volumes {
		names = append(names, name)
	}
	return names
}

// save makes a volume's state durable and then known. The caller has the volume's lock.
func (d *Driver) save(v volume) error {
	if err := d.state.Put(volumePrefix+v.Name, v); err != nil {
		return err
	}
	d.publish(v)
	return nil
}

// publish makes known what need not survive. The caller has the volume's lock.
func (d *Driver) publish(v volume) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.volumes[v.Name] = &v
}

// drop makes this host forget a volume. The caller has the volume's lock.
func (d *Driver) drop(name string) error {
	if err := d.state.Delete(volumePrefix + name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.volumes, name)
	return nil
}

// target is where a volume is mounted on this host.
func (d *Driver) target(name string) string { return filepath.Join(d.cfg.MountRoot, name) }

// spec is a volume as the back end sees it. To use its storage takes the current lease, in v.seen, which tells where it is.
func (d *Driver) spec(s *store.Store, v volume) backend.Spec {
	return backend.Spec{Dir: s.Dir(v.Name), UID: v.UID, GID: v.GID, Mode: uint32(v.Mode),
		Kind: kind(v.Volume), FS: v.FS, Size: int64(v.Size), Image: v.seen.Image,
		Mkfs: v.Mkfs, Options: v.Volume.Mount}
}

// holders are the containers of this host that have the volume mounted, by the kernel's word.
func (d *Driver) holders(s *store.Store, v volume) ([]mounts.Holder, error) {
	found, err := d.allHolders(s, []volume{v})
	return found[v.Name], err
}

// allHolders looks for the containers of many volumes at once.
func (d *Driver) allHolders(s *store.Store, volumes []volume) (map[string][]mounts.Holder, error) {
	wanted := make(map[string]mounts.Volume, len(volumes))
	for _, v := range volumes {
		target := d.target(v.Name)
		tree, err := d.backend.Tree(d.spec(s, v), target)
		if err != nil {
			return nil, fmt.Errorf("look for containers with volume %s: %w", v.Name, err)
		}
		wanted[v.Name] = mounts.Volume{Tree: tree, Target: target}
	}
	found, err := mounts.Holders("/proc", wanted)
	if err != nil {
		return nil, fmt.Errorf("look for containers: %w", err)
	}
	return found, nil
}
