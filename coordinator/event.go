package coordinator

import "time"

// Event is something that happened; see the types that implement it.
type Event interface{ event() }

// Subscribed begins a subscription with the leading master. Nothing that was heard before counts as settled.
type Subscribed struct {
	At          time.Time
	FrameworkID string
	Region      string // of the master's fault domain; empty: it has none
}

// Offers are resources that Mesos offers. Each of them is answered by exactly one action of the same step.
type Offers struct {
	At     time.Time
	Offers []Offer
}

// Offer is one offer, with its resources added up, reserved or not.
type Offer struct {
	ID          string
	Agent       string // agent ID
	Host        string // address of the agent
	Role        string // that it was made to: offers to different roles can't be accepted together
	CPUs        int64  // thousandths of a CPU, as Mesos rounds them
	MemoryMB    int64
	Reserved    Amount // how much of CPUs and memory is reserved, so that nobody but its role can use it
	Ports       []PortRange
	Attributes  map[string]string // with AtRegion and AtZone, if the agent has a fault domain
	Unavailable bool              // the operator announced maintenance that has begun or begins soon
}

// Amount is a share of an agent.
type Amount struct {
	CPUs     int64 // thousandths
	MemoryMB int64
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

// Rescinded says that offers are no longer valid. Offers are answered at once and never held, so it changes nothing; an
// accept that was under way comes back as a dropped task.
type Rescinded struct {
	At    time.Time
	Offer string
}

// Report is a task status. It settles what it is about, whoever sent it.
type Report struct {
	At      time.Time
	Task    string // task ID
	Agent   string
	Outcome Outcome
	Fault   Fault  // whose fault a failure is, as far as the sender knows
	Message string // in words
	UUID    string // set if the sender waits for an acknowledgement (raw bytes)
	Begun   bool   // with Pending: its executor has it, so a container of it may exist
	Host    string // with Pending or Alive: this host's name in the words of its volume driver; empty: not known
	Sizes   Sizes  // with Alive and Host: of the node's volumes
	Told    bool   // with Alive: its executor says so, and whether the node is in its cluster; Mesos' own word does not
	Ready   bool   // with Alive: the node is part of a cluster
	Cluster string // with Ready: UUID of that cluster
	Health  Health // with Ready: of that cluster, if the node is its elected master

	Draining bool // the agent is being emptied on an operator's order: nothing comes back there
}

// Outcome is what a task state means for the node's two volumes.
type Outcome int

// Which Mesos task states mean what is decided in the scheduler's translation, from this table:
//
//	Alive   RUNNING
//	Pending STAGING STARTING KILLING
//	Over    KILLED FAILED FINISHED, when our executor sent it: with it nothing of the node is left on its host
//	Absent  ERROR DROPPED, FAILED when its executor never registered with its agent, the states of Over from anybody else, and
//	        GONE from an agent or as the answer of a master whose agent does not know the task
//	Gone    GONE_BY_OPERATOR, and GONE that a master says by itself
//	Unsure  LOST UNKNOWN, and FAILED otherwise made up by agent or master: the executor died, its container may still write
//	Away    UNREACHABLE
const (
	Pending Outcome = iota // says nothing new
	Alive
	Over   // certainly not running, volumes unmounted
	Absent // not there: it never arrived, or its agent forgot it; a container that its executor began may still run
	Gone   // its host is gone for good, with all that ran there
	Unsure // may still be running
	Away   // may still be running, on an agent that Mesos cannot reach
)

// Fault says who is to blame for a failure, hence who must wait before the next try.
type Fault int

// The faults.
const (
	FaultNode    Fault = iota // the node itself: it waits
	FaultAgent                // image, volume driver or engine on this agent: node and agent wait
	FaultVolume               // the volume is held by another host: the node waits, but briefly
	FaultRefused              // the node refuses its volumes or its cluster: an operator decides
	FaultNone                 // nobody's: killed on purpose, drained, or the launch never arrived
	FaultHost                 // the host ended it: a fence, a restart of its engine, a dead executor; the node waits, but briefly if it was well
)

// AgentLost says that Mesos gave up an agent: no answer will come from it.
type AgentLost struct {
	At    time.Time
	Agent string
}

// Tick lets time pass.
type Tick struct{ At time.Time }

// Scale sets how many nodes of a group are wanted.
type Scale struct {
	At     time.Time
	Target int
	Group  string // empty: the default one
}

// Order is an operator's intent for one node: Restart or Retire, or Keep to take back either.
type Order struct {
	At     time.Time
	Node   NodeID
	Intent Intent
	Now    bool // with Restart: whatever state the other nodes and the cluster are in
}

// Forgive lets a held node start again, and lets it begin with an empty data volume.
type Forgive struct {
	At   time.Time
	Node NodeID
}

func (Subscribed) event() {}
func (Offers) event()     {}
func (Rescinded) event()  {}
func (Report) event()     {}
func (AgentLost) event()  {}
func (Tick) event()       {}
func (Scale) event()      {}
func (Order) event()      {}
func (Forgive) event()    {}
