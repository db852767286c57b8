package zookeeper

import (
	"fmt"
	"net"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Closed checks that root and everything below is for one user only, by its access lists and by a try of a stranger's. It returns
// the paths.
func Closed(t testing.TB, s *Server, root, user, password string) []string {
	t.Helper()
	dial := new(net.Dialer).DialContext
	insider, stranger := Reach(t, s.Address, dial), Reach(t, s.Address, dial)
	require.NoError(t, insider.AddAuth("digest", fmt.Appendf(nil, "%s:%s", user, password)))
	want := zk.DigestACL(zk.PermAll, user, password)
	var seen []string
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		node := queue[0]
		seen = append(seen, node)
		acl, _, err := insider.GetACL(node)
		require.NoError(t, err, node)
		assert.Equal(t, want, acl, node)
		_, _, err = stranger.Get(node)
		require.ErrorIs(t, err, zk.ErrNoAuth, node)
		_, _, err = stranger.Children(node)
		require.ErrorIs(t, err, zk.ErrNoAuth, node)
		children, _, err := insider.Children(node)
		require.NoError(t, err, node)
		for _, child := range children {
			queue = append(queue, node+"/"+child)
		}
	}
	return seen
}
