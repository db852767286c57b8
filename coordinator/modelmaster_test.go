package coordinator_test

import (
	"fmt"
	"slices"
	"time"

	"mooring/coordinator"
)

// master is whichever Mesos master leads.
type master struct {
	*history
	up         bool
	stream     *stream
	offers     []standing
	suppressed bool
	removed    bool // the framework was torn down
}

// standing is an offer that waits for its answer.
type standing struct {
	id    string
	agent *agent
}

func (m *master) send(e coordinator.Event) {
	if !m.up || m.stream == nil {
		return
	}
	if offers, is := e.(coordinator.Offers); is && len(m.stream.in) > 0 && m.chance(2) {
		if before, is := m.stream.in[len(m.stream.in)-1].(coordinator.Offers); is { // they are made together
			before.Offers = append(before.Offers, offers.Offers...)
			m.stream.in[len(m.stream.in)-1] = before
			return
		}
	}
	m.stream.in = append(m.stream.in, e)
}

// hangUp ends the subscription. What was on its way to the scheduler may get lost.
func (m *master) hangUp(why ending) {
	c := m.stream
	m.stream, m.offers = nil, nil
	c.over = why
	if why == cutOff && m.chance(2) {
		c.in = nil
	}
	for _, a := range m.agents {
		a.refused = time.Time{}
	}
}

func (m *master) subscribed(c *stream) {
	m.stream, m.suppressed = c, c.suppressed
	m.send(coordinator.Subscribed{FrameworkID: "f", Region: m.region})
	if c.suppressed && m.chance(2) {
		c.out = append(c.out, coordinator.Revive{})
	}
}

// failover has another master lead. It knows the agents only if there is a registry, and of tasks only what agents tell.
func (m *master) failover(registry bool) {
	m.tell("the master fails over, registry: %t", registry)
	m.counts.failovers++
	if m.stream != nil {
		m.hangUp(cutOff)
	}
	m.up, m.removed = false, false
	for _, t := range m.tasks {
		t.listed = false
	}
	for _, a := range m.agents {
		if a.state == registered || a.state == recovered || a.state == unreachable && !registry {
			a.state = recovered
			if !registry {
				a.state = unknown
			}
		}
	}
}

func (m *master) carryOut(call coordinator.Action) {
	switch c := call.(type) {
	case coordinator.Launch:
		m.launch(c)
	case coordinator.Decline:
		for _, id := range c.Offers {
			if a := m.takeOffer(id); a != nil {
				a.refused = m.now.Add(c.Refuse)
			}
		}
	case coordinator.Kill:
		m.kill(c)
	case coordinator.Acknowledge:
		if t := m.task(c.Task); t != nil && m.reaches(t.agent) {
			t.acknowledged(c.UUID)
		}
	case coordinator.Reconcile:
		m.reconcile(c.Tasks)
	case coordinator.Suppress:
		m.suppressed = true
	case coordinator.Revive:
		m.suppressed = false
		for _, a := range m.agents {
			a.refused = time.Time{}
		}
	case coordinator.Seeds:
		if t := m.task(c.Task); c.Ask && t != nil && m.reaches(t.agent) && t.alive && !t.orphan {
			t.say(coordinator.Alive, coordinator.FaultNone)
		}
	case coordinator.Teardown:
		m.tearDown()
	}
}

func (m *master) takeOffer(id string) *agent {
	i := slices.IndexFunc(m.offers, func(o standing) bool { return o.id == id })
	if i < 0 {
		return nil
	}
	a := m.offers[i].agent
	m.offers = slices.Delete(m.offers, i, i+1)
	return a
}

func (m *master) launch(l coordinator.Launch) {
	n := l.Task.Node
	if l.Task.Epoch <= m.launched[n] {
		m.fail("an epoch is launched once: node %d at epoch %d again", n, l.Task.Epoch)
	}
	m.launched[n] = max(m.launched[n], l.Task.Epoch)
	var on *agent
	for _, id := range l.Offers {
		on = m.takeOffer(id)
	}
	t := &task{history: m.history, id: l.Task.ID(), node: n, epoch: l.Task.Epoch, agent: on, gone: l.Task.Gone, cpus: l.CPUs, memory: l.MemoryMB, ports: l.Ports}
	m.tasks = append(m.tasks, t)
	m.counts.launches++
	if m.grouped {
		m.counts.grouped++
	}
	if on == nil {
		t.agent = m.agentOf(l.Task.Place.Agent)
		m.send(coordinator.Report{Task: t.id, Agent: t.agent.id, Outcome: coordinator.Absent, Fault: coordinator.FaultNone})
		return
	}
	m.tell("%s is launched on %s", t.id, on.id)
	t.listed = true
	if m.reaches(on) && !(m.faults && m.chance(12)) {
		t.arrive()
	}
}

