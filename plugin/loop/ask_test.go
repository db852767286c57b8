package loop_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/loop"
	"mooring/plugin/loop/looptest"
	"mooring/test/faultfs"
)

// bind binds an image below a directory to a device, until the returned function is called.
func bind(t *testing.T, dir string) (number int, release func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "image"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<20))
	d, err := loop.Attach(f, "")
	require.NoError(t, err)
	return d.Number(), func() {
		require.NoError(t, d.Close())
		require.NoError(t, f.Close())
		looptest.AwaitFree(t, d.Number(), f.Name())
	}
}

// One device hangs with its storage, the other one does not. Who asks again is told at once that the first one still hangs; when it
// answers it is let go of, and can be asked again.
func TestADeviceThatHangsIsAskedOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: loop devices take root")
	}
	at := t.TempDir()
	fs, err := faultfs.Mount(t.TempDir(), at)
	require.NoError(t, err)
	defer func() {
		require.Eventually(t, func() bool { return fs.Unmount() == nil }, time.Minute, 10*time.Millisecond)
		fs.Wait()
	}()
	hanging, releaseHanging := bind(t, at)
	healthy, releaseHealthy := bind(t, t.TempDir())
	defer releaseHealthy()
	defer releaseHanging()
	fs.Set(faultfs.Fault{Kind: faultfs.Hang})
	defer fs.Set(faultfs.Fault{})

	var asker loop.Asker
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, []loop.Answer{{Number: hanging, Err: loop.ErrSilent}}, asker.Open(impatient, []int{hanging}))
	told := make(chan []loop.Answer, 1)
	go func() { told <- asker.Open(context.Background(), []int{hanging, healthy}) }()
	select {
	case answers := <-told:
		assert.Equal(t, loop.Answer{Number: hanging, Err: loop.ErrSilent}, answers[0])
		require.NoError(t, answers[1].Err)
		assert.Equal(t, healthy, answers[1].Device.Number())
		require.NoError(t, answers[1].Device.Close())
	case <-time.After(time.Minute):
		require.Fail(t, "a device that hangs is asked again, and waited for")
	}

	fs.Set(faultfs.Fault{})
	require.Eventually(t, func() bool {
		answer := asker.Open(t.Context(), []int{hanging})[0]
		return answer.Err == nil && assert.NoError(t, answer.Device.Close())
	}, time.Minute, 5*time.Millisecond)
}
