package coordinator_test

import (
	"fmt"
	"slices"
	"time"

	"mooring/coordinator"
)

func (h *history) schedulerFails(p *process) {
	switch h.rng.IntN(5) {
	case 0:
		if p.up {
			p.crash()
		} else {
			p.rise()
		}
	case 1:
		if len(h.schedulers) > 1 { // whether it lives or not: it knows nothing of that yet
			h.tell("the session of scheduler %s is over", p.name)
			h.keeper.expire(p.session)
		}
	case 2:
		p.looks()
	case 3:
		if h.master.stream != nil {
			h.tell("the subscription breaks")
			h.master.hangUp(cutOff)
		}
	default:
		p.rise()
		p.lead()
	}
}

func (h *history) keeperFails() {
	if h.chance(2) {
		h.keeper.arrive()
		return
	}
	h.keeper.away = !h.keeper.away
}

func (h *history) masterFails() {
	if h.master.up && h.chance(2) {
		h.master.failover(!h.chance(4))
	} else {
		h.master.up = true
	}
}

func (h *history) hostFails(on *host) {
	switch h.rng.IntN(9) {
	case 0:
		on.die()
	case 1, 2:
		if !on.up && !on.gone {
			on.boot()
		}
	case 3:
		on.cut = !on.cut
	case 4:
		if !on.up || on.cut || h.chance(4) {
			h.master.lose(on.agent)
		}
	case 5:
		h.someTask(on, func(t *task) { t.end(h.someFault()) })
	case 6:
		h.someTask(on, (*task).lose)
	case 7:
		h.announce(on)
	case 8:
		h.tellOfDeath(on)
	}
}

func (h *history) someTask(on *host, do func(*task)) {
	for _, t := range h.tasks {
		if t.alive && t.agent.host == on {
			do(t)
			return
		}
	}
}

// announce tells that a host goes down for maintenance, or takes that back.
func (h *history) announce(on *host) {
	if on.leaves = !on.leaves; on.leaves {
		h.numbers++
		h.master.send(coordinator.Maintenance{Notices: []coordinator.Notice{{
			ID: fmt.Sprintf("n%d", h.numbers), Agent: on.agent.id, Window: coordinator.Window{Start: h.now.Add(time.Minute)},
		}}})
	}
}

// tellOfDeath has somebody say what became of a host: schedulers hear when its heartbeat stands still, and when it beats again; an operator
// sees to it that a dead one never comes back.
func (h *history) tellOfDeath(on *host) {
	switch {
	case h.fencing && !h.chance(3):
		for _, p := range h.schedulers {
			p.hears(on)
		}
	case !on.up && !on.gone && h.fewGone() && h.master.up:
		h.markGone(on)
	}
}

// hears tells a leading scheduler of a heartbeat. One that stands still is that of a host which is dead or has fenced itself.
func (p *process) hears(of *host) {
	if p.term == 0 || p.done {
		return
	}
	if _, silent := p.state.Silent[of.name]; silent {
		if of.up {
			p.take(coordinator.HostBeats{Host: of.name})
		}
		return
	}
	for _, t := range p.tasks {
		if t.agent.host == of {
			t.end(coordinator.FaultHost)
			t.alive = false
		}
	}
	p.take(coordinator.HostSilent{Host: of.name, Since: p.now.Add(-20 * time.Second)})
}

func (h *history) fewGone() bool {
	return !slices.ContainsFunc(h.hosts, func(o *host) bool { return o.gone })
}

func (h *history) markGone(on *host) {
	h.tell("%s is marked gone", on.name)
	on.gone, on.agent.state = true, gone
	for _, t := range h.tasks {
		if t.listed && t.agent == on.agent {
			t.listed = false
			h.master.send(coordinator.Report{Task: t.id, Agent: on.agent.id, Outcome: coordinator.Gone})
		}
	}
}
