package scheduler_test

import (
	"fmt"
	"net"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler/mesostest"
	"mooring/test/zookeeper"
)

// registry is the place in ZooKeeper where masters announce themselves.
type registry struct {
	t      *testing.T
	server *zookeeper.Server
	conn   *zk.Conn
	path   string
	named  string // host name that masters announce
}

func newRegistry(t *testing.T, server *zookeeper.Server, below string) *registry {
	conn, _, err := zk.Connect([]string{server.Address}, time.Minute, zk.WithLogger(silent{})) // the server allows less: as long as can be
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	r := &registry{t: t, server: server, conn: conn, path: below, named: "not.found"}
	r.make(path.Dir(below), "", zk.WorldACL(zk.PermAll))
	r.make(below, "", zk.WorldACL(zk.PermAll))
	r.make(below+"/log_replicas", "", zk.WorldACL(zk.PermAll))
	r.make(below+"/info_0000000000", "of a master older than ours", zk.WorldACL(zk.PermAll))
	return r
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (r *registry) make(node, data string, acl []zk.ACL) {
	r.t.Helper()
	if node == "/" {
		return
	}
	_, err := r.conn.Create(node, []byte(data), 0, acl)
	require.NoError(r.t, err, node)
}

func (r *registry) node(number int) string { return fmt.Sprintf("%s/json.info_%010d", r.path, number) }

// announce does what a master does when it starts.
func (r *registry) announce(number int, m *mesostest.Master) {
	r.t.Helper()
	host, port, err := net.SplitHostPort(m.Address())
	require.NoError(r.t, err)
	r.make(r.node(number), fmt.Sprintf(`{"address":{"hostname":%q,"ip":%q,"port":%s},"capabilities":[{"type":"AGENT_UPDATE"}],`+
		`"hostname":"not.found","id":"id","ip":16777343,"pid":"master@%s","port":%s,"version":"1.11.0"}`, r.named, host, port, m.Address(), port), zk.WorldACL(zk.PermAll))
}

func (r *registry) leave(number int) {
	r.t.Helper()
	require.NoError(r.t, r.conn.Delete(r.node(number), -1))
}

func TestMastersInZooKeeper(t *testing.T) {
	server := zookeeper.Run(t)
	t.Run("the lowest leads", func(t *testing.T) { theLowestLeads(t, server) })
	t.Run("nobody leads yet", func(t *testing.T) { nobodyLeadsYet(t, server) })
	t.Run("not for everybody", func(t *testing.T) { notForEverybody(t, server) })
	t.Run("a stale announcement", func(t *testing.T) { aStaleAnnouncement(t, server) })
	t.Run("the servers are away", func(t *testing.T) { serversAway(t, server) })
}

// theLowestLeads is about a master that loses its place in ZooKeeper but not its connections, because it hangs, say: the
// scheduler does not wait until it has been silent for long.
func theLowestLeads(t *testing.T, server *zookeeper.Server) {
	r := newRig(t, 1)
	other := mesostest.New(t)
	other.AutoRun = true
	masters := newRegistry(t, server, "/lowest/mesos")
	masters.announce(10, other)
	masters.announce(9, r.master)
	r.agents(1, 1)
	r.startWith("zk://" + server.Address + masters.path)
	r.running(1)
	assert.Equal(t, r.master.Address(), r.scheduler.View().Subscribed)
	id := r.master.FrameworkID()

	masters.leave(9)
	r.eventually(func() bool { return r.scheduler.View().Subscribed == other.Address() }, "it goes on with the next")
	assert.Equal(t, id, other.FrameworkID())
	masters.announce(11, r.master)
	r.eventually(func() bool { n, now := other.Subscribed(); return n == 1 && now }, "who comes back is the last")
}

func nobodyLeadsYet(t *testing.T, server *zookeeper.Server) {
	r := newRig(t, 1)
	r.agents(1, 1)
	log := r.captureLog()
	r.startWith("zk://" + server.Address + "/early/mesos")
	r.eventually(func() bool { return strings.Contains(log.String(), "no master was ever started with this address") }, "it says what is wrong")
	masters := newRegistry(t, server, "/early/mesos")
	r.eventually(func() bool { return strings.Contains(log.String(), "no master leads at zk://"+server.Address) }, "and what is wrong next")
	masters.make(masters.node(1), "{}", zk.WorldACL(zk.PermAll))
	r.eventually(func() bool {
		return strings.Contains(log.String(), "json.info_0000000001: not what a Mesos master writes")
	}, "it says which node is bad")
	masters.leave(1)
	masters.announce(2, r.master)
	r.running(1)
}

func notForEverybody(t *testing.T, server *zookeeper.Server) {
	r := newRig(t, 1)
	r.agents(1, 1)
	masters := newRegistry(t, server, "/closed/mesos")
	masters.announce(1, r.master)
	_, err := masters.conn.SetACL(masters.path, zk.DigestACL(zk.PermAll, "me", "hush,hush"), -1)
	require.NoError(t, err)
	log := r.captureLog()
	r.startWith("zk://me:wrong@" + server.Address + masters.path)
	r.eventually(func() bool {
		return strings.Contains(log.String(), "give --master the user and password that the path was made with")
	}, "it says what to do")
	r.stop()
	r.startWith("zk://me:hush,hush@" + server.Address + masters.path)
	r.running(1)
	assert.NotContains(t, log.String(), "hush")
	assert.NotContains(t, log.String(), "wrong")
	assert.NotContains(t, fmt.Sprintf("%+v", r.scheduler.View()), "hush")
}

// aStaleAnnouncement is of a master that leads no more, and knows it before its node is gone.
func aStaleAnnouncement(t *testing.T, server *zookeeper.Server) {
	r := newRig(t, 1)
	r.agents(1, 1)
	standby := mesostest.New(t)
	standby.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + r.master.Address() + "/master/api/v1/scheduler" })
	masters := newRegistry(t, server, "/stale/mesos")
	masters.announce(1, standby)
	r.startWith("zk://" + server.Address + masters.path)
	r.running(1)
	assert.Equal(t, r.master.Address(), r.scheduler.View().Subscribed)
}

// serversAway is about servers that cannot be reached: what was seen last holds, and what happens meanwhile is seen when they are back.
func serversAway(t *testing.T, server *zookeeper.Server) {
	r := newRig(t, 1)
	r.agents(1, 1)
	masters := newRegistry(t, server, "/away/mesos")
	masters.announce(1, r.master)
	between := zookeeper.NewProxy(t, server) // a server that starts anew takes a loaded machine longer than anything else here
	r.startWith("zk://" + between.Address + masters.path)
	r.running(1)
	between.Cut()
	other := mesostest.New(t)
	masters.announce(2, other)
	masters.leave(1)
	n, now := r.master.Subscribed()
	require.True(t, now && n == 1, "the subscription goes on")
	r.master.Disconnect()
	r.subscribed(2)
	require.Equal(t, r.master.Address(), r.scheduler.View().Subscribed, "it goes by what it saw last")

	between.Join()
	r.eventually(func() bool { return r.scheduler.View().Subscribed == other.Address() }, "it watches again")
}
