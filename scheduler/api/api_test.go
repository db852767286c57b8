package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a scheduler that shows what it is told to and remembers orders.
type fake struct {
	view   scheduler.View
	counts map[string]int64
	orders []coordinator.Event
	err    error
}

func (f *fake) View() scheduler.View { return f.view }

func (f *fake) Counters() map[string]int64 {
	counts := map[string]int64{}
	for name, n := range f.counts {
		counts[name] = n
	}
	return counts
}

func (f *fake) Apply(_ context.Context, e coordinator.Event) error {
	f.orders = append(f.orders, e)
	return f.err
}

func newFake() *fake {
	s := coordinator.NewState("es", 3)
	s.FrameworkID, s.ClusterUUID = "id-1", "uuid-1"
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s.Nodes[0] = coordinator.Node{
		ID: 1, Epoch: 4, Phase: coordinator.Running, Since: since, Ready: true,
		Place: coordinator.Place{Agent: "a1", Host: "10.0.0.1", HTTPPort: 9200, TransportPort: 9300},
	}
	s.Nodes[1] = coordinator.Node{ID: 2, Epoch: 1, Phase: coordinator.Vacant, Failures: 2, NotBefore: time.Now().Add(time.Hour), Problem: "no such image"}
	return &fake{view: scheduler.View{
		State: s, Loaded: true, Turned: time.Now(), Subscribed: "master:5050", Roles: []string{"test"},
		Rules: coordinator.Rules{CPUs: 1500, MemoryMB: 2048, Settings: coordinator.Settings{
			Cluster: "logs", Image: "elasticsearch:8.19.5", Driver: "mooring",
			DriverOptions: map[string]string{"size": "1G", "secretKey": "hush"},
		}},
		Notes:   map[coordinator.NodeID]coordinator.Note{3: {Node: 3, Text: "no offer fits: 14 with less than 2048 MB of memory"}},
		Details: map[coordinator.NodeID]scheduler.Detail{1: {Task: "es-1-4", State: "TASK_RUNNING", Version: "8.19.5"}},
	}}
}

// ask sends a request and returns status and body.
func ask(t *testing.T, f *fake, method, path, body string) (int, string) {
	t.Helper()
	h, err := api.Handler(f, api.Options{})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func get(t *testing.T, f *fake, path string, into any) {
	t.Helper()
	status, body := ask(t, f, "GET", path, "")
	require.Equal(t, http.StatusOK, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), into))
}

func TestCluster(t *testing.T) {
	var c map[string]any
	get(t, newFake(), "/v1/cluster", &c)
	configuration := c["configuration"].(map[string]any)
	delete(c, "configuration")
	assert.Equal(t, map[string]any{
		"name": "logs", "framework": "es", "framework_id": "id-1", "cluster_uuid": "uuid-1", "master": "master:5050",
		"target": 3.0, "ready": 1.0, "phases": map[string]any{"running": 1.0, "vacant": 2.0},
	}, c)
	assert.Equal(t, 1.5, configuration["cpus"])
	assert.Equal(t, map[string]any{"size": "1G", "secretKey": "***"}, configuration["volume_options"])
}

func TestTasks(t *testing.T) {
	var tasks []map[string]any
	get(t, newFake(), "/v1/tasks", &tasks)
	assert.Equal(t, []map[string]any{{
		"id": "es-1-4", "state": "TASK_RUNNING", "name": "es1", "version": "8.19.5", "started_at": "2026-01-02T03:04:05Z",
		"http_address": "10.0.0.1:9200", "transport_address": "10.0.0.1:9300", "hostname": "10.0.0.1",
		"node": 1.0, "epoch": 4.0, "ready": true,
	}}, tasks)

	f := newFake()
	f.view.Details = nil
	f.view.State.Nodes[0].Phase = coordinator.Lost
	f.view.State.Nodes[0].Problem = "health check timed out"
	get(t, f, "/v1/tasks", &tasks)
	assert.Equal(t, "TASK_LOST", tasks[0]["state"])
	assert.Equal(t, "lost, and no offer so far: health check timed out", tasks[0]["waits"])

	f.view.State.Nodes = nil
	status, body := ask(t, f, "GET", "/v1/tasks", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "[]\n", body)
}

