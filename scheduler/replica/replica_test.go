package replica_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler/mesostest"
	"mooring/test/zookeeper"
)

// pair is two schedulers, the first of which leads, and all they need.
type pair struct {
	t           testing.TB
	master      *mesostest.Master
	proxy       *zookeeper.Proxy // between the first one and ZooKeeper
	first, next *peer
}

func newPair(t testing.TB, server *zookeeper.Server, path string) *pair {
	if t, is := t.(*testing.T); is {
		t.Parallel()
	}
	p := &pair{t: t, master: newMaster(t), proxy: zookeeper.NewProxy(t, server)}
	p.first = start(t, p.master, "zk://me:hush@"+p.proxy.Address+path)
	p.first.awaitLead()
	p.next = start(t, p.master, "zk://me:hush@"+server.Address+path)
	p.next.awaitStandby(p.first)
	eventually(t, func() bool { return settled(p.master, 2) }, "two nodes run")
	return p
}

// carriesOn checks that the scheduler that leads now lost nothing, and does what there is to do.
func (p *pair) carriesOn() {
	p.t.Helper()
	lost := p.next.nodes()[0].Place.Agent
	p.master.LoseAgent(lost)
	eventually(p.t, func() bool {
		nodes := p.next.nodes()
		return len(nodes) == 2 && nodes[0].Epoch == 2 && settled(p.master, 2)
	}, "node 1 runs again")
	assert.EqualValues(p.t, 1, p.next.nodes()[1].Epoch, "node 2 was left alone")
	neverTwice(p.t, p.master, p.next)
}

// took tells how long the other one took to lead.
func (p *pair) took(what string, since time.Time) {
	p.next.awaitLead()
	p.t.Logf("%s: the next scheduler led after %s", what, time.Since(since).Round(time.Millisecond))
}

func TestSeveralSchedulers(t *testing.T) {
	t.Parallel()
	server := zookeeper.Run(t)
	t.Run("all", func(t *testing.T) {
		t.Run("killed", func(t *testing.T) { killed(newPair(t, server, "/killed")) })
		t.Run("stopped", func(t *testing.T) { stopped(newPair(t, server, "/stopped")) })
		t.Run("frozen", func(t *testing.T) { frozen(newPair(t, server, "/frozen")) })
		t.Run("cut off", func(t *testing.T) { cutOff(newPair(t, server, "/cut")) })
		t.Run("orders", func(t *testing.T) { orders(newPair(t, server, "/orders")) })
	})
}

func killed(p *pair) {
	since := time.Now()
	p.first.signal(syscall.SIGKILL)
	p.took("killed", since)
	p.carriesOn()
}

func stopped(p *pair) {
	since := time.Now()
	p.first.signal(syscall.SIGTERM)
	p.took("stopped", since)
	require.NoError(p.t, p.first.cmd.Wait())
	p.carriesOn()
}

// frozen is about a leader that stands still without knowing, and goes on when another one leads.
func frozen(p *pair) {
	since := time.Now()
	p.first.signal(syscall.SIGSTOP)
	p.took("frozen", since)
	p.carriesOn()
	p.first.signal(syscall.SIGCONT)
	p.first.awaitStandby(p.next)
	p.returns()
}

// cutOff is about a leader that reaches Mesos, but not ZooKeeper.
func cutOff(p *pair) {
	since := time.Now()
	p.proxy.Cut()
	p.took("cut off", since)
	p.carriesOn()
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		status, text := p.first.ask(method, "/v1/cluster/elasticsearchNodes", `{"value":4}`)
		assert.Equal(p.t, http.StatusServiceUnavailable, status, text)
	}
	p.proxy.Join()
	p.first.awaitStandby(p.next)
	p.returns()
}

// returns checks that a scheduler that led once is fit to lead again.
func (p *pair) returns() {
	before, _ := p.master.Subscribed()
	p.next.signal(syscall.SIGTERM)
	p.first.awaitLead()
	after, now := p.master.Subscribed()
	assert.True(p.t, now && after == before+1, "one subscription for one change of leaders")
	neverTwice(p.t, p.master, p.first)
	assert.True(p.t, settled(p.master, 2))
}

func orders(p *pair) {
	status, text := p.next.ask(http.MethodPut, "/v1/cluster/elasticsearchNodes", `{"value":3}`)
	require.Equal(p.t, http.StatusOK, status, text)
	eventually(p.t, func() bool { return settled(p.master, 3) }, "the leader does what the other one was told")
	eventually(p.t, func() bool { c, ok := p.next.cluster(); return ok && c.Target == 3 }, "who stands by shows it")
	status, text = p.next.ask(http.MethodPost, "/v1/nodes/9/restart", "")
	assert.Equal(p.t, http.StatusNotFound, status, "the leader's answer is passed back")
	assert.Contains(p.t, text, "there are nodes 1 to 3")
	status, text = p.next.ask(http.MethodGet, "/readyz", "")
	assert.Equal(p.t, http.StatusOK, status)
	assert.Contains(p.t, text, "standing by, the scheduler at "+p.first.spec.Address+" leads")

	p.first.signal(syscall.SIGKILL)
	status, text = p.next.ask(http.MethodPost, "/v1/nodes/1/restart", "")
	assert.Equal(p.t, http.StatusServiceUnavailable, status)
	assert.Contains(p.t, text, "does not answer")
	assert.Contains(p.t, text, "try again in a few seconds")
	p.next.awaitLead()
	status, text = p.next.ask(http.MethodPost, "/v1/nodes/1/restart", "")
	assert.Equal(p.t, http.StatusOK, status, text)
	neverTwice(p.t, p.master, p.next)
}

// Members of an ensemble are killed and frozen one after the other, its leader among them: an order to either scheduler is carried
// out each time, and nothing is launched twice.
func TestAnEnsembleLosesMembers(t *testing.T) {
	t.Parallel()
	members := zookeeper.RunEnsemble(t, 3)
	var addresses []string
	for _, m := range members {
		addresses = append(addresses, m.Address)
	}
	zooKeeper, master := "zk://me:hush@"+strings.Join(addresses, ",")+"/mooring", newMaster(t)
	schedulers := []*peer{start(t, master, zooKeeper), start(t, master, zooKeeper)}
	eventually(t, func() bool { return settled(master, 2) }, "two nodes run")
	for i, m := range members {
		out, back := m.Kill, m.Start
		if i%2 == 1 {
			out, back = m.Freeze, m.Thaw
		}
		require.NoError(t, out())
		target := 3 - i%2
		eventually(t, func() bool {
			status, _ := schedulers[i%2].ask(http.MethodPut, "/v1/cluster/elasticsearchNodes", fmt.Sprintf(`{"value":%d}`, target))
			return status == http.StatusOK
		}, "an order is taken")
		eventually(t, func() bool { return settled(master, target) }, "and carried out")
		require.NoError(t, back())
		require.NoError(t, m.Await(t.Context()))
	}
	eventually(t, func() bool { return shown(master, schedulers[0]) }, "the nodes are shown") // one that stands by shows what it has read a while ago
	neverTwice(t, master, schedulers[0])
}
