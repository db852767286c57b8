package chaos

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/zookeeper"
)

// keptOutside is a ZooKeeper that has the leases of a cell's volumes.
type keptOutside struct{ conn *zk.Conn }

func watchLeases(t *testing.T, c *cell.Cell, address string) *keptOutside {
	t.Helper()
	conn := zookeeper.Reach(t, address, c.Dial)
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
