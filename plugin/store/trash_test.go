package store_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/store"
)

// thrown is a volume that was removed and is kept for that long.
func thrown(t *testing.T, s *store.Store, keep store.Delay) store.Removed {
	t.Helper()
	v := sample("v")
	v.ID = store.NewID()
	require.NoError(t, s.Announce(v))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir("v"), "image"), []byte(v.ID), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir("v"), "lease.3"), []byte("of the host that removes it"), 0o600))
	r, err := s.Discard(v, 0, keep)
	require.NoError(t, err)
	return r
}

func entries(t *testing.T, s *store.Store) []string {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(filepath.Dir(s.Leases().Beats), "trash"))
	require.NoError(t, err)
	names := []string{}
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

func TestTheTrashKeepsAVolumeUntilItsTime(t *testing.T) {
	s := open(t, t.TempDir(), "")
	r := thrown(t, s, store.Delay(time.Hour))
	assert.Equal(t, time.Hour, r.Until.Sub(r.At))
	require.NoError(t, s.EmptyTrash(r.Until.Add(-time.Second)))
	found, err := s.Trash()
	require.NoError(t, err)
	assert.Equal(t, []store.Removed{r}, found)
	require.NoError(t, s.EmptyTrash(r.Until))
	assert.Empty(t, entries(t, s))

	thrown(t, s, 0)
	found, err = s.Trash()
	require.NoError(t, err)
	assert.Empty(t, found, "nothing promises that it is still whole")
	require.NoError(t, s.EmptyTrash(time.Now()))
	assert.Empty(t, entries(t, s))
}

func TestAVolumeComesBackFromTheTrash(t *testing.T) {
	s := open(t, t.TempDir(), "")
	r := thrown(t, s, store.Delay(time.Hour))
	require.True(t, s.WasRemoved(r.ID))
	require.NoError(t, s.MakeDir("v"), "what a crash in the middle of a creation leaves")
	require.NoError(t, s.Restore(r))
	data, err := os.ReadFile(filepath.Join(s.Dir("v"), "image"))
	require.NoError(t, err)
	assert.Equal(t, r.ID, string(data))
	assert.False(t, s.WasRemoved(r.ID))
	for _, gone := range []string{"removed.json", "lease.3"} {
		assert.NoFileExists(t, filepath.Join(s.Dir("v"), gone))
	}
	assert.Empty(t, entries(t, s))
}

// A volume that was made again under its old name is another one.
func TestTheTrashNeverTouchesANameMadeAgain(t *testing.T) {
	s := open(t, t.TempDir(), "")
	first, second := thrown(t, s, store.Delay(time.Hour)), thrown(t, s, store.Delay(time.Hour))
	again := sample("v")
	require.NoError(t, s.Announce(again))
	assert.EqualError(t, s.Restore(first), "restore volume v: there is another one of that name: remove that first")
	require.NoError(t, s.EmptyTrash(time.Now()))
	found, err := s.Trash()
	require.NoError(t, err)
	assert.ElementsMatch(t, []store.Removed{first, second}, found)
	require.NoError(t, s.EmptyTrash(first.Until.Add(time.Minute)))
	assert.Empty(t, entries(t, s))
	got, err := s.Read("v")
	require.NoError(t, err)
	assert.Equal(t, again.ID, got.ID)
}

func TestWhatNobodyUnderstandsStaysInTheTrash(t *testing.T) {
	s := open(t, t.TempDir(), "")
	r := thrown(t, s, store.Delay(time.Hour))
	require.NoError(t, os.WriteFile(filepath.Join(s.Thrown(r), "removed.json"), []byte("{"), 0o600))
	assert.ErrorContains(t, s.EmptyTrash(r.Until.Add(time.Hour)), "removed.json is unreadable: its volume stays in the trash")
	_, err := s.Trash()
	assert.ErrorContains(t, err, "is unreadable")
	assert.Len(t, entries(t, s), 1)
}

// A delay of an attempt that a crash ended does not outlive it.
func TestALaterRemovalCounts(t *testing.T) {
	s := open(t, t.TempDir(), "")
	v := sample("v")
	require.NoError(t, s.Announce(v))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir("v"), "removed.json"), []byte("{}"), 0o600))
	_, err := s.Discard(v, 0, 0)
	require.NoError(t, err)
	require.NoError(t, s.EmptyTrash(time.Now()))
	assert.Empty(t, entries(t, s))
}

func TestDelays(t *testing.T) {
	for text, want := range map[string]string{"24h": "24h", "90m": "1h30m", "45s": "45s", "0": "0s", "1h0m5s": "1h0m5s"} {
		var d store.Delay
		require.NoError(t, d.UnmarshalText([]byte(text)))
		assert.Equal(t, want, d.String())
	}
	for _, text := range []string{"", "1d", "-1h", "24"} {
		var d store.Delay
		assert.ErrorContains(t, d.UnmarshalText([]byte(text)), "is not a time such as 24h or 30m")
	}
}
