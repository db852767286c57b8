package loop_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/loop"
	"mooring/plugin/loop/looptest"
)

// file is a sparse file, opened.
func file(t *testing.T) *os.File {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: loop devices take root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	f, err := os.Create(filepath.Join(dir, "image"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	require.NoError(t, f.Truncate(1<<20))
	return f
}

func TestADeviceShowsItsFileUntilItIsClosed(t *testing.T) {
	f := file(t)
	d, err := loop.Attach(f, "a label")
	require.NoError(t, err)
	var stat, other unix.Stat_t
	require.NoError(t, unix.Fstat(int(f.Fd()), &stat))
	require.NoError(t, unix.Stat("/", &other))
	assert.True(t, d.Shows(stat))
	assert.False(t, d.Shows(other))
	assert.Equal(t, "a label", d.Label())
	assert.True(t, d.DirectIO(), "the disk of the tests can")
	bound, err := loop.Bound()
	require.NoError(t, err)
	assert.Equal(t, f.Name(), bound[d.Number()])

	again, err := loop.Open(d.Number())
	require.NoError(t, err)
	require.NoError(t, d.Close())
	assert.Equal(t, "a label", again.Label())
	require.NoError(t, again.Close())
	looptest.AwaitFree(t, d.Number(), f.Name())
	next, err := loop.Open(d.Number())
	if err == nil { // another process of this machine was given it at once
		assert.False(t, next.Shows(stat))
		assert.NoError(t, next.Close())
		return
	}
	assert.ErrorIs(t, err, loop.ErrFree)
}

// A file system that knows no direct I/O gets a device all the same, which says so.
func TestAFileThatTakesNoDirectIO(t *testing.T) {
	f := file(t)
	dir := filepath.Dir(f.Name())
	require.NoError(t, unix.Mount("ramfs", dir, "ramfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	cached, err := os.Create(filepath.Join(dir, "image"))
	require.NoError(t, err)
	defer cached.Close()
	require.NoError(t, cached.Truncate(1<<20))
	d, err := loop.Attach(cached, "")
	require.NoError(t, err)
	assert.False(t, d.DirectIO())
	require.NoError(t, d.Close())
	looptest.AwaitFree(t, d.Number(), cached.Name())
}

func TestResizeFollowsTheFile(t *testing.T) {
	f := file(t)
	d, err := loop.Attach(f, "")
	require.NoError(t, err)
	defer d.Close()
	size := func() int64 {
		device, err := os.Open(d.Path())
		require.NoError(t, err)
		defer device.Close()
		end, err := device.Seek(0, 2)
		require.NoError(t, err)
		return end
	}
	assert.EqualValues(t, 1<<20, size())
	require.NoError(t, f.Truncate(3<<20))
	require.NoError(t, d.Resize())
	assert.EqualValues(t, 3<<20, size())
}

func TestAttachAtOnceByMany(t *testing.T) {
	var all sync.WaitGroup
	for range 16 {
		f := file(t)
		all.Go(func() {
			d, err := loop.Attach(f, "")
			if !assert.NoError(t, err) {
				return
			}
			var stat unix.Stat_t
			assert.NoError(t, unix.Fstat(int(f.Fd()), &stat))
			assert.True(t, d.Shows(stat))
			assert.NoError(t, d.Close())
		})
	}
	all.Wait()
}

func TestALabelThatIsTooLong(t *testing.T) {
	_, err := loop.Attach(file(t), strings.Repeat("x", loop.LabelSize+1))
	assert.ErrorContains(t, err, "longer than 63 bytes")
}
