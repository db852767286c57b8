// Package runtimetest holds what every [executor.Runtime] must do, and a runtime in memory that does it too. Tests of the
// executor use that one.
package runtimetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
)

// Environment of a container that makes the stub behave otherwise.
const (
	Exit     = "STUB_EXIT=3"     // end at once with code 3
	Stubborn = "STUB_STUBBORN=1" // do not end on SIGTERM
)

const enough = 2 * time.Minute

// BuildStub builds the program that stands for mooring in these tests.
func BuildStub(t *testing.T) (path string) {
	t.Helper()
	return Build(t, "mooring/executor/runtimetest/testdata/stub")
}

// Contract checks a runtime whose binary is the stub. Image and driver are what the runtime needs to start it.
func Contract(t *testing.T, runtime executor.Runtime, settings coordinator.Settings) {
	spec := func(t *testing.T, name string, env ...string) executor.Spec {
		return executor.Spec{
			Name: "mooring-contract-" + name, Labels: map[string]string{"mooring.node": "7"}, RunDir: t.TempDir(),
			Env:  append([]string{"ELASTICSEARCH_NODE_ID=7"}, env...),
			Task: coordinator.Task{Framework: "contract-" + name + "-", Node: 7, Epoch: 1, MemoryMB: 64, Settings: settings},
		}
	}
	t.Run("life", func(t *testing.T) { testLife(t, runtime, spec(t, "life")) })
	t.Run("stubborn", func(t *testing.T) { testStubborn(t, runtime, spec(t, "stubborn", Stubborn)) })
	t.Run("killed at once", func(t *testing.T) { testKilled(t, runtime, spec(t, "killed", Stubborn)) })
	t.Run("ends by itself", func(t *testing.T) { testEnds(t, runtime, spec(t, "ends", Exit)) })
	t.Run("unknown", func(t *testing.T) { testUnknown(t, runtime) })
}

func started(t *testing.T, runtime executor.Runtime, spec executor.Spec) (context.Context, executor.Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	t.Cleanup(cancel)
	container, err := runtime.Start(ctx, spec)
	require.NoError(t, err)
	return ctx, container
}

// ready waits until the stub listens to signals.
func ready(t *testing.T, runtime executor.Runtime, spec executor.Spec) {
	t.Helper()
	if _, inMemory := runtime.(*Fake); inMemory {
		return
	}
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(filepath.Join(spec.RunDir, "started"))
		return err == nil && string(text) == "node id=7"
	}, enough, 10*time.Millisecond)
}

func removed(t *testing.T, runtime executor.Runtime, spec executor.Spec, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	require.NoError(t, runtime.Remove(ctx, id))
	_, ok, err := runtime.Find(ctx, spec.Name)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, runtime.Remove(ctx, id), "again")
	require.NoError(t, runtime.Stop(ctx, id, time.Second), "again")
	_, err = runtime.Wait(ctx, id)
	require.ErrorIs(t, err, executor.ErrGone)
}

func testLife(t *testing.T, runtime executor.Runtime, spec executor.Spec) {
	ctx, container := started(t, runtime, spec)
	require.Equal(t, spec.Labels["mooring.node"], container.Labels["mooring.node"])
	require.True(t, container.Running)
	ready(t, runtime, spec)

	found, ok, err := runtime.Find(ctx, spec.Name)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, container.ID, found.ID)
	require.True(t, found.Running)
	require.Equal(t, "7", found.Labels["mooring.node"])

	ended, err := runtime.Ended(ctx, spec.Labels)
	require.NoError(t, err)
	require.Empty(t, ended, "it runs")

	_, err = runtime.Start(ctx, spec)
	require.Error(t, err, "a name is used once")
	require.Error(t, runtime.Remove(ctx, container.ID), "it runs")

	waiting, stopWaiting := context.WithCancel(ctx)
	stopWaiting()
	_, err = runtime.Wait(waiting, container.ID)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, runtime.Stop(ctx, container.ID, time.Minute))
	exit, err := runtime.Wait(ctx, container.ID)
	require.NoError(t, err)
	require.Equal(t, executor.Exit{Code: 143}, exit)
	require.NoError(t, runtime.Stop(ctx, container.ID, time.Minute), "again")
	found, ok, err = runtime.Find(ctx, spec.Name)
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, found.Running)
	ended, err = runtime.Ended(ctx, spec.Labels)
	require.NoError(t, err)
	require.Equal(t, []executor.Container{found}, ended)
	ended, err = runtime.Ended(ctx, map[string]string{"mooring.node": "7", "mooring.framework": "other"})
	require.NoError(t, err)
	require.Empty(t, ended, "it has only one of these labels")
	removed(t, runtime, spec, container.ID)
}

func testStubborn(t *testing.T, runtime executor.Runtime, spec executor.Spec) {
	ctx, container := started(t, runtime, spec)
	ready(t, runtime, spec)
	require.NoError(t, runtime.Stop(ctx, container.ID, time.Second))
	exit, err := runtime.Wait(ctx, container.ID)
	require.NoError(t, err)
	require.Equal(t, 137, exit.Code)
	removed(t, runtime, spec, container.ID)
}

func testKilled(t *testing.T, runtime executor.Runtime, spec executor.Spec) {
	ctx, container := started(t, runtime, spec)
	ready(t, runtime, spec)
	require.NoError(t, runtime.Stop(ctx, container.ID, 0))
	exit, err := runtime.Wait(ctx, container.ID)
	require.NoError(t, err)
	require.Equal(t, 137, exit.Code)
	removed(t, runtime, spec, container.ID)
}

func testEnds(t *testing.T, runtime executor.Runtime, spec executor.Spec) {
	ctx, container := started(t, runtime, spec)
	exit, err := runtime.Wait(ctx, container.ID)
	require.NoError(t, err)
	require.Equal(t, executor.Exit{Code: 3}, exit)
	removed(t, runtime, spec, container.ID)
}

func testUnknown(t *testing.T, runtime executor.Runtime) {
	_, ok, err := runtime.Find(t.Context(), "mooring-contract-nobody")
	require.NoError(t, err)
	require.False(t, ok)
	_, err = runtime.Wait(t.Context(), "mooring-contract-nobody")
	require.ErrorIs(t, err, executor.ErrGone)
	require.NoError(t, runtime.Stop(t.Context(), "mooring-contract-nobody", 0))
	require.NoError(t, runtime.Remove(t.Context(), "mooring-contract-nobody"))
}
