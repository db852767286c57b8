package mesostest

import (
	"maps"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Agent describes an agent.
type Agent struct {
	ID         string
	Host       string  // its address
	CPUs       float64 // unreserved
	MemoryMB   float64 // unreserved
	FirstPort  uint64
	LastPort   uint64
	Reserved   []mesos.Resource // besides; offered to a role that each reservation is for
	Attributes []mesos.Attribute
	Region     string // of its fault domain; empty: it has none
	Zone       string
}

// agent is an Agent and what became of it.
type agent struct {
	Agent
	state       agentState
	unavailable *mesos.Unavailability // announced maintenance
	draining    bool
}

type agentState int

const (
	registered  agentState = iota
	recovered              // known from the registry, not yet back after a failover of the master
	unreachable            // failed its pings
	gone                   // declared gone by an operator
)

// AddAgent registers an agent and offers what it has.
func (m *Master) AddAgent(a Agent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[a.ID] = &agent{Agent: a}
	m.offerLocked()
}

// Offer offers all that is free and not offered, unless the framework wants no offers.
func (m *Master) Offer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offerLocked()
}

func (m *Master) offerLocked() {
	if m.stream == nil {
		return
	}
	event := &v1.Event{Type: v1.Event_OFFERS, Offers: &v1.Event_Offers{}}
	used := m.usedLocked()
	for _, id := range m.agentIDsLocked() {
		a := m.agents[id]
		if a.state != registered || a.draining {
			continue
		}
		free := m.free(a, used[id])
		for _, role := range m.rolesLocked() {
			if share := free[role]; len(share) > 0 && !m.suppressed[role] {
				offer := m.offer(a, role, share)
				m.offers[offer.ID.Value] = offer
				event.Offers.Offers = append(event.Offers.Offers, offer)
			}
		}
	}
	if len(event.Offers.Offers) > 0 {
		m.sendLocked(event)
	}
}

func (m *Master) agentIDsLocked() []string {
	return slices.Sorted(maps.Keys(m.agents))
}

func (m *Master) offer(a *agent, role string, free []mesos.Resource) mesos.Offer {
	path := "/slave(1)"
	return mesos.Offer{
		ID:             mesos.OfferID{Value: m.idLocked("O")},
		FrameworkID:    *m.framework.ID,
		AgentID:        mesos.AgentID{Value: a.ID},
		Hostname:       "name-of-" + a.Host,
		URL:            &mesos.URL{Scheme: "http", Address: mesos.Address{IP: &a.Host, Port: 5051}, Path: &path},
		Resources:      free,
		Attributes:     a.Attributes,
		Domain:         domain(a.Region, a.Zone),
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role},
		Unavailability: a.unavailable,
	}
}

func domain(region, zone string) *mesos.DomainInfo {
	if region == "" {
		return nil
	}
	return &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
		Region: mesos.DomainInfo_FaultDomain_RegionInfo{Name: region}, Zone: mesos.DomainInfo_FaultDomain_ZoneInfo{Name: zone},
	}}
}

func (m *Master) rolesLocked() []string {
	if len(m.framework.Roles) > 0 {
		return m.framework.Roles
	}
	return []string{m.framework.GetRole()}
}

// allocateeLocked is the role of the framework that may have a resource; empty if none may. What is not reserved goes to the first
// role that wants offers, as if that one had got the least so far.
func (m *Master) allocateeLocked(r mesos.Resource) string {
	for _, role := range m.rolesLocked() {
		if len(r.Reservations) == 0 && !m.suppressed[role] {
			return role
		}
		if len(r.Reservations) > 0 {
			reserved := r.Reservations[len(r.Reservations)-1].GetRole() // the refinement that counts
			if role == reserved || strings.HasPrefix(role, reserved+"/") {
				return role
			}
		}
	}
	return ""
}

// usedLocked is what tasks use and what is offered, by agent.
func (m *Master) usedLocked() map[string][]mesos.Resource {
	used := map[string][]mesos.Resource{}
	for _, t := range m.tasks {
		if !terminal(t.state) {
			used[t.info.AgentID.Value] = append(used[t.info.AgentID.Value], unallocated(t.resources())...)
		}
	}
	for _, o := range m.offers {
		used[o.AgentID.Value] = append(used[o.AgentID.Value], unallocated(o.Resources)...)
	}
	return used
}