func TestNodesSayWhyTheyWait(t *testing.T) {
	f := newFake()
	var nodes []map[string]any
	get(t, f, "/v1/nodes", &nodes)
	require.Len(t, nodes, 3)
	assert.Equal(t, []any{"es1config", "es1data"}, nodes[0]["volumes"])
	assert.Equal(t, "es-1-4", nodes[0]["task"])
	assert.Equal(t, "8.19.5", nodes[0]["version"])
	assert.NotContains(t, nodes[0], "waits")
	assert.Equal(t, "next try in 1h0m0s after 2 failure(s): no such image", nodes[1]["waits"])
	assert.Equal(t, "no offer fits: 14 with less than 2048 MB of memory", nodes[2]["waits"])
	f.view.State.Nodes[2].Held = "volume es3data is empty"
	elsewhere := &f.view.State.Nodes[1]
	elsewhere.Failures, elsewhere.Problem = 0, "start container: volume es2data is held by host h7 (epoch 4, heartbeat 1s ago)"
	for _, c := range []struct {
		phase     coordinator.Phase
		notBefore time.Time
		want      string
	}{
		{coordinator.Vacant, time.Now().Add(time.Hour), "next try in 1h0m0s: " + elsewhere.Problem},
		{coordinator.Vacant, time.Time{}, "no offer since the latest launch ended: " + elsewhere.Problem},
		{coordinator.Claimed, time.Time{}, "launched again after: " + elsewhere.Problem},
	} {
		elsewhere.Phase, elsewhere.NotBefore = c.phase, c.notBefore
		get(t, f, "/v1/nodes", &nodes)
		assert.Equal(t, c.want, nodes[1]["waits"])
	}
	get(t, f, "/v1/nodes", &nodes)
	assert.Equal(t, "held until an operator decides (forgive): volume es3data is empty", nodes[2]["waits"])
}

func TestScale(t *testing.T) {
	for body, want := range map[string]int{`{"value":5}`: 5, ` {"value": 1} `: 1, `7`: 7, `10000`: 10000} {
		f := newFake()
		status, answer := ask(t, f, "PUT", "/v1/cluster/elasticsearchNodes", body)
		require.Equal(t, http.StatusOK, status, answer)
		require.Len(t, f.orders, 1)
		assert.Equal(t, want, f.orders[0].(coordinator.Scale).Target)
	}
	var now map[string]int
	get(t, newFake(), "/v1/cluster/elasticsearchNodes", &now)
	assert.Equal(t, map[string]int{"value": 3}, now)
}

func TestOrders(t *testing.T) {
	for verb, want := range map[string]func(coordinator.Event) bool{
		"restart": intends(coordinator.Restart), "retire": intends(coordinator.Retire), "keep": intends(coordinator.Keep),
		"forgive": func(e coordinator.Event) bool { f, ok := e.(coordinator.Forgive); return ok && f.Node == 2 },
	} {
		f := newFake()
		status, body := ask(t, f, "POST", "/v1/nodes/2/"+verb, "")
		require.Equal(t, http.StatusOK, status, body)
		require.Len(t, f.orders, 1)
		assert.True(t, want(f.orders[0]), "%s gives %v", verb, f.orders[0])
		assert.Contains(t, body, `"name":"es2"`)
	}
}

