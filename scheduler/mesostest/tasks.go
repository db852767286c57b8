package mesostest

import (
	"fmt"
	"maps"
	"slices"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// task is a launched task.
type task struct {
	info    mesos.TaskInfo
	state   mesos.TaskState    // that was last sent on
	pending []mesos.TaskStatus // from the executor; the first was sent on and waits for its acknowledgement
	hidden  bool               // the master does not know it, since its agent is not back
}

func (t *task) resources() []mesos.Resource {
	return slices.Concat(t.info.Resources, t.info.Executor.GetResources())
}

func (t *task) status(state mesos.TaskState, source mesos.TaskStatus_Source, reason mesos.TaskStatus_Reason, text string) mesos.TaskStatus {
	return mesos.TaskStatus{
		TaskID: t.info.TaskID, AgentID: &t.info.AgentID, State: &state, Source: &source, Reason: &reason, Message: &text,
	}
}

func terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR, mesos.TASK_LOST, mesos.TASK_DROPPED,
		mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// Tasks returns the tasks in a state, as the master sees it.
func (m *Master) Tasks(state mesos.TaskState) []mesos.TaskInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []mesos.TaskInfo
	for _, t := range m.tasksLocked() {
		if t.state == state {
			found = append(found, t.info)
		}
	}
	return found
}

// tasksLocked are all tasks, in the order of their IDs, so that what a test does has the same outcome each time.
func (m *Master) tasksLocked() []*task {
	all := make([]*task, 0, len(m.tasks))
	for _, id := range slices.Sorted(maps.Keys(m.tasks)) {
		all = append(all, m.tasks[id])
	}
	return all
}

// Unacknowledged returns how many updates wait for their acknowledgement.
func (m *Master) Unacknowledged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, t := range m.tasks {
		n += len(t.pending)
	}
	return n
}

func (m *Master) acceptLocked(a *v1.Call_Accept) {
	var accepted mesos.Resources
	agentID, role, wrong := "", "", ""
	for _, id := range a.OfferIDs {
		offer, valid := m.offers[id.Value]
		allocated := offer.GetAllocationInfo().GetRole()
		switch {
		case !valid:
			wrong = "Offer " + id.Value + " is no longer valid"
		case agentID != "" && agentID != offer.AgentID.Value:
			wrong = "Aggregated offers must belong to one single agent"
		case role != "" && role != allocated:
			wrong = "Aggregated offers must be allocated to the same role. Offer " + id.Value + " uses role '" + allocated + "' but another is using role '" + role + "'"
		}
		agentID, role, accepted = offer.AgentID.Value, allocated, append(accepted, offer.Resources...)
		delete(m.offers, id.Value)
	}
	for _, operation := range a.Operations {
		for _, info := range operation.Launch.GetTaskInfos() {
			t := &task{info: info, state: mesos.TASK_STAGING}
			allocate(t, role)
			if state, reason, text := m.refuseLocked(t, agentID, wrong, accepted); text != "" {
				m.sendStatusLocked(t.status(state, mesos.SOURCE_MASTER, reason, text))
				continue
			}
			accepted = accepted.Minus(t.resources()...)
			m.tasks[info.TaskID.Value] = t
			if m.AutoRun {
				m.updateLocked(t, mesos.TASK_RUNNING, nil)
			}
		}
	}
}

// allocate says whose resources a task uses, where its framework left that out.
func allocate(t *task, role string) {
	for _, share := range [][]mesos.Resource{t.info.Resources, t.info.Executor.GetResources()} {
		for i := range share {
			if share[i].AllocationInfo == nil {
				share[i].AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
			}
		}
	}
}

// refuseLocked says what is wrong with a launch; an empty text means nothing.
func (m *Master) refuseLocked(t *task, agentID, wrong string, accepted []mesos.Resource) (mesos.TaskState, mesos.TaskStatus_Reason, string) {
	id := t.info.TaskID.Value
	invalid := func(text string) (mesos.TaskState, mesos.TaskStatus_Reason, string) {
		return mesos.TASK_ERROR, mesos.REASON_TASK_INVALID, text
	}
	switch {
	case wrong != "":
		return mesos.TASK_DROPPED, mesos.REASON_INVALID_OFFERS, "Task launched with invalid offers: " + wrong
	case m.tasks[id] != nil:
		return invalid("Task has duplicate ID: " + id)
	case t.info.AgentID.Value != agentID:
		return invalid("Task uses invalid agent " + t.info.AgentID.Value + " while agent " + agentID + " is expected")
	case !resources.ContainsAll(accepted, t.resources()):
		return invalid(fmt.Sprintf("Total resources %v required by task and its executor is more than available", t.resources()))
	}
	return 0, 0, ""
}

// Update lets the executor of a task report a state, with data.
func (m *Master) Update(taskID string, state mesos.TaskState, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updateLocked(m.tasks[taskID], state, data)
}

