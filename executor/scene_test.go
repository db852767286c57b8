package executor_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/rundir"
	"mooring/executor/runtimetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is an executor between a fake agent, a fake runtime and a fake Elasticsearch.
type scene struct {
	t       *testing.T
	agent   *fakeAgent
	runtime *runtimetest.Fake
	using   executor.Runtime // the fake, unless a test has a real one
	driver  executor.Driver  // nil, unless a test has one
	cluster atomic.Value     // string: UUID that Elasticsearch answers with, empty while it forms
	task    coordinator.Task
	run     rundir.Dir
	marks   rundir.Dir         // of the node
	cancel  context.CancelFunc // like a SIGTERM
	ended   chan error
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, agent: newFakeAgent(t), runtime: &runtimetest.Fake{}, run: rundir.Dir(filepath.Join(t.TempDir(), "run")), ended: make(chan error, 1)}
	s.cluster.Store("")
	s.using, s.marks = s.runtime, s.run
	elasticsearch := httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(elasticsearch.Close)
	address, err := url.Parse(elasticsearch.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	s.task = coordinator.Task{
		Framework: "es", Node: 2, Epoch: 3, MemoryMB: 512,
		Place:    coordinator.Place{Host: address.Hostname(), HTTPPort: port, TransportPort: 9300},
		Settings: coordinator.Settings{Image: "elasticsearch:8.19.5", Driver: "mooring", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 7},
	}
	s.setEnvironment(t)
	return s
}

// setEnvironment is what an agent gives its executors.
func (s *scene) setEnvironment(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"MESOS_FRAMEWORK_ID": "fw", "MESOS_EXECUTOR_ID": "ex", "MESOS_DIRECTORY": t.TempDir(), "MESOS_SANDBOX": t.TempDir(),
		"MESOS_AGENT_ENDPOINT": s.agent.endpoint(), "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "10secs", "MESOS_CHECKPOINT": "1",
		"MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "50ms",
	} {
		t.Setenv(name, value)
	}
}

// answer is Elasticsearch.
func (s *scene) answer(w http.ResponseWriter, r *http.Request) {
	uuid, _ := s.cluster.Load().(string)
	switch {
	case strings.HasPrefix(r.URL.Path, "/_nodes/_local"):
		_, _ = w.Write([]byte(`{"nodes":{"a":{"version":"8.19.5"}}}`))
	case uuid == "":
		_, _ = w.Write([]byte(`{"metadata":{"cluster_uuid":"_na_"}}`))
	default:
		if joined, ok, _ := s.marks.Joined(); ok { // what the node does then
			_ = s.marks.SetStatus(rundir.Status{Phase: rundir.Started, Marked: joined.Cluster})
		}
		_, _ = w.Write([]byte(`{"master_node":"m","metadata":{"cluster_uuid":"` + uuid + `"}}`))
	}
}

// start starts the executor.
func (s *scene) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.t.Cleanup(cancel)
	go func() {
		s.ended <- executor.Run(ctx, s.using, executor.Options{RunDir: string(s.run), Driver: s.driver})
	}()
}

// end waits for the executor to return.
func (s *scene) end() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.cancel()
		return err
	case <-time.After(enough):
		require.FailNow(s.t, "the executor does not return")
		return nil
	}
}

func (s *scene) info() mesos.TaskInfo {
	data, err := json.Marshal(s.task)
	require.NoError(s.t, err)
	return mesos.TaskInfo{Name: "es2", TaskID: mesos.TaskID{Value: s.task.ID()}, AgentID: mesos.AgentID{Value: "a"}, Data: data}
}

func (s *scene) launch() {
	s.t.Helper()
	s.agent.send(launchOf(s.info()))
}

func launchOf(info mesos.TaskInfo) mesosexec.Event {
	return mesosexec.Event{Type: mesosexec.Event_LAUNCH, Launch: &mesosexec.Event_Launch{Task: info}}
}

func (s *scene) kill(grace time.Duration) {
	s.t.Helper()
	kill := &mesosexec.Event_Kill{TaskID: mesos.TaskID{Value: s.task.ID()}}
	if grace > 0 {
		kill.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: int64(grace)}}
	}
	s.agent.send(mesosexec.Event{Type: mesosexec.Event_KILL, Kill: kill})
}

// stop ends a scene whose story is over.
func (s *scene) stop() {
	s.t.Helper()
	s.cancel()
	require.NoError(s.t, s.end())
}

func runReport(t *testing.T, status *mesos.TaskStatus) coordinator.RunReport {
	t.Helper()
	var report coordinator.RunReport
	require.NoError(t, json.Unmarshal(status.Data, &report))
	return report
}
