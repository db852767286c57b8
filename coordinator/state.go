package coordinator

import (
	"maps"
	"slices"
	"time"
)

// Phase is where a node is in its life; see the package comment.
type Phase string

// The phases of a node.
const (
	Vacant  Phase = "vacant"  // nothing runs, nothing was asked for
	Claimed Phase = "claimed" // a launch was saved and perhaps sent; not heard of yet
	Running Phase = "running" // its executor said so
	Lost    Phase = "lost"    // it may or may not run
)

// Intent is what an operator wants of one node, beyond that it runs.
type Intent string

// The intents. A new one replaces the old.
const (
	Keep    Intent = ""        // run it
	Restart Intent = "restart" // stop it once; it is launched again
	Retire  Intent = "retire"  // stop it and launch it no more, until it is wanted again by scale
	Move    Intent = "move"    // stop it once, because its agent goes down; it is launched elsewhere. No operator gives this one
)

// Place is where a node runs or ran last.
type Place struct {
	Agent         string `json:"agent,omitempty"` // Mesos agent ID
	Host          string `json:"host,omitempty"`  // address of that agent, used to bind and to publish
	HTTPPort      int    `json:"http_port,omitempty"`
	TransportPort int    `json:"transport_port,omitempty"`
	Zone          string `json:"zone,omitempty"`   // value of the attribute that nodes are spread over
	Values        string `json:"values,omitempty"` // of other attributes that constraints count, as in a URL's query: a map could not be compared
}

// Node is what is known of one ID. It is comparable on purpose: the store writes the nodes whose value changed.
type Node struct {
	ID        NodeID    `json:"id"`
	Group     string    `json:"group,omitempty"` // empty: the default one. It never changes
	Epoch     uint64    `json:"epoch"`           // launches so far; a fencing token that only grows
	Phase     Phase     `json:"phase"`
	Since     time.Time `json:"since"` // when the phase began
	Place     Place     `json:"place"`
	On        string    `json:"on,omitempty"` // host at Place, in the words of its volume driver; empty: no executor there has told it yet
	Intent    Intent    `json:"intent,omitempty"`
	Begun     bool      `json:"begun,omitempty"`      // while Claimed: its executor has it, so a container of it may exist
	Loose     bool      `json:"loose,omitempty"`      // a container that nobody accounts for may still run at Place
	Holder    Holder    `json:"holder,omitzero"`      // who had the volumes last, as far as it is known
	Sizes     Sizes     `json:"sizes,omitzero"`       // of its volumes, as its driver said last
	AgentGone bool      `json:"agent_gone,omitempty"` // while Lost or Vacant: Mesos gave up the agent or drains it, or its host is silent, so waiting for it is pointless
	Settled   bool      `json:"settled,omitempty"`    // heard of since the latest subscription
	Asked     time.Time `json:"asked,omitzero"`       // latest reconciliation of this node
	Killed    time.Time `json:"killed,omitzero"`      // latest kill sent to this epoch
	Ready     bool      `json:"ready,omitempty"`      // in its cluster, as its executor said last
	Health    Health    `json:"health,omitzero"`      // of the cluster, if this node is its elected master
	HealthAt  time.Time `json:"health_at,omitzero"`   // when that was heard
	Joined    bool      `json:"joined,omitempty"`     // joined the cluster in some epoch: its data volume must not be empty
	Failures  int       `json:"failures,omitempty"`   // in a row, without a long run between
	NotBefore time.Time `json:"not_before,omitzero"`  // backoff: no launch earlier
	Held      string    `json:"held,omitempty"`       // why an operator must decide first (see Forgive); empty: nothing to decide
	Problem   string    `json:"problem,omitempty"`    // latest failure in words
}

// Holder is where a node ran last, so that its volumes are held there if anywhere.
type Holder struct {
	Epoch uint64 `json:"epoch"` // that ran there
	Agent string `json:"agent"`
	Host  string `json:"host,omitempty"` // in the words of its volume driver; empty: not known
	Gone  bool   `json:"gone,omitempty"` // for good, by Mesos' word: its volumes need not be waited for
}

