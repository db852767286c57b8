package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/doctor"
	"mooring/plugin/loop"
	"mooring/plugin/loop/looptest"
	"mooring/test/faultfs"
)

// faulty is a directory that is reached through a file system which fails on demand.
func faulty(t *testing.T) (*faultfs.FS, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting takes root")
	}
	at, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	fs, err := faultfs.Mount(t.TempDir(), at)
	require.NoError(t, err)
	t.Cleanup(func() {
		fs.Set(faultfs.Fault{})
		require.Eventually(t, func() bool { return fs.Unmount() == nil }, patience, 10*time.Millisecond)
		fs.Wait()
	})
	return fs, at
}

// silent are the findings about devices that do not answer.
func silent(found []doctor.Finding) []doctor.Finding {
	var them []doctor.Finding
	for _, f := range found {
		if f.Kind == doctor.DeviceSilent {
			them = append(them, f)
		}
	}
	return them
}

// A loop device shows an image on storage that hangs, another one than this host's store: the doctor names the device and tells all
// else that it finds. To look for the containers of the volume of that name it would have to ask the device, so it does not.
func TestADeviceThatDoesNotAnswerIsNamed(t *testing.T) {
	ctx := context.Background()
	fs, at := faulty(t)
	cfg := configure(t, "hostA", t.TempDir())
	cfg.CallBudget, cfg.Heartbeat = 10*time.Second, 100*time.Millisecond
	h := start(t, cfg)
	h.create("v")
	h.create("w")
	path := filepath.Join(at, "v", "image")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	image, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, image.Truncate(1<<20))
	device, err := loop.Attach(image, "somebody's")
	require.NoError(t, err)
	bound := true
	release := func() {
		if bound {
			bound = false
			require.NoError(t, device.Close())
			require.NoError(t, image.Close())
		}
	}
	defer release()
	diagnosed := func() []doctor.Finding {
		t.Helper()
		found, err := h.Diagnose(ctx)
		require.NoError(t, err)
		return found
	}
	require.Eventually(t, func() bool { return len(diagnosed()) == 0 }, patience, 10*time.Millisecond)
	for _, name := range []string{"v", "w"} {
		require.NoError(t, os.WriteFile(filepath.Join(h.cfg.StoreDir, "mooring/volumes", name, "volume.json"), []byte("{"), 0o600))
	}
	require.Equal(t, []string{"unreadable v", "unreadable w"}, kinds(diagnosed()))

	fs.Set(faultfs.Fault{Kind: faultfs.Hang})
	defer fs.Set(faultfs.Fault{})
	for range 2 { // the second time without waiting for it again
		found := diagnosed()
		require.Equal(t, []string{"unreadable w", "device-silent"}, kinds(found))
		assert.Equal(t, device.Path(), found[1].Path)
		assert.Contains(t, found[1].What, device.Path()+" does not answer: the storage of its file "+path+" hangs")
	}

	fs.Set(faultfs.Fault{})
	require.Eventually(t, func() bool { return len(silent(diagnosed())) == 0 }, patience, 10*time.Millisecond)
	assert.Equal(t, []string{"unreadable v", "unreadable w"}, kinds(diagnosed()))
	release()
	looptest.AwaitFree(t, device.Number(), path) // neither a question that was given up nor its answer has it
}

// The store itself hangs, and with it the devices of the volumes in use: the doctor says so within its time.
func TestAStoreThatDoesNotAnswerIsNamedWithItsDevices(t *testing.T) {
	fs, at := faulty(t)
	cfg := configure(t, "hostA", at)
	cfg.CallBudget = 10 * time.Second
	h := start(t, cfg)
	h.createImage("v")
	h.mount("v", "id1")
	device := h.get("v").Status["device"].(string)

	fs.Set(faultfs.Fault{Kind: faultfs.Hang})
	defer fs.Set(faultfs.Fault{})
	found, err := h.Diagnose(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"store-unusable", "device-silent"}, kinds(found))
	assert.Contains(t, found[0].What, "no result within 2s, perhaps because store "+at+" does not answer")
	assert.Equal(t, device, found[1].Path)

	fs.Set(faultfs.Fault{})
	h.unmount("v", "id1")
	assertNoDevices(t, at)
}