func (m *master) kill(k coordinator.Kill) {
	t := m.task(k.Task)
	switch {
	case t == nil || !t.listed:
		m.reconcile([]coordinator.TaskRef{{Task: k.Task, Agent: k.Agent}})
	case !m.reaches(t.agent): // the kill gets lost
	case !t.there:
		m.forgets(t)
	default:
		t.end(coordinator.FaultNone)
	}
}

// forgets has the master tell that an agent does not know a task that it should.
func (m *master) forgets(t *task) {
	t.listed = false
	m.send(coordinator.Report{Task: t.id, Agent: t.agent.id, Outcome: coordinator.Absent, Fault: coordinator.FaultNone})
}

// reconcile answers for some tasks, or for all that are known; not at all while an agent may be on its way back.
func (m *master) reconcile(asked []coordinator.TaskRef) {
	if len(asked) == 0 {
		for _, t := range m.tasks {
			if t.listed {
				m.send(t.answer())
			}
		}
	}
	for _, ref := range asked {
		t, a := m.task(ref.Task), m.agentOf(ref.Agent)
		r := coordinator.Report{Task: ref.Task, Agent: ref.Agent, Fault: coordinator.FaultNone}
		switch {
		case t != nil && t.listed:
			r = t.answer()
		case a.state == recovered:
			continue
		case a.state == registered:
			r.Outcome = coordinator.Absent
		case a.state == unreachable:
			r.Outcome = coordinator.Away
		case a.state == gone:
			r.Outcome = coordinator.Gone
		default:
			r.Outcome = coordinator.Unsure
		}
		m.send(r)
	}
}

// offer offers what an agent has, unless it was refused or nothing is wanted.
func (m *master) offer(a *agent) {
	if m.stream == nil || m.suppressed || !m.reaches(a) || m.now.Before(a.refused) || slices.ContainsFunc(m.offers, func(o standing) bool { return o.agent == a }) {
		return
	}
	m.numbers++
	o := m.free(a)
	o.ID = fmt.Sprintf("o%d", m.numbers)
	m.offers = append(m.offers, standing{o.ID, a})
	m.send(coordinator.Offers{Offers: []coordinator.Offer{o}})
}

// free is what an agent has that no task uses.
func (m *master) free(a *agent) coordinator.Offer {
	o := coordinator.Offer{Agent: a.id, Host: a.host.name, CPUs: a.host.cpus, MemoryMB: 8192, Unavailable: a.host.leaves, Attributes: a.attributes}
	var used []int
	for _, t := range m.tasks {
		if t.agent == a && (t.listed || t.there) {
			o.CPUs, o.MemoryMB, used = o.CPUs-t.cpus, o.MemoryMB-t.memory, append(used, t.ports...)
		}
	}
	first := 9200
	slices.Sort(used)
	for _, port := range append(used, 9400) {
		if first < port {
			o.Ports = append(o.Ports, coordinator.PortRange{First: first, Last: port - 1})
		}
		first = max(first, port+1)
	}
	return o
}

// lose gives an agent up that was not heard of.
func (m *master) lose(a *agent) {
	if a.state != registered && a.state != recovered {
		return
	}
	m.tell("%s is lost", a.id)
	a.state = unreachable
	m.offers = slices.DeleteFunc(m.offers, func(o standing) bool { return o.agent == a })
	for _, t := range m.tasks {
		if t.listed && t.agent == a {
			m.send(coordinator.Report{Task: t.id, Agent: a.id, Outcome: coordinator.Away, Fault: coordinator.FaultNone})
		}
	}
	m.send(coordinator.AgentLost{Agent: a.id})
}

// register takes an agent in, with what it knows of tasks; again, if something on its way to it got lost with the connection.
func (m *master) register(a *agent) {
	if !m.up || !a.host.up || a.host.cut || a.host.agent != a {
		return
	}
	returns := a.state == unreachable
	if a.state != registered {
		m.tell("%s registers", a.id)
	}
	a.state = registered
	for _, t := range m.tasks {
		switch {
		case t.agent != a:
		case t.there:
			t.listed = true
			if returns && len(t.pending) == 0 {
				m.send(t.answer())
			}
		case t.listed:
			m.forgets(t)
		}
	}
}

func (m *master) reaches(a *agent) bool {
	return m.up && a.state == registered && a.host.up && !a.host.cut && a.host.agent == a
}

// tearDown ends all tasks unseen. Nothing of a node may be left by then that its executor accounts for, but what was replaced.
func (m *master) tearDown() {
	for _, t := range m.tasks {
		if t.alive && !t.orphan && t.epoch == m.keeper.state.Nodes[t.node-1].Epoch {
			m.fail("%s runs when the framework is torn down", t.id)
		}
		t.alive, t.there, t.listed, t.pending = false, false, false, nil
	}
	m.removed = true
	m.hangUp(removed)
}
