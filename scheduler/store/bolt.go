// Package store keeps the scheduler's state: one record for its header and one per node. A save writes the records that changed,
// in one transaction. It is a package of its own because nothing else of the scheduler touches a disk, or knows what a record is.
//
// Bolt keeps it in a file, a bolt database with one bucket per framework; ZooKeeper keeps it where several schedulers reach it.
//
// A state is never replaced by an empty one: a file, or the nodes in ZooKeeper, are made together with a first state, so that what
// holds none was damaged or belongs to somebody else, and is refused.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mooring/coordinator"
)

const lockTimeout = 3 * time.Second // another scheduler that is just ending has this long to let the file go

// headerKey sorts before the keys of nodes, which are 8 bytes.
var headerKey = []byte("header")

// Bolt is a store in a file. It holds a lock on it until it is closed.
type Bolt struct {
	db        *bolt.DB
	framework string
}

// Open opens the file at path. If there is none, it makes one that holds the given state; otherwise of that state only the
// framework's name matters. Missing directories are made, readable by their owner only.
func Open(path string, initial coordinator.State) (*Bolt, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, initial); err != nil {
			return nil, fmt.Errorf("create store %s: %w", path, err)
		}
	}
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	return &Bolt{db: db, framework: initial.Framework}, nil
}

// create makes the file under another name and links it into place when it is complete. If somebody else was faster, theirs
// stays.
func create(path string, initial coordinator.State) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	draft := fmt.Sprintf("%s.new-%d", path, os.Getpid())
	defer os.Remove(draft)
	db, err := open(draft)
	if err != nil {
		return err
	}
	s := &Bolt{db: db, framework: initial.Framework}
	if err := errors.Join(s.init(initial), db.Close()); err != nil {
		return err
	}
	if err := os.Link(draft, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func open(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("store %s: another scheduler uses this file: stop that one, or give each its own", path)
	case err != nil:
		return nil, fmt.Errorf("store %s is not readable (%w): restore it from a backup, or name another file to begin anew", path, err)
	}
	return db, nil
}

func (s *Bolt) init(initial coordinator.State) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(s.framework))
		if err != nil {
			return err
		}
		return put(b, changed(coordinator.State{}, initial))
	})
}

// Close lets the file go.
func (s *Bolt) Close() error { return s.db.Close() }

// Load implements scheduler.Store.
func (s *Bolt) Load(context.Context) (coordinator.State, error) {
	var state coordinator.State
	err := s.db.View(func(tx *bolt.Tx) error {
		b, err := s.bucket(tx)
		if err != nil {
			return err
		}
		state, err = read(b)
		return err
	})
	if err != nil {
		return coordinator.State{}, fmt.Errorf("store %s: %w", s.db.Path(), err)
	}
	return state, nil
}

// bucket returns the framework's bucket, or says whose are there.
func (s *Bolt) bucket(tx *bolt.Tx) (*bolt.Bucket, error) {
	if b := tx.Bucket([]byte(s.framework)); b != nil {
		return b, nil
	}
	holds := "nothing"
	var names []string
	err := tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
		names = append(names, fmt.Sprintf("%q", name))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list frameworks: %w", err)
	}
	if len(names) > 0 {
		holds = "framework " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("no state of framework %q in it, it holds %s: name the right framework or file, "+
		"or a file that does not exist yet to begin anew", s.framework, holds)
}

func read(b *bolt.Bucket) (coordinator.State, error) {
	var state coordinator.State
	var nodes []coordinator.Node
	found := false
	err := b.ForEach(func(key, value []byte) error {
		r, err := decode(value)
		switch {
		case err != nil:
			return fmt.Errorf("record %q: %w", printable(key), err)
		case r.Header != nil:
			state, found = *r.Header, true
		case int(r.Node.ID) != len(nodes)+1:
			return fmt.Errorf("record of node %d is missing: restore the file from a backup", len(nodes)+1)
		default:
			nodes = append(nodes, *r.Node)
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("record \"header\" is missing: restore the file from a backup")
	}
	state.Nodes = nodes
	return state, err
}

// Save implements scheduler.Store.
func (s *Bolt) Save(_ context.Context, before, after coordinator.State) error {
	c := changed(before, after)
	if c.none() {
		return nil
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := s.bucket(tx)
		if err != nil {
			return err
		}
		return put(b, c)
	})
	if err != nil {
		return fmt.Errorf("store %s: %w", s.db.Path(), err)
	}
	return nil
}

func put(b *bolt.Bucket, c changes) error {
	if c.header != nil {
		if err := putRecord(b, headerKey, record{Header: c.header}); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		if err := putRecord(b, nodeKey(c.nodes[i].ID), record{Node: &c.nodes[i]}); err != nil {
			return err
		}
	}
	return nil
}

func putRecord(b *bolt.Bucket, key []byte, r record) error {
	data, err := encode(r)
	if err != nil {
		return fmt.Errorf("encode record %q: %w", printable(key), err)
	}
	return b.Put(key, data)
}

// nodeKey sorts by number.
func nodeKey(id coordinator.NodeID) []byte {
	return binary.BigEndian.AppendUint64([]byte("node"), uint64(id))
}

func printable(key []byte) string {
	if len(key) == len("node")+8 && string(key[:4]) == "node" {
		return fmt.Sprintf("node %d", binary.BigEndian.Uint64(key[4:]))
	}
	return string(key)
}
