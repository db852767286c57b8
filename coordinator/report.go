package coordinator

import (
	"fmt"
	"slices"
	"time"
)

// report takes in a task status. Whatever it says, it is acknowledged if the sender waits for that.
func (t *turn) report(r Report) {
	id, epoch, ours := ParseTaskID(t.state.Framework, r.Task)
	n := t.state.node(id)
	switch {
	case !ours:
	case n == nil:
		t.stale(&Node{}, r)
	case epoch != n.Epoch:
		t.stale(n, r)
	default:
		t.current(n, r)
	}
	if r.UUID != "" {
		t.do(Acknowledge{Task: r.Task, Agent: r.Agent, UUID: r.UUID})
	}
}

// stale handles a report of a launch that was replaced, or that the state knows nothing of: it changes no node, and what it
// reports must not run. Only what it says of its host counts.
func (t *turn) stale(n *Node, r Report) {
	switch r.Outcome {
	case Alive, Pending:
		t.speaks(r.Host)
		t.kill(TaskRef{Task: r.Task, Agent: r.Agent})
	case Gone:
		n.holderGone(r.Agent)
		t.agentGone(r.Agent)
	}
}

func (t *turn) current(n *Node, r Report) {
	n.Settled = true
	if r.Message != "" && r.Outcome != Alive {
		n.Problem = r.Message
	}
	if r.Host != "" {
		n.On = r.Host
		t.speaks(r.Host)
	}
	switch r.Outcome {
	case Pending:
		n.Begun = n.Begun || r.Begun && n.Phase == Claimed
	case Alive:
		t.alive(n, r)
	case Over:
		t.over(n, r)
	case Absent:
		t.absent(n, r)
	case Gone:
		t.gone(n, r)
	case Unsure, Away:
		t.unsure(n, r)
	}
}

// alive also takes back a node that was thought over: an operator may have declared an agent gone that was not.
func (t *turn) alive(n *Node, r Report) {
	if t.mute(n) {
		t.hasJoined(n, r)
		return
	}
	news := n.Phase != Running
	t.enter(n, Running)
	n.Loose = false // its executor has ended what an earlier one left there
	t.holds(n, r)
	switch {
	case t.hasJoined(n, r):
		n.Ready, n.Problem = true, ""
		n.Health, n.HealthAt = r.Health, time.Time{}
		if r.Health.Status != "" {
			n.HealthAt = t.now
		}
		delete(t.state.Agents, n.Place.Agent)
	case r.Ready:
		n.leftCluster()
		t.hold(n, fmt.Sprintf("node is in cluster %s, the others are in %s", r.Cluster, t.state.ClusterUUID))
	case r.Told:
		n.leftCluster()
	}
	if news {
		t.tell(*n, t.state.seeds(), !r.Told)
	}
}

// leftCluster notes that a node is no part of the cluster, hence not its master.
func (n *Node) leftCluster() { n.Ready, n.Health, n.HealthAt = false, Health{}, time.Time{} }

// hasJoined records that a node was part of the framework's cluster, whatever became of it since. The first cluster seen is the only one
// the framework will ever have.
func (t *turn) hasJoined(n *Node, r Report) bool {
	if !r.Ready {
		return false
	}
	if t.state.ClusterUUID == "" {
		t.state.ClusterUUID = r.Cluster
	}
	joined := r.Cluster == t.state.ClusterUUID
	n.Joined = n.Joined || joined
	return joined
}

// holds notes where the node's volumes are held.
func (t *turn) holds(n *Node, r Report) {
	if n.Holder.Epoch != n.Epoch {
		n.Holder = Holder{Epoch: n.Epoch, Agent: n.Place.Agent}
	}
	n.Holder.Gone = false
	if r.Host != "" {
		n.Holder.Host, n.Sizes = r.Host, r.Sizes
	}
}

