package executor_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/executor/docker"
	"mooring/executor/rundir"
	"mooring/executor/runtimetest"
)

const (
	older    = "7.17.28"
	newer    = "8.19.5"
	images   = "/var/cache/mooring" // where the preparation of the end-to-end tests puts them
	formTime = 3 * time.Minute      // for a node to join; seconds on a machine that is not loaded
)

// TestRealElasticsearch runs one node through several lives, an upgrade and both forms of launch, with a real Elasticsearch
// and a real Docker Engine.
func TestRealElasticsearch(t *testing.T) {
	if !runtimetest.InOwnNetwork(t) {
		return
	}
	host := runtimetest.StartEngine(t)
	for _, version := range []string{older, newer} {
		runtimetest.LoadImage(t, host, filepath.Join(images, "elasticsearch-"+version+".tar"))
	}
	binary := runtimetest.Build(t, "mooring")
	r := &realScene{scene: newScene(t), engine: runtimetest.Connect(t, host), version: older, binary: binary}
	runtime, err := docker.New(docker.Options{Host: host, Binary: binary})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, runtime.Close()) })
	r.using = runtime
	r.task.MemoryMB = 1024
	r.task.InitialMasters = []string{"es2"}
	r.task.Settings = coordinator.Settings{
		Cluster: "real", Driver: "local", ConfigPath: "/tmp/config", DataPath: "/data",
		HeapMB: 128, JavaOptions: []string{"-XX:-UseG1GC", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch"}, StopSeconds: 30,
	}
	t.Run("first life", r.firstLife)
	r.version = newer
	t.Run("next life elsewhere, with a newer version", r.nextLife)
	t.Run("under the Docker containerizer", r.inContainer)
	r.version = older
	t.Run("with the older version again", r.downgrade)
	t.Run("emptied volume", r.emptied)
}

type realScene struct {
	*scene
	engine          *client.Client
	version, binary string
	uuid            string
}

// begin starts an executor for the next launch, at another address.
func (r *realScene) begin(t *testing.T) {
	r.t = t
	r.task.Epoch++
	r.task.Settings.Image = "elasticsearch:" + r.version
	r.agent = newFakeAgent(t)
	r.setEnvironment(t)
	r.run = rundir.Dir(t.TempDir())
	r.task.Place = coordinator.Place{Host: fmt.Sprintf("127.0.2.%d", r.task.Epoch), HTTPPort: 9200, TransportPort: 9300}
}

func (r *realScene) joined(t *testing.T) coordinator.RunReport {
	t.Helper()
	require.Eventually(t, func() bool {
		r.agent.mu.Lock()
		defer r.agent.mu.Unlock()
		return len(r.agent.statuses) >= 3
	}, formTime, 100*time.Millisecond)
	report := runReport(t, r.agent.untilStates("STARTING RUNNING RUNNING"))
	require.NotEmpty(t, report.Health.Status, "the only node is the elected master")
	require.Equal(t, 1, report.Health.Nodes)
	report.Health = coordinator.Health{} // changes while shards are recovered, see recovered
	return report
}

// recovered waits until the executor has told that the cluster of one node is as well as it can be, with so many copies missing.
func (r *realScene) recovered(t *testing.T, want coordinator.Health) {
	t.Helper()
	r.agent.until("health "+want.String(), func() bool {
		return runReport(t, &r.agent.statuses[len(r.agent.statuses)-1]).Health == want
	})
}

func (r *realScene) base() string {
	return "http://" + coordinator.Address(r.task.Place.Host, r.task.Place.HTTPPort)
}

func (r *realScene) call(t *testing.T, method, path, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.base()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode, string(text))
	return string(text)
}

func (r *realScene) countDocuments(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		health, err := elasticsearch.NewClient(coordinator.Address(r.task.Place.Host, r.task.Place.HTTPPort), nil).Health(t.Context())
		return err == nil && health.Status == "green"
	}, formTime, 100*time.Millisecond)
	require.Contains(t, r.call(t, http.MethodGet, "/docs/_search?size=0&track_total_hits=true", ""), `"total":{"value":500,`)
}

func (r *realScene) killed(t *testing.T) {
	t.Helper()
	r.kill(0)
	r.agent.untilStates("STARTING RUNNING RUNNING KILLING KILLED")
}