// Agent is what is remembered of an agent on which launches failed.
type Agent struct {
	Failures  int       `json:"failures"`
	NotBefore time.Time `json:"not_before"`
	Failed    []NodeID  `json:"failed,omitempty"` // different nodes that failed there; enough of them set the agent aside
}

// State is all that must survive a restart of the scheduler. Nodes[i] has ID i+1; a node once made stays, so that its epoch
// does. Step never changes a State in place.
type State struct {
	Framework      string             `json:"framework"`                 // name, prefix of everything
	FrameworkID    string             `json:"framework_id,omitempty"`    // given by Mesos at the first subscription
	Target         int                `json:"target"`                    // nodes wanted, of the default group
	Groups         map[string]int     `json:"groups,omitempty"`          // nodes wanted, of each other group that was ever met
	InitialMasters []string           `json:"initial_masters,omitempty"` // node names for the very first start; nil until chosen
	ClusterUUID    string             `json:"cluster_uuid,omitempty"`    // empty until a cluster was seen; never changes after
	Agents         map[string]Agent   `json:"agents,omitempty"`          // only those with failures
	Leaving        map[string]Window  `json:"leaving,omitempty"`         // agents that go down for maintenance, with nodes of ours
	Silent         map[string]Silence `json:"silent,omitempty"`          // hosts whose heartbeat stands still, by their volume driver's names
	Region         string             `json:"region,omitempty"`          // of the leading master; empty: it has none
	Subscribed     time.Time          `json:"subscribed,omitzero"`       // beginning of the latest subscription
	Listed         time.Time          `json:"listed,omitzero"`           // latest request for all tasks (implicit reconciliation)
	Suppressed     bool               `json:"suppressed,omitempty"`      // offers were asked to stop
	Quiet          []string           `json:"quiet,omitempty"`           // roles to which alone offers were asked to stop
	Wanting        int                `json:"wanting,omitempty"`         // nodes that an offer could start
	Revived        time.Time          `json:"revived,omitzero"`          // latest request for offers
	Removal        Removal            `json:"removal,omitempty"`         // how far an order to uninstall has come
	Removing       time.Time          `json:"removing,omitzero"`         // when that stage began
	TornDown       time.Time          `json:"torn_down,omitzero"`        // latest request to forget the framework
	Nodes          []Node             `json:"-"`                         // stored one by one
}

// NewState is the state of a framework that has never run.
func NewState(framework string, target int) State {
	s := State{Framework: framework}
	s.scale("", target)
	return s
}

// clone copies s, so that changing the copy leaves s as it is.
func (s State) clone() State {
	s.Nodes = slices.Clone(s.Nodes)
	s.Agents, s.Leaving, s.Silent, s.Groups = maps.Clone(s.Agents), maps.Clone(s.Leaving), maps.Clone(s.Silent), maps.Clone(s.Groups)
	return s
}

// Launched counts the nodes that run or may run.
func (s *State) Launched() int {
	count := 0
	for i := range s.Nodes { // asked for each node of a step: copies would add up
		if s.Nodes[i].Phase != Vacant {
			count++
		}
	}
	return count
}

// node returns the node with an ID, nil if there is none.
func (s *State) node(id NodeID) *Node {
	if id < 1 || int(id) > len(s.Nodes) {
		return nil
	}
	return &s.Nodes[id-1]
}

// seeds are the transport addresses that nodes look for each other at: those of the lowest IDs that may be alive. A few are
// enough, because Elasticsearch learns of the others from any of them.
func (s *State) seeds() []string {
	var seeds []string
	for i := 0; i < len(s.Nodes) && len(seeds) < maxSeeds; i++ {
		if n := &s.Nodes[i]; n.Phase != Vacant && !n.AgentGone {
			seeds = append(seeds, Address(n.Place.Host, n.Place.TransportPort))
		}
	}
	return seeds
}
