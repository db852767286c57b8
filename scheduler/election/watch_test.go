package election

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/test/zookeeper"
)

// The client library keeps each watch until it tells of something, and who stands by looks again and again for months.
func TestAWatchOnTheCandidateBeforeStays(t *testing.T) {
	address, err := ensemble.Parse("zk://" + zookeeper.Run(t).Address + "/election")
	require.NoError(t, err)
	candidate := func() *Election {
		conn := ensemble.New(address, ensemble.Options{Session: Session, Answer: Answer})
		t.Cleanup(conn.Close)
		return New(conn, "/election", "10.0.0.1:31100", nil)
	}
	first, second, third := candidate(), candidate(), candidate()
	for _, node := range []string{"", "/" + leader, "/" + candidates} {
		_, err := ensemble.Call(first.conn, func(c *zk.Conn) (string, error) {
			return c.Create("/election"+node, nil, 0, first.conn.ACL())
		})
		require.NoError(t, err)
	}
	stand := func(e *Election) <-chan zk.Event {
		t.Helper()
		term, turn, err := e.try()
		require.NoError(t, err)
		require.Nil(t, term)
		return turn
	}
	term, _, err := first.try()
	require.NoError(t, err)
	require.NotNil(t, term)
	stand(second)
	watch := stand(third)
	assert.Equal(t, watch, stand(third), "nothing has changed: no second watch")

	second.conn.Close() // takes back its candidacy
	select {
	case <-watch:
	case <-time.After(time.Minute):
		require.Fail(t, "the watch does not tell")
	}
	next := stand(third)
	assert.NotEqual(t, watch, next, "it watches the one before that")
	assert.Equal(t, next, stand(third))
}
