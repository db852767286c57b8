package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/test/zookeeper"
)

// The client library keeps each watch until it tells of something, and a detector looks every half a minute for months.
func TestAWatchOnMastersStaysWhileNothingChanges(t *testing.T) {
	server := zookeeper.Run(t)
	conn, _, err := zk.Connect([]string{server.Address}, time.Minute, zk.WithLogInfo(false))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	announce := func(number int) {
		node, data := fmt.Sprintf("/mesos/json.info_%010d", number), fmt.Sprintf(`{"address":{"ip":"10.0.0.%d","port":5050}}`, number)
		_, err := conn.Create(node, []byte(data), 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
	}
	_, err = conn.Create("/mesos", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	announce(2)
	address, err := ensemble.Parse("zk://" + server.Address + "/mesos")
	require.NoError(t, err)
	d := newDetector(address, "http", hclog.NewNullLogger())
	t.Cleanup(d.conn.Close)
	leads := func(host string) {
		t.Helper()
		members, err := d.look()
		require.NoError(t, err)
		require.Equal(t, host, members[0].endpoint.Host)
	}

	leads("10.0.0.2:5050")
	first := d.watch
	require.NotNil(t, first)
	leads("10.0.0.2:5050")
	require.Equal(t, first, d.watch, "nothing has changed: no second watch")

	announce(1)
	select {
	case <-first:
	case <-time.After(time.Minute):
		require.Fail(t, "the watch does not tell")
	}
	d.watch = nil
	leads("10.0.0.1:5050")
	require.NotNil(t, d.watch)

	d.watch = make(chan zk.Event) // never tells
	silent := d.watch
	leads("10.0.0.1:5050")
	require.Equal(t, silent, d.watch, "it may yet tell")
	announce(0)
	leads("10.0.0.0:5050")
	assert.NotEqual(t, silent, d.watch, "it did not tell: there is another one")
}
