package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// keptOutside is a ZooKeeper that has the leases of a cell's volumes.
type keptOutside struct{ conn *zk.Conn }

func watchLeases(t *testing.T, c *cell.Cell, address string) *keptOutside {
	t.Helper()
	dial := func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return c.Dial(ctx, network, address)
	}
	conn, _, err := zk.Connect([]string{address}, 30*time.Second, zk.WithDialer(dial), zk.WithLogInfo(false))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(t.Context(), roundLimit)
	defer cancel()
	require.NoError(t, await(ctx, "ZooKeeper", func() error { return conn.AddAuth("digest", []byte("mooring:secret")) }))
	return &keptOutside{conn}
}

// left finds what is left of a volume. Hosts that made the store in the same moment may have left the place of another one behind.
func (k *keptOutside) left(volume string) error {
	stores, _, err := k.conn.Children("/mooring")
	found := []error{err}
	for _, store := range stores {
		node := "/mooring/" + store + "/volumes/" + volume
		leases, _, err := k.conn.Children(node)
		switch {
		case err == nil:
			found = append(found, fmt.Errorf("%s is left in ZooKeeper, with the leases %v", node, leases))
		case !errors.Is(err, zk.ErrNoNode):
			found = append(found, err)
		}
	}
	return errors.Join(found...)
}
