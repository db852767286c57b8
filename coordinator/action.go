package coordinator

import "time"

// Action is something to do once the state that came with it is saved; see the types that implement it.
type Action interface{ action() }

// Launch accepts the offers of one agent and starts Task there with the given share of their resources.
type Launch struct {
	Offers   []string
	CPUs     int64 // thousandths
	MemoryMB int64
	Ports    []int
	Task     Task
}

// Decline gives offers back.
type Decline struct {
	Offers []string
	Refuse time.Duration // do not offer the same again earlier
	Reason string
}

// Kill ends a task. It may be sent again while the task does not end.
type Kill struct{ Task, Agent string }

// Acknowledge confirms a report that was sent with a UUID.
type Acknowledge struct{ Task, Agent, UUID string }

// Reconcile asks Mesos for the state of tasks; with no tasks, for the state of all it knows of.
type Reconcile struct{ Tasks []TaskRef }

// TaskRef names a task on an agent. Without the agent Mesos may not answer.
type TaskRef struct{ Task, Agent string }

// Suppress asks for no more offers to some roles; none are all.
type Suppress struct{ Roles []string }

// Revive asks for offers to some roles, including those refused before; none are all.
type Revive struct{ Roles []string }

// Seeds tells a running node where the others are.
type Seeds struct {
	Task, Agent string
	Seeds       []string // transport addresses, host:port
	Ask         bool     // its executor is to tell its state again
}

// Note tells an operator something about a node: why it waits, or what went wrong.
type Note struct {
	Node NodeID
	Text string
}

func (Launch) action()      {}
func (Decline) action()     {}
func (Kill) action()        {}
func (Acknowledge) action() {}
func (Reconcile) action()   {}
func (Suppress) action()    {}
func (Revive) action()      {}
func (Seeds) action()       {}
func (Note) action()        {}
