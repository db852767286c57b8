package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// healthWait is how long after a node began to run the cluster's health is waited for: one that nobody tells, or that was told
	// before, stops nothing for longer.
	healthWait = time.Minute
	red        = "red"
)

// Health is what the elected master of Elasticsearch says of the cluster. Nobody but its executor tells it.
type Health struct {
	Status       string `json:"status"`                 // green, yellow (a copy is missing) or red (a primary is missing); empty: not told
	Nodes        int    `json:"nodes"`                  // that have joined
	Initializing int    `json:"initializing,omitempty"` // shards that recover, or that are about to: nodes are asked whether they have them
	Relocating   int    `json:"relocating,omitempty"`
	Delayed      int    `json:"delayed,omitempty"` // shards that wait for a node which left; counted in Unassigned, too
	Unassigned   int    `json:"unassigned,omitempty"`
}

// String says it in words, such as "yellow, 2 initializing, 1 unassigned".
func (h Health) String() string {
	words := []string{h.Status}
	for _, c := range []struct {
		count int
		what  string
	}{{h.Initializing, "initializing"}, {h.Relocating, "relocating"}, {h.Delayed, "delayed"}, {h.Unassigned, "unassigned"}} {
		if c.count > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.count, c.what))
		}
	}
	return strings.Join(words, ", ")
}

// Red tells whether documents cannot be reached.
func (h Health) Red() bool { return h.Status == red }

// calm tells whether no shard would be missed, or be recovered in vain, if a node were stopped. Yellow alone is calm: a copy that has
// no place, such as the second one of a cluster of one node, is missing for ever.
func (h Health) calm() bool { return !h.Red() && h.Initializing == 0 && h.Delayed == 0 }

// Health is the cluster's, as it was told last, when, and by which node; 0: it is not told. While two nodes tell it, since the first
// has not heard yet that another one was elected, that which is not calm counts.
func (s *State) Health() (h Health, at time.Time, by NodeID) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Health.Status != "" && (by == 0 || h.calm() && (!n.Health.calm() || n.HealthAt.After(at))) {
			h, at, by = n.Health, n.HealthAt, n.ID
		}
	}
	return h, at, by
}

// Unsafe says why no node that is part of the cluster may be stopped now without need; empty if one may be. That the others are
// well is not looked at here: see [State.Unwell].
func (s *State) Unsafe(now time.Time) string {
	h, at, by := s.Health()
	began, ready := s.latest()
	waited := now.Sub(began) >= healthWait
	switch {
	case by != 0 && !h.calm():
		return "the cluster is " + h.String()
	case by != 0 && h.Nodes < ready:
		return fmt.Sprintf("the elected master sees %d of %d nodes", h.Nodes, ready)
	case by != 0 && at.Before(began) && !waited:
		return "the cluster's health was not told since the latest node began to run"
	case by == 0 && !waited:
		return "the cluster's health is not known yet"
	}
	return ""
}

// latest is when the wanted node that runs for the shortest time began to, and how many are part of the cluster.
func (s *State) latest() (began time.Time, ready int) {
	for i, wanted := range s.Wanted() {
		n := &s.Nodes[i]
		if n.Phase == Running && n.Ready {
			ready++
		}
		if wanted && n.Phase == Running && n.Since.After(began) {
			began = n.Since
		}
	}
	return began, ready
}

// standing is how all nodes and the cluster do. It is the same for all nodes that one may want to stop, and there may be many.
type standing struct {
	unwell []NodeID // see [State.Unwell]
	unsafe string   // see [State.Unsafe]
}

func (s *State) standing(now time.Time) standing {
	return standing{unwell: s.Unwell(), unsafe: s.Unsafe(now)}
}

// spares tells whether some nodes can be stopped that need not be now: all others are well, and so is the cluster. If none of them is
// part of the cluster they cost it nothing, however it is.
func (c standing) spares(mine func(NodeID) bool, part bool) bool {
	other := func(id NodeID) bool { return !mine(id) }
	return !slices.ContainsFunc(c.unwell, other) && (c.unsafe == "" || !part)
}

// Waits says what a node waits for that is to be stopped and launched again, and need not be now; empty if it can be.
func (s *State) Waits(n Node, now time.Time) string {
	c := s.standing(now)
	if c.spares(n.is, n.Ready) {
		return ""
	}
	if others := slices.DeleteFunc(c.unwell, n.is); len(others) > 0 {
		return fmt.Sprintf("nodes %v have not joined", others)
	}
	return c.unsafe
}

func (n *Node) is(id NodeID) bool { return n.ID == id }
