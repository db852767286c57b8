package coordinator_test

import (
	"fmt"
	"time"

	"mooring/coordinator"
)

// host is a machine with an agent; after a boot that agent is another one.
type host struct {
	*history
	name   string
	cpus   int64 // thousandths
	up     bool
	cut    bool // off the master; its volume driver goes on
	leaves bool // maintenance is announced
	gone   bool // for good, as an operator told the master
	agent  *agent
	boots  int
}

// agent is an agent of Mesos, as the master sees it.
type agent struct {
	id      string
	host    *host
	state   registration
	refused time.Time // no offer of it before

	attributes map[string]string
}

type registration int

const (
	unknown registration = iota
	registered
	recovered // known from the registry, not back yet
	unreachable
	gone
)

// task is a launch and what became of it.
type task struct {
	*history
	id      string
	node    coordinator.NodeID
	epoch   uint64
	agent   *agent
	cpus    int64
	memory  int64
	ports   []int
	gone    string // host that the executor was told is gone
	listed  bool   // the master knows it
	there   bool   // its executor runs, or its agent has words of it that were not acknowledged
	alive   bool   // its container runs and may write
	orphan  bool   // its executor died
	told    coordinator.Health
	pending []coordinator.Report
}

func (h *history) task(id string) *task {
	for _, t := range h.tasks {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (h *history) agentOf(id string) *agent {
	for _, a := range h.agents {
		if a.id == id {
			return a
		}
	}
	return &agent{id: id, host: &host{}}
}

// boot starts a host with a new agent.
func (h *host) boot() {
	h.boots++
	h.up, h.cut = true, false
	h.agent = &agent{id: fmt.Sprintf("%s.%d", h.name, h.boots), host: h, attributes: h.someAttributes()}
	h.agents = append(h.agents, h.agent)
}

// die ends everything on a host.
func (h *host) die() {
	h.tell("%s dies", h.name)
	h.up = false
	for _, t := range h.tasks {
		if t.agent.host == h {
			t.alive, t.there, t.pending = false, false, nil
		}
	}
}

// arrive starts a node. Its executor first ends what an older launch left on this host; the volume driver refuses it while another
// host, which lives, has the volumes, if it can.
func (t *task) arrive() {
	t.there = true
	for _, old := range t.tasks {
		if old != t && old.node == t.node && old.alive && old.agent.host == t.agent.host {
			if old.alive = false; !old.orphan {
				old.say(coordinator.Over, coordinator.FaultNone)
			}
		}
	}
	for _, other := range t.tasks {
		if other != t && other.node == t.node && other.alive {
			if t.fencing {
				t.say(coordinator.Over, coordinator.FaultVolume)
				return
			}
			t.fail("two writers: %s and %s", other.id, t.id)
		}
	}
	if t.gone != "" && !t.hostOf(t.gone).gone {
		t.fail("%s is told that %s is gone, which is not", t.id, t.gone)
	}
	if t.faults && t.chance(15) {
		t.say(coordinator.Over, t.someFault())
		return
	}
	t.alive = true
	t.say(coordinator.Pending, coordinator.FaultNone)
	t.say(coordinator.Alive, coordinator.FaultNone)
}

func (h *history) hostOf(name string) *host {
	for _, host := range h.hosts {
		if host.name == name {
			return host
		}
	}
	return nil
}

func (h *history) someFault() coordinator.Fault {
	return []coordinator.Fault{coordinator.FaultNode, coordinator.FaultAgent, coordinator.FaultVolume, coordinator.FaultRefused, coordinator.FaultHost}[h.rng.IntN(5)]
}

// end stops a container in order.
func (t *task) end(f coordinator.Fault) {
	if t.alive && !t.orphan {
		t.alive = false
		t.say(coordinator.Over, f)
	}
}

// lose ends the executor of a task while its container goes on, and has the agent say so.
func (t *task) lose() {
	if t.alive && !t.orphan {
		t.orphan = true
		t.tell("%s loses its executor", t.id)
		t.say([]coordinator.Outcome{coordinator.Unsure, coordinator.Absent}[t.rng.IntN(2)], coordinator.FaultHost)
	}
}

// say has the agent report a state until that is acknowledged, after those before.
func (t *task) say(o coordinator.Outcome, f coordinator.Fault) {
	t.numbers++
	r := coordinator.Report{Task: t.id, Agent: t.agent.id, Outcome: o, Fault: f, UUID: fmt.Sprintf("%d/%d", o, t.numbers), Begun: o == coordinator.Pending}
	if f == coordinator.FaultRefused {
		r.Message = "data volume is empty"
	}
	if o == coordinator.Pending {
		r.Host = t.agent.host.name
	}
	if o == coordinator.Alive {
		t.told = t.health
		r.Host, r.Told, r.Ready, r.Cluster, r.Health = t.agent.host.name, true, true, "uuid", t.told
	}
	if t.pending = append(t.pending, r); len(t.pending) == 1 {
		t.forward()
	}
}

// forward sends what waits for its acknowledgement, again.
func (t *task) forward() {
	if len(t.pending) > 0 && t.master.reaches(t.agent) {
		t.master.send(t.pending[0])
	}
}

func (t *task) acknowledged(uuid string) {
	if len(t.pending) == 0 || t.pending[0].UUID != uuid {
		return
	}
	last := t.pending[0].Outcome
	t.pending = t.pending[1:]
	if last != coordinator.Pending && last != coordinator.Alive {
		t.there, t.listed = false, false
	}
	t.forward()
}

// answer is what the master says of a task that it knows.
func (t *task) answer() coordinator.Report {
	r := coordinator.Report{Task: t.id, Agent: t.agent.id, Fault: coordinator.FaultNone}
	switch {
	case t.agent.state == unreachable:
		r.Outcome = coordinator.Away
	case len(t.pending) > 0 && t.pending[0].Outcome != coordinator.Pending:
		r.Outcome = t.pending[0].Outcome
		if r.Outcome == coordinator.Over {
			r.Outcome = coordinator.Absent // from hearsay
		}
	case len(t.pending) == 0 && t.alive && !t.orphan:
		r.Outcome = coordinator.Alive
	}
	return r
}
