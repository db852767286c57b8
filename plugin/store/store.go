// Package store lays out the directory that holds the volumes, shared by all hosts or not:
//
//	mooring/store.json              which store this is
//	mooring/volumes/<name>/         volume.json, lease.<epoch>, and the back end's own files
//	mooring/hosts/<host>/heartbeat  one for all leases of a host
//	mooring/removed/<volume ID>     volumes that were removed, so that other hosts forget them
//	mooring/trash/                  removed volumes on their way out
//
// A store that is missing, or is another one than before, is an error and never silently replaced.
package store

import (
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

// Store is the layout below one directory.
type Store struct {
	dir      string // as the operator gave it, for messages
	root     string
	identity identity
}

type identity struct {
	Format int    `json:"format"`
	UUID   string `json:"uuid"`
}

// Open finds the store in dir. Expected is the UUID it had before; only if there was none, and dir
// holds no volumes, a new store is made.
func Open(dir, expected string) (*Store, error) {
	s, err := find(dir, expected)
	return s, Explain(err)
}

func find(dir, expected string) (*Store, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store directory %s is missing (%w): create or mount it, or set store.source to a directory that exists", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("look for store directory %s: %w", dir, err)
	}
	s := &Store{dir: dir, root: filepath.Join(resolved, "mooring"), identity: identity{UUID: expected}}
	if expected == "" {
		if err := s.initialise(); err != nil {
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
func (s *Store) initialise() error {
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
	data, err := json.Marshal(identity{Format: format, UUID: NewID()})
	if err != nil {
		return err
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
	found, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s is missing: %s should hold UUID %s; mount the right directory there", s.dir, s.file(), s.UUID())
	}
	if err != nil {
		return err
	}
	if found.UUID != s.UUID() {
		return fmt.Errorf("store %s is another one: its UUID is %s, expected %s; mount the right directory there, "+
			"or to go over to this one stop the plugin and move its state directory away", s.dir, found.UUID, s.UUID())
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err == nil && fs.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("store %s: %w", s.dir, unix.EROFS)
	}
	return nil
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
	if found.Format > format {
		return identity{}, fmt.Errorf("store %s has format %d, this plugin knows format %d: use the newer plugin on this host too",
			s.dir, found.Format, format)
	}
	return found, nil
}

// NewID makes a random identifier of 32 hexadecimal digits.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
