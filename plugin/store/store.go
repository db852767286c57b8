// Package store lays out the directory that holds the volumes, shared by all hosts or not:
//
//	mooring/store.json              which store this is
//	mooring/volumes/<name>/         volume.json, lease.<epoch>, and the back end's own files
//	mooring/hosts/<host>/heartbeat  one for all leases of a host
//	mooring/removed/<volume ID>     volumes that were removed, so that other hosts forget them
//	mooring/trash/<name>.<ID>/      removed volumes; removed.json says until when they can be restored
//
// A store that is missing, or is another one than before, is an error and never silently replaced.
package store

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
	"mooring/plugin/lease"
)

// format of store.json and volume.json; a newer one is refused.
const format = 1

// elsewhere is the format of the store.json of a store whose leases are kept elsewhere: a plugin that would
// look for them in the store must not use it.
const elsewhere = 2

// Store is the layout below one directory.
type Store struct {
	dir      string // as the operator gave it, for messages
	root     string
	identity identity
}

type identity struct {
	Format int    `json:"format"`
	UUID   string `json:"uuid"`
	Leases string `json:"leases,omitempty"` // what kind of place they are kept in; "" is the store itself
}

// Place is where a store's leases are kept if not in the store itself.
type Place interface {
	// Kind names what sort of place it is, for ever.
	Kind() string
	// Prepare makes the place ready for the leases of a new store.
	Prepare(store string) error
}

// Open finds the store in dir, with its leases in it. Expected is the UUID it had before; only if there was
// none, and dir holds no volumes, a new store is made.
func Open(dir, expected string) (*Store, error) { return OpenAt(dir, expected, nil) }

// OpenAt is Open for a store whose leases are in a place, or in the store itself if that is nil. Which
// one is decided when the store is made and kept with it, because two hosts that looked for leases in
// different places would both write.
func OpenAt(dir, expected string, leases Place) (*Store, error) {
	s, err := find(dir, expected, leases)
	return s, Explain(err)
}

func find(dir, expected string, leases Place) (*Store, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store directory %s is missing (%w): create or mount it, or set store.source to a directory that exists", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("look for store directory %s: %w", dir, err)
	}
	s := &Store{dir: dir, root: filepath.Join(resolved, "mooring"), identity: identity{Format: format, UUID: expected}}
	if leases != nil {
		s.identity.Format, s.identity.Leases = elsewhere, leases.Kind()
	}
	if expected == "" {
		if err := s.initialise(leases); err != nil {
			return nil, err
		}
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	for _, sub := range []string{s.volumes(), s.hosts(), s.removed(), s.trash()} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, fmt.Errorf("open store %s: %w", dir, err)
		}
	}
	return s, nil
}

// initialise makes store.json, or learns the identity that is there.
func (s *Store) initialise(leases Place) error {
	if found, err := s.read(); err == nil {
		s.identity.UUID = found.UUID
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if names, err := os.ReadDir(s.volumes()); err == nil && len(names) > 0 {
		return fmt.Errorf("store %s holds volumes but its store.json is gone: restore %s", s.dir, s.file())
	}
	if err := os.MkdirAll(s.root, 0o711); err != nil {
		return fmt.Errorf("create store in %s: %w", s.dir, err)
	}
	made := s.identity
	made.UUID = NewID()
	data, err := json.Marshal(made)
	if err != nil {
		return err
	}
	if leases != nil { // first, so that no store is without the place that it names
		if err := leases.Prepare(made.UUID); err != nil {
			return fmt.Errorf("create store in %s: make room for its leases: %w", s.dir, err)
		}
	}
	// Several hosts may do this at once; all use the one that came first.
	if err := durable.Create(s.file(), append(data, '\n')); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create store in %s: %w", s.dir, err)
	}
	found, err := s.read()
	s.identity.UUID = found.UUID
	return errors.Join(err, durable.SyncDir(filepath.Dir(s.root)))
}

// Check tells whether the directory still holds this store, and lets it be written.
func (s *Store) Check() error { return Explain(s.check()) }

func (s *Store) check() error {
	if err := s.same(); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err == nil && fs.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("store %s: %w", s.dir, unix.EROFS)
	}
	return nil
}

// upgraded says why a managed plugin may look for its store in another place than before: Docker 20.10 gives one that was upgraded the
// directories of the manifest, and goes on showing what was set.
const upgraded = ", or if the plugin was just upgraded disable it, set store.source, state.source and config.source again, which Docker then forgets, and enable it"

// same tells whether the directory still holds this store, perhaps read-only.
func (s *Store) same() error {
	found, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s is missing: %s should hold UUID %s; mount the right directory there%s", s.dir, s.file(), s.UUID(), upgraded)
	}
	if err != nil {
		return err
	}
	if found.UUID != s.UUID() {
		return fmt.Errorf("store %s is another one: its UUID is %s, expected %s; mount the right directory there%s; "+
			"or to go over to this one stop the plugin and move its state directory away", s.dir, found.UUID, s.UUID(), upgraded)
	}
	return s.checkPlace(found)
}

// checkPlace refuses to look for leases where the other hosts do not keep them.
func (s *Store) checkPlace(found identity) error {
	switch {
	case found.Leases == s.identity.Leases:
		return nil
	case found.Leases == "":
		return fmt.Errorf("store %s keeps its leases in its own files, this host would look for them in %s: set LEASES=files; "+
			"only a new store can have them elsewhere (docs/leases.md)", s.dir, s.identity.Leases)
	}
	return fmt.Errorf("store %s keeps its leases in %s, this host would look for them in %s: set LEASES to the address that the store was made with "+
		"(docs/leases.md)", s.dir, found.Leases, cmp.Or(s.identity.Leases, "files"))
}

// UUID names the store for good.
func (s *Store) UUID() string { return s.identity.UUID }

// Dir is the directory of a volume.
func (s *Store) Dir(volume string) string { return filepath.Join(s.volumes(), volume) }

// Leases are those kept in the store itself.
func (s *Store) Leases() lease.Files { return lease.Files{Volumes: s.volumes(), Beats: s.hosts()} }

func (s *Store) file() string    { return filepath.Join(s.root, "store.json") }
func (s *Store) hosts() string   { return filepath.Join(s.root, "hosts") }
func (s *Store) volumes() string { return filepath.Join(s.root, "volumes") }
func (s *Store) removed() string { return filepath.Join(s.root, "removed") }
func (s *Store) trash() string   { return filepath.Join(s.root, "trash") }

func (s *Store) read() (identity, error) {
	data, err := os.ReadFile(s.file())
	if err != nil {
		return identity{}, fmt.Errorf("read store %s: %w", s.dir, err)
	}
	var found identity
	if err := json.Unmarshal(data, &found); err != nil || found.UUID == "" || found.Format < format {
		return identity{}, fmt.Errorf("store file %s is unreadable: restore it as {\"format\":%d,\"uuid\":\"…\"}", s.file(), format)
	}
	if found.Format > elsewhere {
		return identity{}, fmt.Errorf("store %s has format %d, this plugin knows formats %d and %d: use the newer plugin on this host too",
			s.dir, found.Format, format, elsewhere)
	}
	if (found.Format == elsewhere) != (found.Leases != "") {
		return identity{}, fmt.Errorf("store file %s does not say where its leases are: restore it", s.file())
	}
	return found, nil
}

// NewID makes a random identifier of 32 hexadecimal digits.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
