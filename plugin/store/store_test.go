package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/store"
)

func open(t *testing.T, dir, expected string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, expected)
	require.NoError(t, err)
	return s
}

func sample(name string) store.Volume {
	return store.Volume{Format: 1, ID: store.NewID(), Name: name, Class: "data", UID: 1000, Mode: 0o770,
		Created: time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)}
}

func TestAStoreIsMadeOnceAndRecognised(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, "")
	assert.Equal(t, first.UUID(), open(t, dir, "").UUID(), "a second host uses the same store")
	assert.Equal(t, first.UUID(), open(t, dir, first.UUID()).UUID())
	assert.NotEqual(t, first.UUID(), open(t, t.TempDir(), "").UUID())
}

func TestAMissingOrSwappedStoreIsNeverReplaced(t *testing.T) {
	old := open(t, t.TempDir(), "").UUID()

	empty := t.TempDir()
	_, err := store.Open(empty, old)
	require.ErrorContains(t, err, empty+" is missing")
	require.ErrorContains(t, err, old)
	require.ErrorContains(t, err, "if the plugin was just upgraded disable it, set store.source, state.source and config.source again")
	require.NoFileExists(t, filepath.Join(empty, "mooring/store.json"))

	other := t.TempDir()
	found := open(t, other, "").UUID()
	_, err = store.Open(other, old)
	require.ErrorContains(t, err, "its UUID is "+found+", expected "+old)
	require.ErrorContains(t, err, "if the plugin was just upgraded")

	nowhere := filepath.Join(empty, "nowhere")
	_, err = store.Open(nowhere, "")
	require.ErrorContains(t, err, "store directory "+nowhere+" is missing")
	require.ErrorContains(t, err, "store.source")
	require.NoDirExists(t, nowhere)
}

func TestVolumesWithoutStoreFileAreNotAnEmptyStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "")
	require.NoError(t, s.Announce(sample("v")))
	require.NoError(t, os.Remove(filepath.Join(dir, "mooring/store.json")))
	_, err := store.Open(dir, "")
	assert.ErrorContains(t, err, "holds volumes but its store.json is gone")
}

// elsewhere is a place for leases.
type elsewhere struct {
	kind     string
	prepared []string
	fails    error
}

func (e *elsewhere) Kind() string { return e.kind }

func (e *elsewhere) Prepare(store string) error {
	e.prepared = append(e.prepared, store)
	return e.fails
}

// Two hosts that looked for leases in different places would both write: the first one decides for good.
func TestAllHostsKeepLeasesInOnePlace(t *testing.T) {
	dir, place := t.TempDir(), &elsewhere{kind: "zookeeper"}
	first, err := store.OpenAt(dir, "", place)
	require.NoError(t, err)
	assert.Equal(t, []string{first.UUID()}, place.prepared, "before the store is there")
	for _, expected := range []string{"", first.UUID()} {
		second, err := store.OpenAt(dir, expected, place)
		require.NoError(t, err)
		assert.Equal(t, first.UUID(), second.UUID())
		_, err = store.Open(dir, expected)
		require.ErrorContains(t, err, "keeps its leases in zookeeper, this host would look for them in files: set LEASES to the address that the store was made with")
		_, err = store.OpenAt(dir, expected, &elsewhere{kind: "other"})
		require.ErrorContains(t, err, "keeps its leases in zookeeper, this host would look for them in other")
	}
	assert.Len(t, place.prepared, 1)

	dir = t.TempDir()
	inside := open(t, dir, "")
	for _, expected := range []string{"", inside.UUID()} {
		_, err = store.OpenAt(dir, expected, place)
		require.ErrorContains(t, err, "keeps its leases in its own files, this host would look for them in zookeeper: set LEASES=files")
	}
	require.NoError(t, inside.Check())
	assert.Len(t, place.prepared, 1, "nothing is made for a store that is not to use it")
}

// An older plugin knows nothing of other places and must not take such a store for one with no leases.
func TestAnOlderPluginRefusesAStoreWithLeasesElsewhere(t *testing.T) {
	dir := t.TempDir()
	_, err := store.OpenAt(dir, "", &elsewhere{kind: "zookeeper"})
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "mooring/store.json"))
	require.NoError(t, err)
	assert.Contains(t, string(data), `"format":2,`)
}

func TestWithoutItsPlaceNoStoreIsMade(t *testing.T) {
	dir := t.TempDir()
	_, err := store.OpenAt(dir, "", &elsewhere{kind: "zookeeper", fails: errors.New("no server can be reached")})
	require.ErrorContains(t, err, "make room for its leases: no server can be reached")
	require.NoFileExists(t, filepath.Join(dir, "mooring/store.json"))
}

func TestStoreFilesOfTheFutureAreRefused(t *testing.T) {
	for content, message := range map[string]string{
		`{"format":3,"uuid":"x"}`:                      "format 3, this plugin knows formats 1 and 2",
		`{"format":2,"uuid":"x"}`:                      "does not say where its leases are",
		`{"format":1,"uuid":"x","leases":"zookeeper"}`: "does not say where its leases are",
		`{`: "unreadable",
		``:  "unreadable",
	} {
		dir := t.TempDir()
		open(t, dir, "")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "mooring/store.json"), []byte(content), 0o600))
		_, err := store.Open(dir, "")
		assert.ErrorContains(t, err, message)
	}
}

func TestAVolumesLife(t *testing.T) {
	s := open(t, t.TempDir(), "")
	v := sample("v")
	_, err := s.Read("v")
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, s.Announce(v))
	require.ErrorIs(t, s.Announce(sample("v")), fs.ErrExist, "another host comes second")
	got, err := s.Read("v")
	require.NoError(t, err)
	require.Equal(t, v, got)

	v.Used = true
	require.NoError(t, s.Settle(v))
	got, err = s.Read("v")
	require.NoError(t, err)
	require.Equal(t, v, got)
	names, err := s.Names()
	require.NoError(t, err)
	require.Equal(t, []string{"v"}, names)

	_, err = s.Discard(v, 0, 0)
	require.NoError(t, err)
	exists, err := s.Exists("v")
	require.NoError(t, err)
	require.False(t, exists)
	require.True(t, s.WasRemoved(v.ID))
	require.False(t, s.WasRemoved(store.NewID()))
	require.NoError(t, s.EmptyTrash(time.Now()))
	trash, err := os.ReadDir(filepath.Join(filepath.Dir(s.Leases().Beats), "trash"))
	require.NoError(t, err)
	require.Empty(t, trash)
}

func TestWithdrawLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir(), "")
	require.NoError(t, s.Announce(sample("v")))
	require.NoError(t, s.Withdraw("v"))
	exists, err := s.Exists("v")
	require.NoError(t, err)
	assert.False(t, exists)
	assert.NoError(t, s.Withdraw("v"))
}

func TestUnreadableVolumeFiles(t *testing.T) {
	for content, message := range map[string]string{
		"\x00\x00\x00":                         store.ErrBlank.Error(),
		"":                                     store.ErrBlank.Error(),
		"{":                                    "restore it before the volume can be used",
		`{"format":1,"id":"i","name":"other"}`: "not of volume v",
		`{"format":9,"id":"i","name":"v"}`:     "format 9",
		`{"format":1,"id":"i","name":"v","mode":"999"}`: "unreadable",
	} {
		s := open(t, t.TempDir(), "")
		require.NoError(t, s.MakeDir("v"))
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir("v"), "volume.json"), []byte(content), 0o600))
		_, err := s.Read("v")
		assert.ErrorContains(t, err, message)
	}
}
