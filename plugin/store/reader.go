package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// ErrElsewhere says that a store's leases are not kept in the store itself.
var ErrElsewhere = errors.New("its leases are kept elsewhere")

// Existing finds the store in dir for one who only reads its leases: it makes nothing, and a store that is not there is an error.
func Existing(dir string) (*Store, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, Explain(fmt.Errorf("look for store directory %s: %w", dir, err))
	}
	s := &Store{dir: dir, root: filepath.Join(resolved, "mooring")}
	s.identity, err = s.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no store in %s (%w): mount the store there, or name the directory that hosts have as store.source", dir, err)
	}
	if err == nil && s.identity.Leases != "" {
		err = fmt.Errorf("store %s: %w, in %s", dir, ErrElsewhere, s.identity.Leases)
	}
	if err != nil {
		return nil, Explain(err)
	}
	return s, nil
}

// Same tells whether the directory still holds this store. Unlike Check it does not mind a store that cannot be written.
func (s *Store) Same() error { return Explain(s.same()) }
