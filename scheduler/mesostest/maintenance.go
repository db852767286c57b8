package mesostest

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Maintain announces that an agent goes down: its offers are taken back and made again with the window, and so long as tasks run
// there, Announce says so.
func (m *Master) Maintain(id string, start time.Time, duration time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].unavailable = &mesos.Unavailability{
		Start: mesos.TimeInfo{Nanoseconds: start.UnixNano()}, Duration: &mesos.DurationInfo{Nanoseconds: duration.Nanoseconds()},
	}
	m.rescindLocked(id)
	m.offerLocked()
	m.announceLocked()
}

// CancelMaintenance takes an announcement back. Mesos does so without a word, save that offers come without the window.
func (m *Master) CancelMaintenance(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].unavailable = nil
	m.rescindLocked(id)
	m.offerLocked()
}

// Announce repeats the inverse offers, as Mesos does once their filters have run out.
func (m *Master) Announce() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announceLocked()
}

func (m *Master) announceLocked() {
	event := &v1.Event{Type: v1.Event_INVERSE_OFFERS, InverseOffers: &v1.Event_InverseOffers{}}
	for _, id := range m.agentIDsLocked() {
		if a := m.agents[id]; a.unavailable != nil && m.busyLocked(id) {
			event.InverseOffers.InverseOffers = append(event.InverseOffers.InverseOffers, mesos.InverseOffer{
				OfferID: mesos.OfferID{Value: m.idLocked("I")}, FrameworkID: *m.framework.ID, AgentID: &mesos.AgentID{Value: id}, Unavailability: *a.unavailable,
			})
		}
	}
	if len(event.InverseOffers.InverseOffers) > 0 {
		m.sendLocked(event)
	}
}

func (m *Master) busyLocked(agentID string) bool {
	for _, t := range m.tasks {
		if t.info.AgentID.Value == agentID && !terminal(t.state) {
			return true
		}
	}
	return false
}

// Drain has an agent kill its tasks, and offers it no more. There is no announcement.
func (m *Master) Drain(id string, markGone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].draining = true
	m.rescindLocked(id)
	state := mesos.TASK_KILLED
	if markGone {
		state = mesos.TASK_GONE_BY_OPERATOR
	}
	for _, t := range m.tasksLocked() {
		if t.info.AgentID.Value == id && !terminal(t.state) {
			s := t.status(state, mesos.SOURCE_EXECUTOR, mesos.REASON_AGENT_DRAINING, "Agent is draining")
			s.ExecutorID = &mesos.ExecutorID{Value: t.info.TaskID.Value}
			m.queueLocked(t, s)
		}
	}
}
