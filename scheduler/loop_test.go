package scheduler

import (
	"context"
	"errors"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// counting is a store that counts, and fails on demand.
type counting struct {
	saves int
	fails error
	saved coordinator.State
}

func (c *counting) Load(context.Context) (coordinator.State, error) { return c.saved, nil }

func (c *counting) Save(_ context.Context, _, after coordinator.State) error {
	c.saves++
	if c.fails == nil {
		c.saved = after
	}
	return c.fails
}

// started is a loop with nodes that were launched, and its connection.
func started(t *testing.T, store Store, nodes int) (*loop, *connection) {
	s, err := New([]string{"localhost:5050"}, manyRules(), store, Options{ExecutorPath: "/mooring"})
	require.NoError(t, err)
	state := coordinator.NewState("es", nodes)
	for i := range state.Nodes {
		state.Nodes[i].Epoch, state.Nodes[i].Phase = 1, coordinator.Claimed
	}
	l := newLoop(s, state)
	ctx, cancel := context.WithCancelCause(t.Context())
	l.conn = &connection{ctx: ctx, cancel: cancel, calls: make(chan *v1.Call, callQueue)}
	return l, l.conn
}

func update(conn *connection, node coordinator.NodeID) delivery {
	return delivery{conn: conn, event: &v1.Event{Type: v1.Event_UPDATE, Update: &v1.Event_Update{Status: mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: coordinator.TaskID("es", node, 1)}, AgentID: &mesos.AgentID{Value: "a"},
		State: mesos.TASK_RUNNING.Enum(), Source: mesos.SOURCE_EXECUTOR.Enum(), UUID: []byte("0123456789abcdef"),
	}}}}
}

// all are deliveries that have come together.
func all(deliveries ...delivery) <-chan delivery {
	c := make(chan delivery, len(deliveries))
	for _, d := range deliveries {
		c <- d
	}
	return c
}

func (c *connection) acknowledged() []string {
	var tasks []string
	for len(c.calls) > 0 {
		if call := <-c.calls; call.Type == v1.Call_ACKNOWLEDGE {
			tasks = append(tasks, call.Acknowledge.TaskID.Value)
		}
	}
	return tasks
}

func TestUpdatesThatComeTogetherAreSavedOnce(t *testing.T) {
	store := &counting{}
	l, conn := started(t, store, 4)
	l.take(t.Context(), update(conn, 1), all(update(conn, 2), update(conn, 3)))
	assert.Equal(t, 1, store.saves)
	assert.Equal(t, []string{"es-1-1", "es-2-1", "es-3-1"}, conn.acknowledged())
	for i, phase := range []coordinator.Phase{coordinator.Running, coordinator.Running, coordinator.Running, coordinator.Claimed} {
		assert.Equal(t, phase, store.saved.Nodes[i].Phase, "node %d", i+1)
	}
}

func TestUpdatesThatAreNotSavedAreNotAcknowledged(t *testing.T) {
	store := &counting{fails: errors.New("disk full")}
	l, conn := started(t, store, 3)
	l.take(t.Context(), update(conn, 1), all(update(conn, 2), update(conn, 3)))
	assert.Empty(t, conn.acknowledged())
	assert.ErrorContains(t, context.Cause(conn.ctx), "disk full")
	assert.Equal(t, coordinator.Claimed, l.state.Nodes[0].Phase)
	store.fails = nil
	l.take(t.Context(), update(conn, 1), all(update(conn, 2)))
	assert.Equal(t, 1, store.saves, "what a dropped connection delivered before is passed over")
}

func TestOtherEventsKeepTheirPlaceAmongUpdates(t *testing.T) {
	store := &counting{}
	l, conn := started(t, store, 3)
	lost := delivery{conn: conn, event: &v1.Event{Type: v1.Event_FAILURE, Failure: &v1.Event_Failure{AgentID: &mesos.AgentID{Value: ""}}}}
	taken := make(chan struct{})
	l.take(t.Context(), update(conn, 1), all(lost, update(conn, 2), delivery{conn: conn, taken: taken}, update(conn, 3)))
	<-taken
	var phases []coordinator.Phase
	for _, n := range store.saved.Nodes {
		phases = append(phases, n.Phase)
	}
	assert.Equal(t, []coordinator.Phase{coordinator.Lost, coordinator.Running, coordinator.Lost}, phases,
		"node 1 spoke before its agent was lost, node 2 after it, node 3 when nobody listened any more")
	assert.Equal(t, 3, store.saves)
	assert.Nil(t, l.conn)
}

func TestAFloodOfUpdatesLetsOthersHaveTheirTurn(t *testing.T) {
	flood := make([]delivery, mostAtOnce+10)
	l, conn := started(t, &counting{}, 1)
	for i := range flood {
		flood[i] = update(conn, 1)
	}
	more := all(flood...)
	l.take(t.Context(), update(conn, 1), more)
	assert.Len(t, more, 11)
	assert.Len(t, conn.acknowledged(), mostAtOnce)
}