// speaks takes back what was said of a host: one that tells of itself is not gone.
func (t *turn) speaks(host string) {
	for i := range t.state.Nodes {
		if h := &t.state.Nodes[i].Holder; h.Gone && h.Host == host {
			h.Gone = false
		}
	}
}

// holderGone notes that an agent is gone for good, if the node's volumes are held there.
func (n *Node) holderGone(agent string) {
	if n.Holder.Agent != "" && n.Holder.Agent == agent {
		n.Holder.Gone = true
	}
}

// over frees a node's ID on the word of its executor, which has seen to it that nothing is left.
func (t *turn) over(n *Node, r Report) {
	n.Loose = false
	if n.Phase == Vacant {
		return
	}
	t.blame(n, r)
	t.vacate(n)
	n.AgentGone = r.Draining
}

// absent frees a node's ID, though not its last place, if a container may have been begun there: Mesos knows nothing of
// containers that outlive their executor.
func (t *turn) absent(n *Node, r Report) {
	if n.Phase == Vacant {
		return
	}
	n.Loose = n.Loose || n.Begun || n.Phase != Claimed
	t.blame(n, r)
	t.vacate(n)
	n.AgentGone = r.Draining
}

// gone frees a node's ID with its place: nothing runs there any more, and the volumes may be taken from whoever held them there.
func (t *turn) gone(n *Node, r Report) {
	n.holderGone(r.Agent)
	t.agentGone(r.Agent)
	n.Loose = false
	if n.Phase != Vacant {
		t.vacate(n) // nobody is to blame
	}
	n.AgentGone = true
}

func (t *turn) unsure(n *Node, r Report) {
	if n.Phase == Vacant {
		return
	}
	if n.Phase != Lost && r.Outcome == Unsure {
		t.blame(n, r)
	}
	t.enter(n, Lost)
	n.AgentGone = r.Outcome == Away || t.state.SilentHost(n.Place.Agent) != ""
}

// blame makes whoever caused a failure wait.
func (t *turn) blame(n *Node, r Report) {
	if n.Phase == Running && t.now.Sub(n.Since) >= longRun {
		n.Failures = 0
	}
	if !n.Killed.IsZero() {
		return // it ended because it was told to
	}
	switch r.Fault {
	case FaultNone:
	case FaultNode:
		t.fail(n)
	case FaultHost:
		if n.Ready {
			n.Failures = 0
		}
		t.fail(n)
	case FaultAgent:
		t.fail(n)
		t.failAgent(n.Place.Agent, n.ID)
	case FaultVolume:
		n.NotBefore = t.now.Add(backoffVolume)
		t.askForHolder(*n)
	case FaultRefused:
		t.hold(n, r.Message)
	}
}

func (t *turn) fail(n *Node) {
	n.Failures++
	n.NotBefore = t.now.Add(backoff(n.Failures))
}

// failAgent has an agent wait on which a launch of some nodes failed, or whose host fell silent.
func (t *turn) failAgent(agent string, nodes ...NodeID) {
	a := t.state.Agents[agent]
	a.Failures++
	for _, id := range nodes {
		if !slices.Contains(a.Failed, id) {
			a.Failed = append(slices.Clone(a.Failed), id)
		}
	}
	a.NotBefore = t.now.Add(a.backoff())
	if t.state.Agents == nil {
		t.state.Agents = map[string]Agent{}
	}
	t.state.Agents[agent] = a
}

// backoff is how long an agent is left alone after the latest failure there.
func (a Agent) backoff() time.Duration {
	if len(a.Failed) >= setAsideAfter {
		return setAsideFor
	}
	return backoff(a.Failures)
}

// hold leaves a node to an operator: starting it again would only repeat the harm.
func (t *turn) hold(n *Node, why string) {
	n.Held = why
	t.do(Note{Node: n.ID, Text: why})
}

// waiting reports whether an agent must be left alone for now.
func (a Agent) waiting(now time.Time) bool { return now.Before(a.NotBefore) }
