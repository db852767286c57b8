// Package storetest holds what every store of the scheduler must do, and a store in memory that fails on demand.
package storetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
)

// Contract checks a kind of store. open opens the same one each time, as after a restart; the first time it is new and is to
// hold the given state.
func Contract(t *testing.T, open func(initial coordinator.State) scheduler.Store) {
	ctx := t.Context()
	initial := coordinator.NewState("es", 3)
	first := open(initial)
	loaded, err := first.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, initial, loaded)

	next := full(initial)
	require.NoError(t, first.Save(ctx, loaded, next))
	second := open(coordinator.NewState("es", 7))
	loaded, err = second.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, next, loaded, "what was saved comes back, and not the state offered for a new store")

	last := next
	last.Nodes = append([]coordinator.Node(nil), next.Nodes...)
	last.Nodes[1].Epoch++
	require.NoError(t, second.Save(ctx, coordinator.State{}, last), "with nothing known to be saved, all is written")
	require.NoError(t, second.Save(ctx, last, last))
	loaded, err = open(initial).Load(ctx)
	require.NoError(t, err)
	assert.Equal(t, last, loaded)
}

// full fills every field of a state, so that none is forgotten when it is stored.
func full(s coordinator.State) coordinator.State {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	s.FrameworkID, s.Target, s.ClusterUUID = "id-1", 4, "uuid"
	s.InitialMasters = []string{"es1", "es2"}
	s.Agents = map[string]coordinator.Agent{"a1": {Failures: 2, NotBefore: at, Failed: []coordinator.NodeID{1, 2}}}
	s.Leaving = map[string]coordinator.Window{"a2": {Start: at, End: at, Heard: at}}
	s.Silent = map[string]coordinator.Silence{"h1": {Since: at, Agents: []string{"a1"}, Lost: true, Kept: map[coordinator.NodeID]string{2: "unguarded"}}}
	s.Subscribed, s.Listed, s.Revived = at, at, at
	s.Suppressed, s.Wanting, s.Quiet, s.Region = true, 1, []string{"es"}, "here"
	s.Groups = map[string]int{"data": 1}
	s.Removal, s.Removing, s.TornDown = coordinator.TearingDown, at, at
	s.Nodes = append([]coordinator.Node(nil), s.Nodes...)
	for len(s.Nodes) < 300 { // more than one byte counts
		s.Nodes = append(s.Nodes, coordinator.Node{ID: coordinator.NodeID(len(s.Nodes) + 1), Phase: coordinator.Vacant})
	}
	s.Nodes[1] = coordinator.Node{
		ID: 2, Group: "data", Epoch: 7, On: "h1", Phase: coordinator.Lost, Since: at, Intent: coordinator.Restart, AgentGone: true, Settled: true,
		Begun: true, Loose: true, Sizes: coordinator.Sizes{Config: 1, Data: 2}, Holder: coordinator.Holder{Epoch: 6, Agent: "a0", Host: "h0", Gone: true},
		Place: coordinator.Place{Agent: "a1", Host: "10.0.0.1", HTTPPort: 9200, TransportPort: 9300, Zone: "z", Values: "rack=r1"},
		Asked: at, Killed: at, Ready: true, Joined: true, Failures: 3, HealthAt: at,
		Health:    coordinator.Health{Status: "red", Nodes: 3, Initializing: 1, Relocating: 2, Delayed: 3, Unassigned: 4},
		NotBefore: at, Held: "held", Problem: "problem",
	}
	return s
}

// Memory is a store that forgets with the process, and fails on demand.
type Memory struct {
	mu     sync.Mutex
	data   []byte // encoded, so that nobody changes it from outside
	nodes  []byte
	before func(after coordinator.State) error
	after  func(after coordinator.State) error
	saves  int
}

// NewMemory returns a store that holds a state.
func NewMemory(initial coordinator.State) *Memory {
	m := &Memory{}
	m.setLocked(initial)
	return m
}

// Fail has before called ahead of each save and after behind it; a save fails with the error of either. A save that fails
// after it was done is one whose success was not noticed. Nil means no failure.
func (m *Memory) Fail(before, after func(coordinator.State) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

// Saves returns how many saves changed something.
func (m *Memory) Saves() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// Load implements scheduler.Store.
func (m *Memory) Load(context.Context) (coordinator.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s coordinator.State
	if err := json.Unmarshal(m.data, &s); err != nil {
		return s, err
	}
	return s, json.Unmarshal(m.nodes, &s.Nodes)
}

// Save implements scheduler.Store.
func (m *Memory) Save(_ context.Context, _, after coordinator.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		if err := m.before(after); err != nil {
			return err
		}
	}
	m.setLocked(after)
	if m.after != nil {
		return m.after(after)
	}
	return nil
}

func (m *Memory) setLocked(s coordinator.State) {
	data, errHeader := json.Marshal(s)
	nodes, errNodes := json.Marshal(s.Nodes)
	if errHeader != nil || errNodes != nil {
		panic("storetest: state cannot be encoded")
	}
	if string(data) != string(m.data) || string(nodes) != string(m.nodes) {
		m.saves++
	}
	m.data, m.nodes = data, nodes
}
