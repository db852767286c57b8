// Package coordinator decides which Elasticsearch node runs where. It holds rules only: it does no I/O, reads no clock and
// keeps no log. Callers hand [Step] the state, what happened and when; they save the state that comes back, then carry out
// the actions. A whole day of a cluster is therefore a list of events, and can be replayed.
//
// The life of a node:
//
//	Vacant ──launch, epoch+1──► Claimed ──RUNNING──► Running ──unsure──► Lost ──RUNNING, same epoch──► Running
//	   ▲                          │ silence: reconcile       │             │
//	   └────────── over ──────────┴──────────────────────────┴── over, or the node may be launched again safely
//
// A node's ID is unique while it is held and used again when the node is lost; its epoch grows with every launch, so that a
// late report of an earlier launch can be told from the current one. Names of tasks, volumes and Elasticsearch nodes are made
// in this package and nowhere else.
package coordinator
