package backend_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/mounts/mountstest"
)

var moment = backend.Copying{Confirm: func() error { return nil }}

// onReflinks runs a test for each file system in an image on a store that can share blocks.
func onReflinks(t *testing.T, test func(t *testing.T, i backend.Image, v backend.Spec, target string)) {
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		for _, storeFS := range mountstest.Reflinking {
			t.Run(fs+" on "+storeFS, func(t *testing.T) {
				store := mountstest.Store(t, storeFS)
				i, v, target := image(t, fs)
				v.Dir = filepath.Join(store, "es1data")
				require.NoError(t, os.Mkdir(v.Dir, 0o755))
				test(t, i, v, target)
				require.NoError(t, i.Unmount(t.Context(), target))
			})
		}
	}
}

// sibling is a new volume beside v.
func sibling(t *testing.T, v backend.Spec, target, name string) (backend.Spec, string) {
	t.Helper()
	v.Dir = filepath.Join(filepath.Dir(v.Dir), name)
	require.NoError(t, os.Mkdir(v.Dir, 0o755))
	at := filepath.Join(filepath.Dir(target), name)
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	return v, at
}

func text(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(data)
}

func TestASnapshotIsWhatTheVolumeWas(t *testing.T) {
	onReflinks(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		file := filepath.Join(target, "f")
		require.NoError(t, os.WriteFile(file, []byte("before"), 0o600)) // and not synced
		kept, err := i.Snapshot(t.Context(), v, target, "monday", moment)
		require.NoError(t, err)
		assert.Equal(t, v.Size, kept.Size)
		require.NoError(t, os.WriteFile(file, []byte("after"), 0o600), "writers go on")
		_, err = i.Snapshot(t.Context(), v, target, "monday", moment)
		assert.EqualError(t, err, "there is a snapshot monday already: remove it first, or choose another name")
		found, err := i.Snapshots(v)
		require.NoError(t, err)
		assert.Equal(t, []backend.Snapshot{kept}, found)

		old, oldAt := sibling(t, v, target, "old")
		require.NoError(t, i.Clone(t.Context(), old, backend.Source{Spec: v, Snapshot: "monday"}, moment))
		now, nowAt := sibling(t, v, target, "now")
		require.NoError(t, i.Clone(t.Context(), now, backend.Source{Spec: v, Target: target}, moment))
		require.NoError(t, i.Mount(t.Context(), old, oldAt))
		require.NoError(t, i.Mount(t.Context(), now, nowAt), "all three at once on one host")
		assert.Equal(t, []string{"before", "after"}, []string{text(t, oldAt, "f"), text(t, nowAt, "f")})
		require.NoError(t, os.WriteFile(filepath.Join(oldAt, "f"), []byte("mine"), 0o600))
		assert.Equal(t, "after", text(t, target, "f"), "a clone is its own")
		for at, spec := range map[string]backend.Spec{oldAt: old, nowAt: now} {
			require.NoError(t, i.Unmount(t.Context(), at))
			assertSound(t, spec)
		}

		require.NoError(t, i.RemoveSnapshot(v, "monday"))
		assert.ErrorContains(t, i.RemoveSnapshot(v, "monday"), "there is no snapshot monday")
		err = i.Clone(t.Context(), old, backend.Source{Spec: v, Snapshot: "monday"}, moment)
		assert.EqualError(t, err, "volume es1data has no snapshot monday")
		left, err := os.ReadDir(filepath.Join(v.Dir, "snapshots"))
		require.NoError(t, err)
		assert.Empty(t, left)
	})
}

// The lease was lost while the copy was made: it may be of two hosts' writing.
func TestACopyThatIsNotConfirmedIsNone(t *testing.T) {
	onReflinks(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		lost := backend.Copying{Confirm: func() error { return errors.New("lost") }}
		_, err := i.Snapshot(t.Context(), v, target, "s", lost)
		require.EqualError(t, err, "lost")
		other, _ := sibling(t, v, target, "other")
		require.EqualError(t, i.Clone(t.Context(), other, backend.Source{Spec: v, Target: target}, lost), "lost")
		for _, dir := range []string{filepath.Join(v.Dir, "snapshots"), other.Dir} {
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left)
		}
		require.NoError(t, os.WriteFile(filepath.Join(target, "f"), nil, 0o600), "not frozen")
	})
}

// frozen is an image that a plugin which died left frozen. Were it not thawed, the next call would hang for ever.
func TestAnImageThatWasLeftFrozenIsThawed(t *testing.T) {
	const freeze, thaw = 0xc0045877, 0xc0045878
	eachImage(t, func(t *testing.T, i backend.Image, v backend.Spec, target string) {
		mounted(t, i, v, target)
		held, err := os.Open(target) // as a container has it
		require.NoError(t, err)
		defer held.Close()
		defer unix.IoctlSetInt(int(held.Fd()), thaw, 0)
		for _, next := range []func() error{
			func() error { return i.Mount(t.Context(), v, target) },
			func() error { // the engine unmounted it meanwhile, a container still has it
				require.NoError(t, unix.Unmount(target, unix.MNT_DETACH))
				return i.Mount(t.Context(), v, target)
			},
		} {
			require.NoError(t, unix.IoctlSetInt(int(held.Fd()), freeze, 0))
			require.NoError(t, next())
			require.NoError(t, os.WriteFile(filepath.Join(target, "f"), nil, 0o600))
		}
		require.NoError(t, unix.IoctlSetInt(int(held.Fd()), freeze, 0))
		require.NoError(t, held.Close())
		require.NoError(t, i.Unmount(t.Context(), target))
		assert.Empty(t, devices(t, v))
	})
}

func TestAStoreWithoutReflinksCopiesAll(t *testing.T) {
	store := mountstest.Store(t, "ext4")
	i, v, target := image(t, backend.Ext4)
	v.Dir = filepath.Join(store, "es1data")
	require.NoError(t, os.Mkdir(v.Dir, 0o755))
	mounted(t, i, v, target)
	require.NoError(t, os.WriteFile(filepath.Join(target, "f"), make([]byte, 3*mib), 0o600))
	_, err := i.Snapshot(t.Context(), v, target, "s", moment)
	require.ErrorIs(t, err, backend.ErrNoReflinks)
	require.NoError(t, os.WriteFile(filepath.Join(target, "g"), nil, 0o600), "not frozen")

	var done, total int64
	whole := moment
	whole.Whole = true
	whole.Progress = func(d, t int64) { done, total = d, t }
	_, err = i.Snapshot(t.Context(), v, target, "s", whole)
	assert.ErrorContains(t, err, "the volume is in use, and its writers would have to wait until all is copied: stop its containers first")
	require.NoError(t, i.Unmount(t.Context(), target))
	_, err = i.Snapshot(t.Context(), v, target, "s", whole)
	require.NoError(t, err)
	assert.Greater(t, total, int64(3*mib))
	assert.Equal(t, total, done)
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(v.Dir, "snapshots/s/image"), &stat))
	assert.Less(t, stat.Blocks*512, int64(100*mib), "holes stay holes")
	assert.EqualValues(t, v.Size, stat.Size)

	clone, at := sibling(t, v, target, "clone")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, i.Clone(stopped, clone, backend.Source{Spec: v, Snapshot: "s"}, whole), context.Canceled)
	require.NoError(t, i.Clone(t.Context(), clone, backend.Source{Spec: v, Snapshot: "s"}, whole))
	require.NoError(t, i.Mount(t.Context(), clone, at))
	assert.Len(t, text(t, at, "f"), 3*mib)
	require.NoError(t, i.Unmount(t.Context(), at))
	assertSound(t, clone)
}
