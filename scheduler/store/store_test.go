package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/store"
	"mooring/scheduler/store/storetest"
)

var (
	_ scheduler.Store = (*store.Bolt)(nil)
	_ scheduler.Store = (*storetest.Memory)(nil)
)

func TestBoltKeepsTheContract(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "mooring.db")
	var last *store.Bolt
	storetest.Contract(t, func(initial coordinator.State) scheduler.Store {
		if last != nil {
			require.NoError(t, last.Close())
		}
		var err error
		last, err = store.Open(path, initial)
		require.NoError(t, err)
		return last
	})
	require.NoError(t, last.Close())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "the draft is gone")
}

func TestMemoryKeepsTheContract(t *testing.T) {
	var memory *storetest.Memory
	storetest.Contract(t, func(initial coordinator.State) scheduler.Store {
		if memory == nil {
			memory = storetest.NewMemory(initial)
		}
		return memory
	})
}

func TestAFileInUseIsRefused(t *testing.T) {
	path := made(t)
	first, err := store.Open(path, coordinator.NewState("es", 3))
	require.NoError(t, err)
	defer first.Close()
	_, err = store.Open(path, coordinator.NewState("es", 3))
	assert.ErrorContains(t, err, path+": another scheduler uses this file")
}

// made makes a store and returns its path.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mooring.db")
	s, err := store.Open(path, coordinator.NewState("es", 3))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return path
}

func TestNothingIsReplacedByAnEmptyState(t *testing.T) {
	es := func(change func(b *bolt.Bucket) error) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return change(tx.Bucket([]byte("es"))) }
	}
	node := []byte("node\x00\x00\x00\x00\x00\x00\x00\x02")
	for name, c := range map[string]struct {
		harm func(*bolt.Tx) error
		says string
	}{
		"bucket missing":  {func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("es")) }, `no state of framework "es" in it, it holds nothing`},
		"header missing":  {es(func(b *bolt.Bucket) error { return b.Delete([]byte("header")) }), `record "header" is missing: restore`},
		"node missing":    {es(func(b *bolt.Bucket) error { return b.Delete(node) }), "record of node 2 is missing: restore"},
		"no JSON":         {es(func(b *bolt.Bucket) error { return b.Put(node, []byte("{")) }), `record "node 2": not readable`},
		"another record":  {es(func(b *bolt.Bucket) error { return b.Put(node, []byte("{}")) }), `record "node 2": not a record of mooring`},
		"a newer version": {es(func(b *bolt.Bucket) error { return b.Put(node, []byte(`{"version":3}`)) }), "written by a newer mooring (record version 3"},
		"another framework": {func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("logs"))
			return errorsOr(err, tx.DeleteBucket([]byte("es")))
		}, `it holds framework "logs"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			damage(t, path, c.harm)
			s, err := store.Open(path, coordinator.NewState("es", 3))
			require.NoError(t, err)
			defer s.Close()
			_, err = s.Load(t.Context())
			require.ErrorContains(t, err, c.says)
			assert.ErrorContains(t, err, path)
		})
	}
}

func errorsOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func damage(t *testing.T, path string, harm func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(harm))
	require.NoError(t, db.Close())
}

func TestFilesThatAreNoStore(t *testing.T) {
	for name, content := range map[string][]byte{
		"text":      []byte("this is not a database, and it is longer than one would think at first sight"),
		"zeros":     make([]byte, 64<<10),
		"cut short": nil,
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			if content == nil {
				require.NoError(t, os.Truncate(path, 5000))
			} else {
				require.NoError(t, os.WriteFile(path, content, 0o600))
			}
			_, err := store.Open(path, coordinator.NewState("es", 3))
			require.ErrorContains(t, err, path+" is not readable")
			assert.ErrorContains(t, err, "restore it from a backup")
		})
	}
}

func TestAnEmptyFileIsNoNewStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mooring.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	s, err := store.Open(path, coordinator.NewState("es", 3))
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Load(t.Context())
	assert.ErrorContains(t, err, `no state of framework "es" in it`)
}
