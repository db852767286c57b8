package mesos_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/test/zookeeper"
)

// rival is one of two schedulers, with ways of its own to Mesos and to ZooKeeper.
type rival struct {
	*process
	keeper *zookeeper.Proxy
}

// rivalry is two schedulers of one framework, and what they do.
type rivalry struct {
	*cluster
	agents []*agent
	rivals []*rival
	acts   acts
}

// Two schedulers are cut off from ZooKeeper in turn, each when it leads, while a node's executor dies. The other one takes over and
// brings the node back; the one that is cut off stands by and is fit to lead again. What Mesos takes comes from one of them at a
// time, and what ZooKeeper is asked to write has the epoch of the one that leads.
func TestTwoSchedulersCutOffInTurn(t *testing.T) {
	inTurn(t)
	r := &rivalry{cluster: newCluster(t, quick...)}
	r.agents = []*agent{r.agent(1), r.agent(2)}
	program, server := build(t, "../.."), zookeeper.Run(t)
	for _, name := range []string{"a", "b"} {
		r.add(program, name, server)
	}
	a, b := r.rivals[0], r.rivals[1]
	a.run([2]uint64{1, 1})
	framework := awaitCluster(t, a.address, "the one that leads", func(c said) bool { return !c.Standby && c.Master != "" }).FrameworkID
	awaitCluster(t, b.address, "the one that stands by", func(c said) bool { return c.Standby && c.Leader == a.address })

	r.cutOff(a, b, 2)
	r.cutOff(b, a, 3)
	r.cutOff(a, b, 4)

	runOnce(t, r.agents, tasks([2]uint64{4, 1}), []string{"es-1-1", "es-1-2", "es-1-3"})
	ids, err := connected(r.Master)
	require.NoError(t, err)
	assert.Equal(t, []string{framework}, ids)
	r.acts.mu.Lock()
	defer r.acts.mu.Unlock()
	assert.Empty(t, r.acts.wrong)
	assert.Equal(t, []string{"a in epoch 1", "b in epoch 2", "a in epoch 3", "b in epoch 4"}, r.acts.writers)
}

// add starts another scheduler.
func (r *rivalry) add(program, name string, server *zookeeper.Server) {
	r.t.Helper()
	kept, masters := newInZooKeeper(r.t, server, "/mooring"), mesostest.NewProxy(r.t, r.Master)
	kept.link.At(func(request []byte) { r.acts.asks(name, request) })
	masters.At(func(call *v1.Call, answer int) { r.acts.calls(name, call, answer) })
	p := newProcess(r.t, program, name, append(kept.flags(), "--master="+masters.Address())...)
	p.up()
	awaitCluster(r.t, p.address, "scheduler "+name, func(c said) bool { return c.Standby || c.Master != "" })
	r.rivals = append(r.rivals, &rival{p, kept.link})
}

// cutOff cuts the leader off, and ends the executor of node 1, which is launched again in an epoch then.
func (r *rivalry) cutOff(leader, next *rival, epoch uint64) {
	r.t.Helper()
	leader.keeper.Cut()
	killAll(r.t, func() (found []int) {
		for _, a := range r.agents {
			found = append(found, processes("MESOS_EXECUTOR_ID="+coordinator.TaskID("es", 1, epoch-1), "MESOS_AGENT_ENDPOINT="+a.endpoint())...)
		}
		return found
	})
	awaitCluster(r.t, next.address, "the other one leads", func(c said) bool { return !c.Standby && c.Master != "" })
	next.run([2]uint64{epoch, 1})
	eventually(r.t, "the one that is cut off leads no more, and knows nothing", func() error {
		err := ask("http://"+leader.address+"/v1/cluster", &said{})
		if err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") {
			return fmt.Errorf("it still answers, or does not at all: %v", err)
		}
		return nil
	})
	leader.keeper.Join()
	awaitCluster(r.t, leader.address, "it knows who leads", func(c said) bool { return c.Standby && c.Leader == next.address })
}

// acts are what schedulers do.
type acts struct {
	mu         sync.Mutex
	subscribed string   // who was last
	writers    []string // in order, with their epochs
	wrong      []string
}

// calls is about calls to Mesos, of which those count that it takes.
func (a *acts) calls(who string, call *v1.Call, answer int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case call.Type == v1.Call_SUBSCRIBE && answer == http.StatusOK:
		a.subscribed = who
	case answer == http.StatusAccepted && a.subscribed != who:
		a.wrong = append(a.wrong, fmt.Sprintf("%s has Mesos take %s while %s is subscribed", who, call.Type, a.subscribed))
	}
}

// asks is about requests to ZooKeeper, of which those count that change the state.
func (a *acts) asks(who string, request []byte) {
	if !zookeeper.Writes(request) || bytes.Contains(request, []byte("/mooring/es/candidates")) ||
		!bytes.Contains(request, []byte("/mooring/es/header")) && !bytes.Contains(request, []byte("/mooring/es/nodes/")) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	epoch, there := epochOf(request)
	if !there {
		a.wrong = append(a.wrong, fmt.Sprintf("%s writes without an epoch: %q", who, request))
	}
	a.writers = slices.Compact(append(a.writers, fmt.Sprintf("%s in epoch %d", who, epoch)))
}

// epochOf is the version of the leader's node that a transaction is on condition of.
func epochOf(request []byte) (epoch uint32, there bool) {
	const leader = "/mooring/es/leader"
	check := []byte{0, 0, 0, 13, 0, 255, 255, 255, 255, 0, 0, 0, byte(len(leader))} // as Multi has it: the kind, not the last, no error
	_, after, there := bytes.Cut(request, append(check, leader...))
	if !there || len(after) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(after), true
}
