package executor

import (
	"bytes"
	"slices"
	"sync"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
)

// outbox keeps what the agent has not acknowledged. All of it goes into every SUBSCRIBE: an agent that was restarted knows
// nothing else of it (Mesos 1.11, executor HTTP API). An update sent twice with the same UUID counts once.
type outbox struct {
	mu      sync.Mutex
	tasks   []mesos.TaskInfo // of which no update was acknowledged
	updates []update         // in the order in which they happened
}

type update struct {
	status mesos.TaskStatus
	sent   bool // in the present subscription
}

// addTask remembers a task that the agent has launched.
func (b *outbox) addTask(task mesos.TaskInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks = append(b.tasks, task)
}

// add remembers an update to send.
func (b *outbox) add(status mesos.TaskStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.updates = append(b.updates, update{status: status})
}

// acknowledge forgets an update, and its task: an agent that has stored one update of a task knows the task.
func (b *outbox) acknowledge(task string, uuid []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.updates = slices.DeleteFunc(b.updates, func(u update) bool { return bytes.Equal(u.status.UUID, uuid) })
	b.tasks = slices.DeleteFunc(b.tasks, func(t mesos.TaskInfo) bool { return t.TaskID.Value == task })
}

func (b *outbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.updates) == 0
}

// subscribe begins a subscription, which carries everything that was not acknowledged.
func (b *outbox) subscribe() *mesosexec.Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	var updates []mesosexec.Call_Update
	for i := range b.updates {
		b.updates[i].sent = true
		updates = append(updates, mesosexec.Call_Update{Status: b.updates[i].status})
	}
	return calls.Subscribe(slices.Clone(b.tasks), updates)
}

// next returns the first update that the present subscription has not carried, and counts it as sent.
func (b *outbox) next() (mesos.TaskStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.updates {
		if !b.updates[i].sent {
			b.updates[i].sent = true
			return b.updates[i].status, true
		}
	}
	return mesos.TaskStatus{}, false
}
