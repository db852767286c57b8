package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"mooring/plugin/store"
)

// usableStore is the store, looked at again just now. Whether it can be used is noted for the status.
func (d *Driver) usableStore() (*store.Store, error) {
	s, err := d.foundStore()
	if err == nil {
		err = s.Check()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && (d.storeErr == nil || err.Error() != d.storeErr.Error()) {
		d.log.Error("store unusable", "error", err)
	}
	d.storeErr = err
	return s, err
}

// foundStore is the store, looked for if it was not found yet.
func (d *Driver) foundStore() (*store.Store, error) {
	if s := d.knownStore(); s != nil {
		return s, nil
	}
	d.finding.Lock()
	defer d.finding.Unlock()
	if s := d.knownStore(); s != nil {
		return s, nil
	}
	s, err := d.openStore()
	if err != nil {
		return nil, err
	}
	global := d.isShared()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.store, d.global = s, global
	return s, nil
}

// openStore finds the store that this host has used before, or, the first time, whichever is there.
func (d *Driver) openStore() (*store.Store, error) {
	var expected string
	if data, known := d.state.Entries()[storeKey]; known {
		if err := json.Unmarshal(data, &expected); err != nil {
			return nil, fmt.Errorf("read the store's UUID in the state log: %w", err)
		}
	}
	var leases store.Place
	if d.cfg.ensemble != nil {
		leases = d.cfg.ensemble
	}
	s, err := store.OpenAt(d.cfg.StoreDir, expected, leases)
	if err != nil || expected != "" {
		return s, err
	}
	d.log.Info("store found for the first time", "store", d.cfg.StoreDir, "uuid", s.UUID())
	return s, d.state.Put(storeKey, s.UUID())
}

// knownStore is the store if it was ever found.
func (d *Driver) knownStore() *store.Store {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.store
}

// isShared tells whether other hosts see the store too.
func (d *Driver) isShared() bool {
	switch d.cfg.Shared {
	case SharedYes:
		return true
	case SharedNo:
		return false
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.StoreDir, &fs); err != nil {
		d.log.Warn("type of the store's file system unknown, taken as not shared", "error", err)
		return false
	}
	return slices.Contains(sharedTypes(), int64(uint32(fs.Type)))
}

func (d *Driver) isGlobal() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.global
}

// sharedTypes are the file systems that several hosts mount at once, by their number in statfs(2). A
// FUSE file system may be local; taking it as shared only makes the driver look more often.
func sharedTypes() []int64 {
	const (
		gfs2   = 0x01161970
		ocfs2  = 0x7461636f
		lustre = 0x0bd00bd0
		gpfs   = 0x47504653
	)
	return []int64{unix.NFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.SMB_SUPER_MAGIC,
		unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC, unix.AFS_SUPER_MAGIC, gfs2, ocfs2, lustre, gpfs}
}

// scan makes volumes known that other hosts made, and forgets those that other hosts removed.
func (d *Driver) scan(s *store.Store) {
	found, err := s.Names()
	if err != nil {
		d.log.Warn("volumes not listed", "error", err)
		return
	}
	present := make(map[string]bool, len(found))
	for _, name := range found {
		present[name] = true
		if _, known := d.volume(name); known || !namePattern.MatchString(name) {
			continue
		}
		d.background(name, func() error { return d.adopt(s, name) })
	}
	for _, name := range d.names() {
		if !present[name] {
			d.background(name, func() error { return d.forgetRemoved(s, name) })
		}
	}
}

// adopt makes a volume known that the store has.
func (d *Driver) adopt(s *store.Store, name string) error {
	if _, known := d.volume(name); known {
		return nil
	}
	found, err := s.Read(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrBlank) {
		return nil // being made or being removed by its host
	}
	if err != nil {
		return err
	}
	return d.save(volume{Volume: found})
}

// forgetRemoved drops a volume without files if its removal, by another host, is on record.
func (d *Driver) forgetRemoved(s *store.Store, name string) error {
	v, known := d.volume(name)
	if exists, err := s.Exists(name); !known || exists || err != nil {
		return err
	}
	if !s.WasRemoved(v.ID) {
		return nil
	}
	if err := d.takeDown(context.Background(), name); err != nil {
		return err
	}
	d.log.Info("volume was removed by another host", "volume", name)
	return d.drop(name)
}

// background runs work on a volume between the engine's calls. A volume that is busy is left for later, so
// that one call that waits does not hold up the rest.
func (d *Driver) background(name string, work func() error) {
	unlock, free := d.locks.try(name)
	if !free {
		return
	}
	defer unlock()
	if err := work(); err != nil {
		d.log.Warn("volume not looked after", "volume", name, "error", err)
	}
}
