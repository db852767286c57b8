package zookeeper

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// session is what a client asks for: servers of this package allow up to 20 s.
const session = 30 * time.Second

// Reach is a client of the server at an address, until the test ends. Servers in another network, such as a cell's, are reached by dial.
func Reach(t testing.TB, address string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *zk.Conn {
	t.Helper()
	within := func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return dial(ctx, network, address)
	}
	conn, _, err := zk.Connect([]string{address}, session, zk.WithDialer(within), zk.WithLogger(silent{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

type silent struct{}

func (silent) Printf(string, ...any) {}