// free is what an agent has beyond what is used, by the role that may have it.
func (m *Master) free(a *agent, used []mesos.Resource) map[string][]mesos.Resource {
	free := mesos.Resources{
		scalar("cpus", a.CPUs), scalar("mem", a.MemoryMB),
		{Name: "ports", Type: mesos.RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: a.FirstPort, End: a.LastPort}}}},
	}
	free = append(free, a.Reserved...)
	free = free.Minus(used...)
	byRole := map[string][]mesos.Resource{}
	for _, r := range free {
		if role := m.allocateeLocked(r); role != "" && !r.IsEmpty() {
			r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
			byRole[role] = append(byRole[role], r)
		}
	}
	return byRole
}

// unallocated are the same resources, whoever has them.
func unallocated(resources []mesos.Resource) []mesos.Resource {
	all := slices.Clone(resources)
	for i := range all {
		all[i].AllocationInfo = nil
	}
	return all
}

func scalar(name string, value float64) mesos.Resource {
	return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value}}
}

// LoseAgent declares an agent unreachable: its offers are taken back, its tasks may go on. Of tasks that the master does not know,
// since the agent has not been back after a Failover, it says nothing.
func (m *Master) LoseAgent(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].state = unreachable
	m.rescindLocked(id)
	for _, t := range m.tasksLocked() {
		if t.info.AgentID.Value != id || t.hidden || terminal(t.state) {
			continue
		}
		t.state = mesos.TASK_UNREACHABLE
		s := t.status(mesos.TASK_UNREACHABLE, mesos.SOURCE_MASTER, mesos.REASON_AGENT_REMOVED, "health check timed out")
		s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: 1}
		m.sendStatusLocked(s)
	}
	m.sendLocked(&v1.Event{Type: v1.Event_FAILURE, Failure: &v1.Event_Failure{AgentID: &mesos.AgentID{Value: id}}})
}

func (m *Master) rescindLocked(agentID string) {
	for _, id := range slices.Sorted(maps.Keys(m.offers)) {
		o := m.offers[id]
		if o.AgentID.Value == agentID {
			delete(m.offers, id)
			m.sendLocked(&v1.Event{Type: v1.Event_RESCIND, Rescind: &v1.Event_Rescind{OfferID: o.ID}})
		}
	}
}

// ReturnAgent brings an unreachable agent back, with its tasks still running.
func (m *Master) ReturnAgent(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].state = registered
	for _, t := range m.tasksLocked() {
		if t.info.AgentID.Value == id && t.state == mesos.TASK_UNREACHABLE {
			t.state = mesos.TASK_RUNNING
			m.sendStatusLocked(t.status(mesos.TASK_RUNNING, mesos.SOURCE_MASTER, mesos.REASON_AGENT_REREGISTERED, "Unreachable agent re-reregistered"))
		}
	}
	m.offerLocked()
}

// Failover replaces the master by a new leader that knows its agents from the registry, and no task.
func (m *Master) Failover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(true)
	for _, a := range m.agents {
		a.state = recovered
	}
	for _, t := range m.tasks {
		t.hidden = true
	}
	m.removed = map[string]bool{}
}

// Reregister brings an agent back after a Failover, without a word about tasks whose updates were acknowledged.
func (m *Master) Reregister(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].state = registered
	for _, t := range m.tasksLocked() {
		if t.info.AgentID.Value != id {
			continue
		}
		t.hidden = false
		if t.state == mesos.TASK_UNREACHABLE { // that was the word of the master before
			t.state = mesos.TASK_RUNNING
		}
	}
	m.resendLocked()
	m.offerLocked()
}

// MarkGone declares an agent gone for good, on an operator's word.
func (m *Master) MarkGone(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[id].state = gone
	m.rescindLocked(id)
	for _, t := range m.tasksLocked() {
		if t.info.AgentID.Value == id && !terminal(t.state) {
			t.state = mesos.TASK_GONE_BY_OPERATOR
			m.sendStatusLocked(t.status(t.state, mesos.SOURCE_MASTER, mesos.REASON_AGENT_REMOVED_BY_OPERATOR, "Agent has been marked gone"))
		}
	}
}
