package test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/deploy"
)

const (
	keeperAddress    = "127.0.1.254:2182"
	secondScheduler  = "127.0.1.254:31101"
	schedulersKeeper = "--zookeeper=zk://mooring:secret@" + keeperAddress + "/mooring"
)

// Of two schedulers the one that leads dies in the same moment as the host of a node. The other one takes over and brings the node
// back elsewhere, with everything acknowledged; the other node does not notice. The first one, started again, stands by, and passes
// on what an operator tells it.
func TestStoryTwoSchedulersOneCluster(t *testing.T) {
	ctx := within(t)
	startKeeper(t, shared, keeperAddress)

	o := deploy.Options{Framework: "pair", Image: elasticsearch8, Nodes: 2, Flags: []string{schedulersKeeper}}
	await(t, "ZooKeeper", func() error { // a scheduler that starts before it says so and ends
		conn, err := shared.Dial(ctx, "tcp", keeperAddress)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	first := deployed(t, o)
	o.Listen = secondScheduler
	binary, err := filepath.Abs("../build/mooring")
	require.NoError(t, err)
	o.Binary = binary
	second := deploy.New(shared, o)
	require.NoError(t, second.Start(ctx))
	t.Cleanup(func() { require.NoError(t, second.Stop()) })
	nodes, err := second.AwaitNodes(ctx, 2)
	require.NoError(t, err, "who stands by shows the nodes")
	require.NoError(t, first.AwaitCluster(ctx, 2, "green"))
	l := write(t, first, 2)

	dead := host(t, nodes[0].Place.Host)
	require.NoError(t, first.Kill())
	require.NoError(t, dead.Kill(ctx))
	require.NoError(t, second.AwaitRelaunch(ctx, nodes[0]))
	require.NoError(t, second.AwaitCluster(ctx, 2, "green"))
	require.NoError(t, dead.Return(ctx))
	await(t, "one copy of each node", func() error { return second.OneCopyEach(ctx, 2) })
	after, err := second.Nodes(ctx)
	require.NoError(t, err)
	assert.NotEqual(t, nodes[0].Place.Host, after[0].Place.Host)
	assert.Equal(t, nodes[1].Epoch, after[1].Epoch, "the other node was left alone")

	require.NoError(t, first.Start(ctx))
	require.NoError(t, first.Order(ctx, 2, "restart"))
	require.NoError(t, first.AwaitRelaunch(ctx, after[1]))
	require.NoError(t, first.AwaitCluster(ctx, 2, "green"))
	audit(t, l)
}
