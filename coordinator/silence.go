package coordinator

import (
	"maps"
	"slices"
	"time"
)

// Sight is what was seen of a host's heartbeat by one who watches it.
type Sight struct {
	Still  time.Duration     // how long it has stood still, as far as the watcher could look
	Beats  bool              // it moved lately
	Silent bool              // it stood still for the take-over time: the host is dead or has fenced itself
	Kept   map[string]string // while Silent: volumes there that nobody takes over by time, and why
}

// HostSilent says that the heartbeat of a host stood still for the take-over time: it is dead or has fenced itself. It is
// only ever sent for hosts whose volumes refuse an old writer, and may be repeated for as long as it is so.
type HostSilent struct {
	At    time.Time
	Host  string            // in the words of its volume driver
	Since time.Time         // when it was last known to beat
	Kept  map[NodeID]string // nodes whose volumes nobody takes over by time, and why: elsewhere they would be refused
}

// HostBeats says that a host beats again.
type HostBeats struct {
	At   time.Time
	Host string
}

// Silence is what is remembered of a silent host. While it is, nothing is launched there, whatever Mesos offers.
type Silence struct {
	Since  time.Time         `json:"since"`
	Agents []string          `json:"agents"`         // Mesos agents on it, as far as nodes have told
	Lost   bool              `json:"lost,omitempty"` // Mesos has given up its agents, too
	Kept   map[NodeID]string `json:"kept,omitempty"` // nodes that are left alone there, and why
}

func (HostSilent) event() {}
func (HostBeats) event()  {}

// Host is the host that a node is or was last on, in the words of its volume driver; empty if it is not known.
func (n Node) Host() string {
	if n.On == "" && n.Holder.Agent != "" && n.Holder.Agent == n.Place.Agent {
		return n.Holder.Host // it was there before
	}
	return n.On
}

// Watched are the hosts whose heartbeats matter, with the nodes on them: those of nodes that may run or would start there, and
// those that are silent.
func (s *State) Watched(now time.Time) map[string][]NodeID {
	watched := map[string][]NodeID{}
	for host := range s.Silent {
		watched[host] = nil
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		host := n.Host()
		gone := n.Holder.Gone && n.Holder.Host == host
		if host != "" && !gone && (n.Phase != Vacant || now.Sub(n.Since) < stickFor) {
			watched[host] = append(watched[host], n.ID)
		}
	}
	return watched
}

// SilentHost is the silent host that an agent is on, empty if it is on none.
func (s *State) SilentHost(agent string) string {
	for host, silence := range s.Silent {
		if slices.Contains(silence.Agents, agent) {
			return host
		}
	}
	return ""
}

// hostSilent acts before Mesos does. It would be wrong for volumes that don't refuse the old writer. A host that falls silent
// counts as a failure of its agent, so that nodes don't hurry back to one that comes and goes.
func (t *turn) hostSilent(e HostSilent) {
	if !t.rules.Fencing {
		return
	}
	silence, known := t.state.Silent[e.Host]
	if !known {
		silence.Since = e.Since
	}
	silence.Agents, silence.Kept = slices.Clone(silence.Agents), nil
	if len(e.Kept) > 0 {
		silence.Kept = maps.Clone(e.Kept)
	}
	for i := range t.state.Nodes {
		if n := &t.state.Nodes[i]; n.Host() == e.Host && !slices.Contains(silence.Agents, n.Place.Agent) {
			silence.Agents = append(silence.Agents, n.Place.Agent)
			t.failAgent(n.Place.Agent)
		}
	}
	if len(silence.Agents) == 0 {
		return // no node ever told of it, or none is left there
	}
	t.silence(e.Host, silence)
	t.lose(func(n *Node) bool { return slices.Contains(silence.Agents, n.Place.Agent) && silence.Kept[n.ID] == "" })
}

// hostBeats lets launches go there again, and asks what runs there: a node that was not launched elsewhere meanwhile may have
// gone on, and one that was may be there a second time.
func (t *turn) hostBeats(e HostBeats) {
	silence, known := t.state.Silent[e.Host]
	if !known {
		return
	}
	delete(t.state.Silent, e.Host)
	for i := range t.state.Nodes {
		if n := &t.state.Nodes[i]; n.Phase == Lost && slices.Contains(silence.Agents, n.Place.Agent) {
			n.AgentGone = silence.Lost
		}
	}
	t.state.Wanting = 0 // what was refused for that agent's sake may fit now
	t.ask(func(n Node) bool { return slices.Contains(silence.Agents, n.Place.Agent) })
	t.list()
}

func (t *turn) silence(host string, s Silence) {
	if t.state.Silent == nil {
		t.state.Silent = map[string]Silence{}
	}
	t.state.Silent[host] = s
}

// mute tells whether nothing is to be believed of a node but its host's heartbeat: it was given up because that stands still,
// and Mesos, which takes longer, still says that it runs.
func (t *turn) mute(n *Node) bool {
	host := t.state.SilentHost(n.Place.Agent)
	return n.Phase == Lost && host != "" && t.state.Silent[host].Kept[n.ID] == ""
}

// agentSeen notes of a silent host whether Mesos has given up its agent, too.
func (t *turn) agentSeen(agent string, lost bool) {
	host := t.state.SilentHost(agent)
	if host == "" || t.state.Silent[host].Lost == lost {
		return
	}
	s := t.state.Silent[host]
	s.Lost = lost
	t.silence(host, s)
}

// agentGone forgets an agent that is gone for good: Mesos will never offer it again.
func (t *turn) agentGone(agent string) {
	host := t.state.SilentHost(agent)
	if host == "" {
		return
	}
	s := t.state.Silent[host]
	s.Agents = slices.DeleteFunc(slices.Clone(s.Agents), func(a string) bool { return a == agent })
	t.silence(host, s)
	if len(s.Agents) == 0 {
		delete(t.state.Silent, host)
	}
}

// forgetSilences drops hosts that no node is on any more. Whoever has a new name since would never be heard of under the old one.
func (t *turn) forgetSilences() {
	for host, s := range t.state.Silent {
		there := func(n Node) bool { return n.Phase != Vacant && slices.Contains(s.Agents, n.Place.Agent) }
		if t.now.Sub(s.Since) >= setAsideFor && !slices.ContainsFunc(t.state.Nodes, there) {
			delete(t.state.Silent, host)
		}
	}
}
