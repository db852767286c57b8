package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/deploy"
)

// An index that no node may have makes the cluster red. Then no node leaves a host that goes down, none is restarted, and `mooring
// status` says why and what to do. Once the index has a place, all three nodes go one after the other, each when the shards of the one
// before have recovered, and no document is lost.
func TestStoryNodesAreMovedAndRestartedAsTheClusterAllows(t *testing.T) {
	d := deployed(t, deploy.Options{Framework: "gated", Image: elasticsearch8, Nodes: 3})
	nodes, err := d.AwaitNodes(within(t), 3)
	require.NoError(t, err)
	l := write(t, d, 3)
	shows(t, d, "the cluster is green\n")

	index := "http://" + nodes[0].HTTP() + "/nowhere"
	put := func(url, body string) {
		t.Helper()
		out, err := shared.Command(within(t), "curl", "--fail-with-body", "--silent", "--show-error", "--request", "PUT",
			"--header", "Content-Type: application/json", "--data", body, url).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	put(index+"?wait_for_active_shards=0", `{"settings":{"number_of_shards":1,"number_of_replicas":0,"index.routing.allocation.require.box":"none"}}`)
	shows(t, d, "the cluster is red, 1 unassigned: documents cannot be reached, and no node is moved or restarted\n  to do: ask Elasticsearch why: `curl http://")

	down := host(t, nodes[0].Place.Host)
	t.Cleanup(func() { _ = orderMesos(context.Background(), shared, "/maintenance/schedule", `{"windows":[]}`) }) // after a success there is nothing to do
	require.NoError(t, orderMesos(within(t), shared, "/maintenance/schedule", fmt.Sprintf(`{"windows":[{"machine_ids":[{"hostname":%q,"ip":%q}],"unavailability":{"start":{"nanoseconds":%d},"duration":{"nanoseconds":%d}}}]}`,
		down.Address, down.Address, time.Now().Add(5*time.Minute).UnixNano(), time.Hour.Nanoseconds())))
	for _, id := range []string{"2", "3"} {
		out, err := d.Operate(within(t), "restart", id)
		require.NoError(t, err)
		assert.Contains(t, out, "is restarted later, as epoch 2; its restart waits: the cluster is red, 1 unassigned. `mooring restart "+id+" --now`")
	}
	shows(t, d, "it is not moved yet: the cluster is red, 1 unassigned")
	now, err := d.Nodes(within(t))
	require.NoError(t, err)
	for _, n := range now {
		assert.Equal(t, 1, n.Epoch, "node %d", n.ID)
	}

	put(index+"/_settings", `{"index.routing.allocation.require.box":null}`)
	for _, n := range nodes {
		require.NoError(t, d.AwaitRelaunch(within(t), n))
	}
	require.NoError(t, d.AwaitCluster(within(t), 3, "green"))
	shows(t, d, "all is well")
	after, err := d.Nodes(within(t))
	require.NoError(t, err)
	assert.NotEqual(t, nodes[0].Place.Host, after[0].Place.Host)
	for _, n := range after {
		assert.Equal(t, 2, n.Epoch, "node %d", n.ID)
	}
	wellAtEachKill(t, d, 3)
	audit(t, l)
}

// shows waits until `mooring status` shows a text, whether all is well or not.
func shows(t *testing.T, d *deploy.Deployment, text string) {
	t.Helper()
	await(t, "the status to say "+text, func() error {
		out, err := d.Operate(within(t), "status")
		if strings.Contains(out, text) {
			t.Logf("$ mooring status\n%s", out)
			return nil
		}
		return errors.Join(err, errors.New(out))
	})
}

// wellAtEachKill holds the scheduler's log against what is promised: what was told of the cluster before a node was stopped.
func wellAtEachKill(t *testing.T, d *deploy.Deployment, want int) {
	t.Helper()
	log, err := os.ReadFile(d.Log())
	require.NoError(t, err)
	killed, told := map[string]bool{}, "nothing"
	tasks, healths := regexp.MustCompile(`"@message":"killing".*"task":"([^"]*)"`), regexp.MustCompile(`, which is ([^"]*)"`)
	for line := range strings.Lines(string(log)) {
		if h := healths.FindStringSubmatch(line); h != nil {
			told = h[1]
		}
		if k := tasks.FindStringSubmatch(line); k != nil && !killed[k[1]] {
			killed[k[1]] = true
			t.Logf("%s is stopped, the cluster is %s", k[1], told)
			assert.NotRegexp(t, "nothing|red|initializing|delayed", told, k[1])
		}
	}
	assert.Len(t, killed, want)
}
