package test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
)

// says runs an order of an operator, shows it and returns what it prints.
func says(t *testing.T, d *deploy.Deployment, order ...string) string {
	t.Helper()
	out, err := d.Operate(within(t), order...)
	require.NoError(t, err)
	t.Logf("$ mooring %s\n%s", strings.Join(order, " "), out)
	return out
}

// orderMesos gives the Mesos master an order as its operator does.
func orderMesos(ctx context.Context, c *cell.Cell, path, order string) error {
	out, err := c.Command(ctx, "curl", "--fail-with-body", "--silent", "--show-error", "--header", "Content-Type: application/json",
		"--data", order, "http://"+c.Master+path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("curl --data '%s' http://%s%s: %w: %s", order, c.Master, path, err, out)
	}
	return nil
}

// An operator installs a framework, makes it larger, takes one host down for maintenance, puts a new scheduler in the place of
// the old one, drains another host, loses a third, and uninstalls: by the command line, and no document is lost on the way.
func TestStoryAnOperatorsWalk(t *testing.T) {
	d := deployed(t, deploy.Options{Framework: "walk", Image: elasticsearch8, Nodes: 2})
	_, err := d.AwaitNodes(within(t), 2)
	require.NoError(t, err)
	assert.Contains(t, says(t, d, "status"), "all is well")
	l := write(t, d, 2)

	says(t, d, "scale", "3")
	nodes, err := d.AwaitNodes(within(t), 3)
	require.NoError(t, err)
	says(t, d, "nodes")

	down := host(t, nodes[0].Place.Host)
	t.Cleanup(func() { _ = orderMesos(context.Background(), shared, "/maintenance/schedule", `{"windows":[]}`) }) // after a success there is nothing to do
	require.NoError(t, orderMesos(within(t), shared, "/maintenance/schedule", fmt.Sprintf(`{"windows":[{"machine_ids":[{"hostname":%q,"ip":%q}],"unavailability":{"start":{"nanoseconds":%d},"duration":{"nanoseconds":%d}}}]}`,
		down.Address, down.Address, time.Now().Add(5*time.Minute).UnixNano(), time.Hour.Nanoseconds())))
	now := moved(t, d, nodes, 1)
	require.NoError(t, orderMesos(within(t), shared, "/maintenance/schedule", `{"windows":[]}`))

	require.NoError(t, d.Stop())
	require.NoError(t, d.Start(within(t)))
	drained := now[1].Place.Agent
	reactivate := fmt.Sprintf(`{"type":"REACTIVATE_AGENT","reactivate_agent":{"agent_id":{"value":%q}}}`, drained)
	t.Cleanup(func() { _ = orderMesos(context.Background(), shared, "/api/v1", reactivate) })
	require.NoError(t, orderMesos(within(t), shared, "/api/v1", fmt.Sprintf(`{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":%q}}}`, drained)))
	now = moved(t, d, now, 2)
	require.NoError(t, orderMesos(within(t), shared, "/api/v1", reactivate))

	require.NoError(t, host(t, now[2].Place.Host).Kill(within(t)))
	now = moved(t, d, now, 3)
	require.NoError(t, d.AwaitCluster(within(t), 3, "green"))
	audit(t, l)
	assert.Contains(t, says(t, d, "status"), "all is well")

	_, err = d.Operate(within(t), "uninstall")
	require.ErrorContains(t, err, "If that is meant, give --yes")
	says(t, d, "uninstall", "--yes")
	require.NoError(t, d.AwaitEnd(within(t)), "the scheduler ends in order")
	_, err = d.Operate(within(t), "status")
	require.ErrorContains(t, err, "no scheduler answers at http://")
	for _, n := range now {
		running, err := d.Containers(within(t), host(t, n.Place.Host), "--quiet")
		require.NoError(t, err)
		assert.Empty(t, running)
	}
	volumes := docker(t, host(t, now[0].Place.Host), "volume", "ls", "--format", "{{.Name}}")
	assert.Contains(t, volumes, "walk1data", "volumes are kept")
}

// moved waits until one node runs on another host than it did, and checks that the others were left alone.
func moved(t *testing.T, d *deploy.Deployment, before []deploy.Node, id int) []deploy.Node {
	t.Helper()
	require.NoError(t, d.AwaitRelaunch(within(t), before[id-1]))
	says(t, d, "nodes")
	after, err := d.Nodes(within(t))
	require.NoError(t, err)
	for i, n := range after {
		if n.ID == id {
			assert.NotEqual(t, before[i].Place.Host, n.Place.Host)
		} else {
			assert.Equal(t, before[i].Epoch, n.Epoch, "node %d", n.ID)
		}
	}
	return after
}