func TestUninstallWantsTheFrameworksName(t *testing.T) {
	f := newFake()
	status, body := ask(t, f, "POST", "/v1/uninstall", `{"framework":"logs"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, body, `use {\"framework\": \"es\"}, the name of the framework that is to go`)
	assert.Empty(t, f.orders)
	status, body = ask(t, f, "POST", "/v1/uninstall", `{"framework":"es"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Len(t, f.orders, 1)
	assert.IsType(t, coordinator.Uninstall{}, f.orders[0])
}

func TestAFrameworkThatGoesTakesNoOtherOrders(t *testing.T) {
	f := newFake()
	f.view.State.Removal = coordinator.Stopping
	for _, order := range [][3]string{{"PUT", "/v1/cluster/elasticsearchNodes", "4"}, {"POST", "/v1/nodes/1/restart", ""}, {"POST", "/v1/nodes/1/retire", ""}, {"POST", "/v1/nodes/1/keep", ""}} {
		status, body := ask(t, f, order[0], order[1], order[2])
		assert.Equal(t, http.StatusConflict, status, order)
		assert.Contains(t, body, "framework es is being uninstalled: of orders only forgive is taken")
	}
	assert.Empty(t, f.orders)
	status, _ := ask(t, f, "POST", "/v1/nodes/1/forgive", "")
	assert.Equal(t, http.StatusOK, status, "without it the end may be waited for in vain")
}

func intends(i coordinator.Intent) func(coordinator.Event) bool {
	return func(e coordinator.Event) bool {
		o, ok := e.(coordinator.Order)
		return ok && o.Node == 2 && o.Intent == i
	}
}

func TestBadInput(t *testing.T) {
	const form = `: use {"value": n} with n from 1 to 10000`
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/v1/cluster/elasticsearchNodes", "", 400, `body ""` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", "many", 400, `body "many"` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", `{"values":3}`, 400, `body "{\"values\":3}"` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", `{"value":"3"}`, 400, form},
		{"PUT", "/v1/cluster/elasticsearchNodes", `{"value":0}`, 400, `number of nodes 0` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", `-1`, 400, `number of nodes -1` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", `{"value":10001}`, 400, `number of nodes 10001` + form},
		{"PUT", "/v1/cluster/elasticsearchNodes", strings.Repeat("1", 5000), 400, `body of more than 4096 bytes` + form},
		{"POST", "/v1/nodes/x/restart", "", 400, `node "x": use its ID, a number from 1`},
		{"POST", "/v1/nodes/0/restart", "", 400, `node "0": use its ID, a number from 1`},
		{"POST", "/v1/nodes/4/restart", "", 404, `node 4: there are nodes 1 to 3`},
		{"POST", "/v1/nodes/1/explode", "", 400, `order "explode": use restart, retire, keep or forgive`},
		{"GET", "/v1/other", "", 404, `no resource for GET /v1/other`},
		{"GET", "/", "", 404, `no resource for GET /`},
	} {
		f := newFake()
		status, body := ask(t, f, c.method, c.path, c.body)
		assert.Equal(t, c.status, status, c.says)
		assert.Equal(t, 1, strings.Count(body, "\n"), "one line")
		var answer map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		assert.Contains(t, answer["error"], c.says)
		assert.Empty(t, f.orders)
	}
}

func TestAnOrderThatCannotBeSaved(t *testing.T) {
	f := newFake()
	f.err = errors.New("save state: disk full")
	status, body := ask(t, f, "PUT", "/v1/cluster/elasticsearchNodes", "4")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.JSONEq(t, `{"error":"save state: disk full"}`, body)
}

func TestProbes(t *testing.T) {
	for says, change := range map[string]func(*scheduler.View){
		"ready":                               func(*scheduler.View) {},
		"state not loaded":                    func(v *scheduler.View) { v.Loaded = false },
		"save state: disk full":               func(v *scheduler.View) { v.StoreError = "save state: disk full" },
		"no subscription with a Mesos master": func(v *scheduler.View) { v.Subscribed = "" },
	} {
		f := newFake()
		change(&f.view)
		status, body := ask(t, f, "GET", "/readyz", "")
		assert.Equal(t, says+"\n", body)
		assert.Equal(t, says == "ready", status == http.StatusOK)
		status, _ = ask(t, f, "GET", "/healthz", "")
		assert.Equal(t, http.StatusOK, status)
	}
	f := newFake()
	f.view.Loaded = false
	status, _ := ask(t, f, "GET", "/v1/nodes", "")
	assert.Equal(t, http.StatusServiceUnavailable, status)
}

func TestMetrics(t *testing.T) {
	f := newFake()
	f.counts = map[string]int64{`mooring_offers_declined_total{reason="with less than 2 ports"}`: 3}
	_, body := ask(t, f, "GET", "/metrics", "")
	for _, line := range []string{
		`mooring_offers_declined_total{reason="with less than 2 ports"} 3`, "mooring_subscribed 1", "mooring_store_ok 1",
		"mooring_launches_total 0", "mooring_problems 2", "mooring_nodes_held 0", `mooring_node_epoch{node="1"} 4`, "mooring_uninstalling 0",
		"# HELP mooring_nodes_wanted Nodes wanted.", "# TYPE mooring_nodes_wanted gauge", "# TYPE mooring_launches_total counter",
		`mooring_nodes{phase="running"} 1`, `mooring_nodes{phase="vacant"} 2`, `mooring_nodes{phase="lost"} 0`, "mooring_nodes_ready 1", "mooring_nodes_wanted 3",
	} {
		assert.Contains(t, strings.Split(body, "\n"), line)
	}
}

func TestHealth(t *testing.T) {
	f := newFake()
	f.view.Turned = time.Now().Add(-time.Hour)
	status, body := ask(t, f, "GET", "/healthz", "")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "nothing was done for 1h0m0s")
	f.view.Loaded = false
	status, _ = ask(t, f, "GET", "/healthz", "")
	assert.Equal(t, http.StatusOK, status, "it is only starting")
}

func TestTheBinaryIsServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mooring")
	require.NoError(t, os.WriteFile(path, []byte("ELF"), 0o755))
	h, err := api.Handler(newFake(), api.Options{Binary: path})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, h) }()
	response, err := http.Get("http://" + l.Addr().String() + api.ArtifactPath)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	assert.Equal(t, "ELF", string(body))
	cancel()
	require.NoError(t, <-done)
	http.DefaultClient.CloseIdleConnections()
}
