package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/api"
)

// told is a scheduler whose only node is the elected master, which said so much of its cluster.
func told(h coordinator.Health) *fake {
	f := well()
	f.view.State.Nodes[0].Health, f.view.State.Nodes[0].HealthAt = h, time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)
	return f
}

func TestStatusShowsTheHealthOfTheCluster(t *testing.T) {
	var s api.Status
	get(t, well(), "/v1/status", &s)
	assert.Nil(t, s.Health, "nobody told it")
	h := coordinator.Health{Status: "yellow", Nodes: 1, Unassigned: 3}
	get(t, told(h), "/v1/status", &s)
	assert.Equal(t, &api.Health{Health: h, Told: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC), By: 1}, s.Health)
	assert.Empty(t, s.Problems, "copies that have no place are missing in every small cluster")
}

func TestARedClusterIsAProblem(t *testing.T) {
	var s api.Status
	get(t, told(coordinator.Health{Status: "red", Nodes: 1, Unassigned: 3}), "/v1/status", &s)
	const what = "the cluster is red, 3 unassigned: documents cannot be reached, and no node is moved or restarted"
	assert.Equal(t, []api.Problem{{What: what, Do: "ask Elasticsearch why: `curl http://10.0.0.1:9200/_cluster/allocation/explain`; " +
		"shards that failed too often are tried again with `curl -X POST http://10.0.0.1:9200/_cluster/reroute?retry_failed=true`"}}, s.Problems)

	get(t, told(coordinator.Health{Status: "red", Nodes: 1, Initializing: 2}), "/v1/status", &s)
	assert.Equal(t, "wait: shards are being recovered", s.Problems[0].Do)

	f := newFake()
	f.view.State.Nodes[0].Health = coordinator.Health{Status: "red", Initializing: 1}
	get(t, f, "/v1/status", &s)
	assert.Equal(t, "bring the nodes back that are not ready: most likely their volumes have what is missing", s.Problems[0].Do)
}

// Nothing is missing for ever: the volumes of a node that was stopped for good are kept.
func TestARedClusterMayMissNodesThatWereStoppedForGood(t *testing.T) {
	f := told(coordinator.Health{Status: "red", Nodes: 1, Unassigned: 3})
	for _, joined := range []bool{true, false} {
		f.view.State.Nodes = append(f.view.State.Nodes, coordinator.Node{ID: coordinator.NodeID(len(f.view.State.Nodes) + 1), Phase: coordinator.Vacant, Joined: joined})
	}
	var s api.Status
	get(t, f, "/v1/status", &s)
	assert.Contains(t, s.Problems[0].Do, "nodes [2] were retired or scaled down: if only their volumes have what is missing, run them again (`mooring keep N`, or a larger `mooring scale`). "+
		"Otherwise ask Elasticsearch why: ")
}

func TestANodeIsRetiredAlthoughTheClusterIsUnwell(t *testing.T) {
	f := told(coordinator.Health{Status: "yellow", Nodes: 1, Unassigned: 3})
	f.view.State.Nodes[0].Intent = coordinator.Retire
	var n api.Node
	get(t, f, "/v1/nodes/1", &n)
	assert.Equal(t, "is stopped for good, although the cluster is yellow, 3 unassigned", n.Waits)
	f.view.State.Nodes[0].Health.Status = "green"
	n = api.Node{}
	get(t, f, "/v1/nodes/1", &n)
	assert.Empty(t, n.Waits)
}

func TestHealthIsMeasured(t *testing.T) {
	_, text := ask(t, well(), "GET", "/metrics", "")
	assert.NotContains(t, text, "mooring_cluster_health{", "what nobody told is not 0")
	_, text = ask(t, told(coordinator.Health{Status: "red", Nodes: 1, Initializing: 1, Relocating: 2, Delayed: 3, Unassigned: 4}), "GET", "/metrics", "")
	for _, line := range []string{
		`mooring_cluster_health{status="green"} 0`, `mooring_cluster_health{status="yellow"} 0`, `mooring_cluster_health{status="red"} 1`,
		`mooring_cluster_shards{state="initializing"} 1`, `mooring_cluster_shards{state="relocating"} 2`,
		`mooring_cluster_shards{state="delayed"} 3`, `mooring_cluster_shards{state="unassigned"} 4`,
	} {
		assert.Contains(t, text, line+"\n")
	}
}

func TestAMoveAndARestartThatWaitForTheClusterSaySo(t *testing.T) {
	f := told(coordinator.Health{Status: "yellow", Nodes: 1, Delayed: 2, Unassigned: 2})
	f.view.State.Leaving = map[string]coordinator.Window{"a1": {Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	var s api.Status
	get(t, f, "/v1/status", &s)
	assert.Equal(t, []api.Problem{{
		Node: 1, What: "its host goes down for maintenance at 2026-01-02T03:04:05Z; it is not moved yet: the cluster is yellow, 2 delayed, 2 unassigned",
		Do: "wait, or mend what it waits for; otherwise the node goes down with its host, in order, and is launched elsewhere then",
	}}, s.Problems)
	f.view.State.Nodes[0].Intent = coordinator.Restart
	var n api.Node
	get(t, f, "/v1/nodes/1", &n)
	assert.Equal(t, "its restart waits: the cluster is yellow, 2 delayed, 2 unassigned", n.Waits)
}

func TestARestartMayBeOrderedNow(t *testing.T) {
	for query, now := range map[string]bool{"": false, "?now=false": false, "?now=true": true} {
		f := newFake()
		status, body := ask(t, f, "POST", "/v1/nodes/2/restart"+query, "")
		require.Equal(t, http.StatusOK, status, body)
		assert.Equal(t, now, f.orders[0].(coordinator.Order).Now)
	}
	for path, says := range map[string]string{
		"restart?now=soon": `now=\"soon\": use now=true, or nothing`, "retire?now=true": `order \"retire\" with now: only restart can wait`,
	} {
		f := newFake()
		status, body := ask(t, f, "POST", "/v1/nodes/2/"+path, "")
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Contains(t, body, says)
		assert.Empty(t, f.orders)
	}
}