func (m *Master) updateLocked(t *task, state mesos.TaskState, data []byte) {
	source := mesos.SOURCE_EXECUTOR
	m.queueLocked(t, mesos.TaskStatus{
		TaskID: t.info.TaskID, AgentID: &t.info.AgentID, State: &state, Source: &source, Data: data,
		ExecutorID: &mesos.ExecutorID{Value: t.info.TaskID.Value},
	})
}

// FailExecutor lets the agent report that an executor ended: FAILURE first, then FAILED with a reason.
func (m *Master) FailExecutor(taskID string, reason mesos.TaskStatus_Reason, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tasks[taskID]
	m.sendLocked(&v1.Event{Type: v1.Event_FAILURE, Failure: &v1.Event_Failure{
		AgentID: &t.info.AgentID, ExecutorID: &mesos.ExecutorID{Value: taskID},
	}})
	m.queueLocked(t, t.status(mesos.TASK_FAILED, mesos.SOURCE_AGENT, reason, text))
}

// queueLocked sends an update that wants an acknowledgement: at once if it is the only one of its task.
func (m *Master) queueLocked(t *task, s mesos.TaskStatus) {
	s.UUID = m.uuidLocked()
	t.pending = append(t.pending, s)
	if len(t.pending) == 1 {
		m.forwardLocked(t)
	}
}

func (m *Master) forwardLocked(t *task) {
	t.state = t.pending[0].GetState()
	m.sendStatusLocked(t.pending[0])
}

// acknowledgeLocked sends the next update of the task. Acknowledgements of anything else than the oldest update are dropped.
func (m *Master) acknowledgeLocked(a *v1.Call_Acknowledge) {
	t := m.tasks[a.TaskID.Value]
	if t == nil || len(t.pending) == 0 || string(t.pending[0].UUID) != string(a.UUID) {
		return
	}
	t.pending = t.pending[1:]
	switch {
	case len(t.pending) > 0:
		m.forwardLocked(t)
	case terminal(t.state):
		delete(m.tasks, a.TaskID.Value)
	}
}

// killLocked ends a task. Killing a task that is not known amounts to asking for it.
func (m *Master) killLocked(k *v1.Call_Kill) {
	t := m.tasks[k.TaskID.Value]
	switch {
	case t == nil || t.hidden:
		m.reconcileLocked([]v1.Call_Reconcile_Task{{TaskID: k.TaskID, AgentID: k.AgentID}})
	case t.state != mesos.TASK_UNREACHABLE && !terminal(t.state):
		m.updateLocked(t, mesos.TASK_KILLED, nil)
	}
}

// reconcileLocked answers for some tasks, for all that are known if none is named.
func (m *Master) reconcileLocked(asked []v1.Call_Reconcile_Task) {
	if len(asked) == 0 {
		for _, t := range m.tasksLocked() {
			if !t.hidden {
				m.sendStatusLocked(t.status(t.state, mesos.SOURCE_MASTER, mesos.REASON_RECONCILIATION, "Reconciliation: Latest task state"))
			}
		}
		return
	}
	for _, q := range asked {
		if t := m.tasks[q.TaskID.Value]; t != nil && !t.hidden {
			text := "Reconciliation: Latest task state"
			if t.state == mesos.TASK_UNREACHABLE {
				text = "Reconciliation: Task is unreachable"
			}
			m.sendStatusLocked(t.status(t.state, mesos.SOURCE_MASTER, mesos.REASON_RECONCILIATION, text))
			continue
		}
		m.answerLocked(q)
	}
}

// answerLocked answers for a task that is not known, by what is known of its agent.
func (m *Master) answerLocked(q v1.Call_Reconcile_Task) {
	state, text := mesos.TASK_UNKNOWN, "Reconciliation: Task is unknown"
	a := m.agents[q.GetAgentID().GetValue()]
	switch {
	case a == nil && q.AgentID == nil && m.recoveringAgentsLocked(), a != nil && a.state == recovered:
		return
	case a == nil:
	case a.state == registered:
		state, text = mesos.TASK_GONE, "Reconciliation: Task is unknown to the agent"
	case a.state == unreachable:
		state, text = mesos.TASK_UNREACHABLE, "Reconciliation: Task is unreachable"
	case a.state == gone:
		state, text = mesos.TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone by operator"
	}
	t := &task{info: mesos.TaskInfo{TaskID: q.TaskID}}
	s := t.status(state, mesos.SOURCE_MASTER, mesos.REASON_RECONCILIATION, text)
	s.AgentID = q.AgentID
	m.sendStatusLocked(s)
}

func (m *Master) recoveringAgentsLocked() bool {
	for _, a := range m.agents {
		if a.state == recovered {
			return true
		}
	}
	return false
}

func (m *Master) sendStatusLocked(s mesos.TaskStatus) {
	m.sendLocked(&v1.Event{Type: v1.Event_UPDATE, Update: &v1.Event_Update{Status: s}})
}

// Stray sends the update of a task that was launched elsewhere or long ago.
func (m *Master) Stray(info mesos.TaskInfo, state mesos.TaskState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tasks[info.TaskID.Value]
	if t == nil {
		t = &task{info: info}
		m.tasks[info.TaskID.Value] = t
	}
	m.updateLocked(t, state, nil)
}
