package plugin_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/doctor"
)

// stubCoordinator runs until it is ended, and has trouble.
type stubCoordinator struct{ runs, ended chan struct{} }

func (s *stubCoordinator) Run(ctx context.Context) {
	close(s.runs)
	<-ctx.Done()
	close(s.ended)
}

func (s *stubCoordinator) Trouble() string { return "scheduler.yaml is missing" }

func TestTheCoordinatorRunsAsLongAsTheDriverAndDoesNotHarmIt(t *testing.T) {
	coordinator := &stubCoordinator{runs: make(chan struct{}), ended: make(chan struct{})}
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Socket, cfg.Coordinator = filepath.Join(t.TempDir(), "mooring.sock"), coordinator
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- plugin.Run(ctx, cfg) }()
	<-coordinator.runs
	_, err := os.Stat(cfg.Socket)
	require.NoError(t, err, "the driver listens first")
	cancel()
	require.NoError(t, <-ended)
	<-coordinator.ended
}

func TestOperatorsAreToldWhyAHostIsNoCoordinator(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Coordinator = &stubCoordinator{}
	h := start(t, cfg)
	h.create("v")
	found, err := h.Diagnose(t.Context())
	require.NoError(t, err)
	at := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.Kind == doctor.NoCoordinator })
	require.GreaterOrEqual(t, at, 0, "%v", found)
	assert.Equal(t, "scheduler.yaml is missing", found[at].What)
	assert.Equal(t, "scheduler.yaml is missing", h.Survey().Coordinator)
	require.Eventually(t, func() bool { return h.Health() == nil }, patience, 5*time.Millisecond, "its volumes do not suffer")
}

func TestTheProgramIsPlacedForExecutors(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Binary = filepath.Join(t.TempDir(), "program")
	placed := filepath.Join(cfg.StateDir, plugin.BinaryPath)
	awaitContent := func(want string) os.FileInfo {
		t.Helper()
		require.Eventually(t, func() bool {
			content, err := os.ReadFile(placed)
			return err == nil && string(content) == want
		}, patience, 5*time.Millisecond)
		info, err := os.Stat(placed)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o755), info.Mode())
		return info
	}
	first := "#!/bin/sh\nread line\n" + string(bytes.Repeat([]byte("#\n"), 100_000))
	require.NoError(t, os.WriteFile(cfg.Binary, []byte(first), 0o700))
	start(t, cfg).crash()
	before := awaitContent(first)
	draft := filepath.Join(filepath.Dir(placed), ".mooring.4711")
	require.NoError(t, os.WriteFile(draft, []byte("half"), 0o600))
	h := start(t, cfg)
	require.Eventually(t, func() bool { _, err := os.Stat(draft); return os.IsNotExist(err) }, patience, 5*time.Millisecond)
	h.crash()
	assert.True(t, os.SameFile(before, awaitContent(first)), "the same again is left alone")

	executor := exec.Command(placed)
	in, err := executor.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, executor.Start())
	second := first[:len(first)-2] + "##"
	require.NoError(t, os.WriteFile(cfg.Binary, []byte(second), 0o700))
	start(t, cfg)
	awaitContent(second)
	_, err = in.Write([]byte("end\n"))
	require.NoError(t, err)
	require.NoError(t, executor.Wait(), "what runs goes on with the old one")
}