func (r *realScene) firstLife(t *testing.T) {
	r.begin(t)
	r.start()
	r.launch()
	report := r.joined(t)
	require.True(t, report.Ready)
	require.Equal(t, r.version, report.Version)
	r.uuid = report.Cluster

	var bulk strings.Builder
	for i := range 500 {
		fmt.Fprintf(&bulk, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
	}
	created := "{\"settings\":{\"number_of_replicas\":0}}"
	r.put(t, "/docs", created)
	require.Contains(t, r.call(t, http.MethodPost, "/docs/_bulk?refresh=true", bulk.String()), `"errors":false`)
	r.countDocuments(t)
	r.recovered(t, coordinator.Health{Status: "green", Nodes: 1})
	r.put(t, "/docs/_settings", `{"index":{"number_of_replicas":1}}`)
	r.recovered(t, coordinator.Health{Status: "yellow", Nodes: 1, Unassigned: 1})
	r.put(t, "/docs/_settings", `{"index":{"number_of_replicas":0}}`)
	r.killed(t)
	require.NoError(t, r.end())

	data := r.mountpoint(t, coordinator.Data)
	info, err := os.Stat(filepath.Join(data, "elasticsearch"))
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.Equal(t, [2]uint32{1000, 0}, [2]uint32{stat.Uid, stat.Gid})
	log, err := os.ReadFile(filepath.Join(data, "logs", "real.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "closed", "it ended by itself")
	marker, err := os.ReadFile(filepath.Join(data, ".mooring.json"))
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"format":1,"framework":"es","node":2,"epoch":%d,"joined":true,"cluster_uuid":%q,"version":%q}`,
		r.task.Epoch, r.uuid, r.version), string(marker))
}

func (r *realScene) put(t *testing.T, path, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.base()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func (r *realScene) mountpoint(t *testing.T, kind coordinator.Kind) string {
	t.Helper()
	volume, err := r.engine.VolumeInspect(t.Context(), coordinator.VolumeName("es", 2, kind), client.VolumeInspectOptions{})
	require.NoError(t, err)
	return volume.Volume.Mountpoint
}

func (r *realScene) nextLife(t *testing.T) {
	r.task.InitialMasters, r.task.ClusterUUID, r.task.Joined = nil, r.uuid, true
	r.begin(t)
	r.start()
	r.launch()
	require.Equal(t, coordinator.RunReport{Ready: true, Cluster: r.uuid, Version: r.version}, r.joined(t))
	r.countDocuments(t)
	r.recovered(t, coordinator.Health{Status: "green", Nodes: 1})
	r.killed(t)
	require.NoError(t, r.end())
}

// inContainer starts the executor as the Docker containerizer does: inside the container that requests the volumes.
func (r *realScene) inContainer(t *testing.T) {
	r.begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), formTime)
	defer cancel()
	sandbox := t.TempDir()
	environment := []string{"MESOS_SANDBOX=/mnt/mesos/sandbox"}
	for _, name := range []string{"FRAMEWORK_ID", "EXECUTOR_ID", "DIRECTORY", "AGENT_ENDPOINT", "EXECUTOR_SHUTDOWN_GRACE_PERIOD"} {
		environment = append(environment, "MESOS_"+name+"="+os.Getenv("MESOS_"+name))
	}
	created, err := r.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "mesos-1",
		Config: &container.Config{
			Image: r.task.Settings.Image, User: "0:0", Env: environment, Entrypoint: []string{"/mnt/mesos/sandbox/mooring", "executor", "--in-container"},
		},
		HostConfig: &container.HostConfig{NetworkMode: "host", Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: "es2config", Target: "/tmp/config"},
			{Type: mount.TypeVolume, Source: "es2data", Target: "/data"},
			{Type: mount.TypeBind, Source: sandbox, Target: "/mnt/mesos/sandbox"},
			{Type: mount.TypeBind, Source: r.binary, Target: "/mnt/mesos/sandbox/mooring"},
		}},
	})
	require.NoError(t, err)
	_, err = r.engine.ContainerStart(ctx, created.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	r.launch()
	require.Equal(t, coordinator.RunReport{Ready: true, Cluster: r.uuid, Version: r.version}, r.joined(t))
	r.countDocuments(t)
	r.killed(t)
	wait := r.engine.ContainerWait(ctx, created.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case exit := <-wait.Result:
		require.Zero(t, exit.StatusCode)
	case err := <-wait.Error:
		require.NoError(t, err)
	}
	_, err = r.engine.ContainerRemove(ctx, created.ID, client.ContainerRemoveOptions{})
	require.NoError(t, err)
}

func (r *realScene) downgrade(t *testing.T) {
	r.begin(t)
	r.start()
	r.launch()
	status := r.agent.untilStates("STARTING RUNNING FAILED")
	require.Equal(t, coordinator.FaultNode, runReport(t, status).Fault)
	require.Equal(t, "volume es2data was written by Elasticsearch 8.19.5, which 7.17.28 cannot read: use an image of 8.19.5 or later", status.GetMessage())
	require.NoError(t, r.end())
}

func (r *realScene) emptied(t *testing.T) {
	_, err := r.engine.VolumeRemove(t.Context(), "es2data", client.VolumeRemoveOptions{})
	require.NoError(t, err)
	r.begin(t)
	r.start()
	r.launch()
	status := r.agent.untilStates("STARTING RUNNING FAILED")
	require.Equal(t, coordinator.FaultRefused, runReport(t, status).Fault)
	require.Equal(t, "volume es2data is empty but node 2 has joined cluster "+r.uuid+" before: bring its data back, or give it up with `mooring nodes forgive 2`", status.GetMessage())
	require.NoError(t, r.end())
}
