package docker_test

import (
	"context"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/docker"
	"mooring/executor/runtimetest"
)

func settings() coordinator.Settings {
	return coordinator.Settings{Image: runtimetest.EmptyImage, Driver: "local", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 5}
}

func newRuntime(t *testing.T, host string) *docker.Runtime {
	t.Helper()
	runtime, err := docker.New(docker.Options{Host: host, Binary: runtimetest.BuildStub(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, runtime.Close()) })
	return runtime
}

func TestWithEngine(t *testing.T) {
	if !runtimetest.InOwnNetwork(t) {
		return
	}
	host := runtimetest.StartEngine(t)
	runtimetest.ImportEmpty(t, host)
	runtime := newRuntime(t, host)
	t.Run("contract", func(t *testing.T) { runtimetest.Contract(t, runtime, settings()) })
	t.Run("container", func(t *testing.T) { testContainer(t, runtime, runtimetest.Connect(t, host)) })
	t.Run("in words", func(t *testing.T) { testWords(t, runtime) })
}

// testContainer looks at a container with the Engine's eyes.
func testContainer(t *testing.T, runtime *docker.Runtime, engine *client.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	spec := executor.Spec{
		Name: "mooring-es-2", Labels: map[string]string{"mooring.epoch": "3"}, RunDir: t.TempDir(), Env: []string{"ELASTICSEARCH_NODE_ID=2"},
		Task: coordinator.Task{Framework: "es", Node: 2, Epoch: 3, MemoryMB: 100, Settings: settings()},
	}
	container, err := runtime.Start(ctx, spec)
	require.NoError(t, err)
	inspected, err := engine.ContainerInspect(ctx, container.ID, client.ContainerInspectOptions{})
	require.NoError(t, err)
	got := inspected.Container
	require.Equal(t, "/mooring-es-2", got.Name)
	require.Equal(t, "0:0", got.Config.User)
	require.Equal(t, "3", got.Config.Labels["mooring.epoch"])
	require.True(t, got.HostConfig.NetworkMode.IsHost())
	require.Equal(t, int64(100<<20), got.HostConfig.Memory)
	require.Equal(t, map[string]string{"max-size": "10m", "max-file": "3"}, got.HostConfig.LogConfig.Config)
	mounts := map[string]string{}
	for _, m := range got.Mounts {
		mounts[m.Destination] = m.Name + " " + m.Driver
		if m.Destination == "/mooring" {
			require.False(t, m.RW)
		}
	}
	require.Equal(t, map[string]string{"/tmp/config": "es2config local", "/data": "es2data local", "/mooring": " ", "/run/mooring": " "}, mounts)

	require.NoError(t, runtime.Stop(ctx, container.ID, 0))
	require.NoError(t, runtime.Remove(ctx, container.ID))
	volumes, err := engine.VolumeList(ctx, client.VolumeListOptions{})
	require.NoError(t, err)
	names := []string{}
	for _, v := range volumes.Items {
		names = append(names, v.Name)
	}
	require.Contains(t, names, "es2data", "volumes outlive their container")
}

func testWords(t *testing.T, runtime *docker.Runtime) {
	for name, c := range map[string]struct {
		change func(*coordinator.Settings)
		want   string
	}{
		"no driver":      {func(s *coordinator.Settings) { s.Driver = "nosuchdriver" }, `plugin "nosuchdriver" not found`},
		"no image":       {func(s *coordinator.Settings) { s.Image = "registry.invalid/nosuchimage:1" }, "pull image registry.invalid/nosuchimage:1: "},
		"bad image":      {func(s *coordinator.Settings) { s.Image = "No Image" }, "invalid reference format"},
		"driver refuses": {func(s *coordinator.Settings) { s.DriverOptions = map[string]string{"size": "x"} }, "size"},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings()
			c.change(&s)
			_, err := runtime.Start(t.Context(), executor.Spec{
				Name: "mooring-words-1", RunDir: t.TempDir(), Task: coordinator.Task{Framework: "words", Node: 1, Epoch: 1, MemoryMB: 64, Settings: s},
			})
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "Error response from daemon")
			if found, ok, err := runtime.Find(t.Context(), "mooring-words-1"); ok {
				require.NoError(t, err)
				require.NoError(t, runtime.Remove(t.Context(), found.ID))
			}
		})
	}
}

func TestNoEngine(t *testing.T) {
	runtime := newRuntime(t, "unix:///no/such/docker.sock")
	_, _, err := runtime.Find(t.Context(), "mooring-es-1")
	require.ErrorContains(t, err, "look for container mooring-es-1: no Docker Engine answers at unix:///no/such/docker.sock")
	_, err = runtime.Start(t.Context(), executor.Spec{Name: "mooring-es-1", Task: coordinator.Task{Settings: settings()}})
	require.ErrorContains(t, err, "create container mooring-es-1: no Docker Engine answers")
	_, err = runtime.Wait(t.Context(), "x")
	require.ErrorContains(t, err, "wait for container x: no Docker Engine answers")
}

func TestBadHost(t *testing.T) {
	_, err := docker.New(docker.Options{Host: "nonsense"})
	require.ErrorContains(t, err, `docker host "nonsense": write it as unix:///path or tcp://host:port`)
}
