package coordinator_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"mooring/coordinator"
)

// history is a cluster and what befalls it, known by its seed: agents, masters, schedulers, the store and the operators all fail.
// Messages are late, lost, or come after their sender was replaced.
type history struct {
	broken
	rng     *rand.Rand
	now     time.Time
	fencing bool // the volumes refuse a second writer
	grouped bool // there are groups of nodes, constraints, and hosts that differ
	faults  bool // something may still go wrong
	health  coordinator.Health

	rules      coordinator.Rules // that a scheduler starts with
	perHost    int               // nodes on one host at most
	region     string            // of masters
	keeper     keeper
	master     master
	schedulers []*process
	hosts      []*host
	agents     []*agent
	tasks      []*task // all that were ever launched
	numbers    int     // given out so far

	launched map[coordinator.NodeID]uint64 // the highest epoch that the master was asked for
	claimed  map[launch]coordinator.Place  // all that was ever kept
	groups   map[coordinator.NodeID]string // of each node that somebody knows to be kept

	failure string
	story   func(format string, args ...any)
	counts  counts
}

// launch names one launch of a node.
type launch struct {
	node  coordinator.NodeID
	epoch uint64
}

// counts tell whether the histories are about something.
type counts struct {
	histories, steps, launches, terms, subscriptions, failovers, fenced, unheard, late, uninstalled, rounds, grouped, moves int
}

func (c *counts) add(o counts) {
	c.histories += o.histories
	c.steps += o.steps
	c.launches += o.launches
	c.terms += o.terms
	c.subscriptions += o.subscriptions
	c.failovers += o.failovers
	c.fenced += o.fenced
	c.unheard += o.unheard
	c.late += o.late
	c.uninstalled += o.uninstalled
	c.rounds += o.rounds
	c.grouped += o.grouped
	c.moves += o.moves
}

// newHistory is a cluster of four to six hosts and one to five nodes, or some in groups, with one scheduler and a file, or two and ZooKeeper.
func newHistory(seed uint64, b broken) *history {
	h := &history{broken: b, rng: rand.New(rand.NewPCG(seed, 0)), now: t0, faults: true, launched: map[coordinator.NodeID]uint64{}, claimed: map[launch]coordinator.Place{},
		groups: map[coordinator.NodeID]string{}}
	h.counts.histories = 1
	h.fencing = !h.chance(3)
	h.grouped = h.chance(2)
	nodes := 1 + h.rng.IntN(5)
	if h.grouped {
		h.perHost, h.region, nodes = 1+h.rng.IntN(2), []string{"", "here"}[h.rng.IntN(2)], h.rng.IntN(4)
	}
	h.rules = h.choose()
	h.keeper = keeper{history: h, state: coordinator.NewState("es", nodes)}
	h.keeper.versions = make([]int, 1+len(h.keeper.state.Nodes))
	h.master = master{history: h, up: true}
	for i := range 4 + h.rng.IntN(3) {
		host := &host{history: h, name: fmt.Sprintf("h%d", i), cpus: 3000}
		if h.grouped && h.chance(3) {
			host.cpus = 1500
		}
		h.hosts = append(h.hosts, host)
		host.boot()
	}
	for i := range 1 + min(1, h.rng.IntN(4)) {
		h.schedulers = append(h.schedulers, &process{history: h, name: string(rune('a' + i)), up: true, rules: h.rules})
	}
	return h
}

func (h *history) chance(oneIn int) bool { return h.rng.IntN(oneIn) == 0 }

func (h *history) tell(format string, args ...any) {
	if h.story != nil {
		h.story("%s "+format, append([]any{h.now.Format(time.TimeOnly)}, args...)...)
	}
}

func (h *history) fail(format string, args ...any) {
	if h.failure == "" {
		h.failure = fmt.Sprintf(format, args...)
		h.tell("FAILURE: %s", h.failure)
	}
}

const length = 160 // things that happen in a history

// play lets things happen, then ends all trouble and looks whether everything that is wanted runs, and nothing else.
func (h *history) play() {
	h.quiet()
	for range length {
		if h.failure != "" {
			return
		}
		h.happen()
	}
	h.heal()
	if h.chance(4) {
		h.maintain()
	}
}

// happen lets one thing happen. Most of the time that is what there is to do.
func (h *history) happen() {
	p := h.schedulers[h.rng.IntN(len(h.schedulers))]
	switch n := h.rng.IntN(100); {
	case n < 5:
		h.now = h.now.Add(time.Duration(h.rng.IntN(90)) * time.Second)
		p.tick()
	case n < 25:
		p.listen()
	case n < 40:
		p.speak(1 + h.rng.IntN(5))
	case n < 45:
		p.lead()
		p.subscribe()
	case n < 59:
		h.quiet()
	case n < 60:
		h.healthChanges()
	case n < 70:
		h.agentActs(h.hosts[h.rng.IntN(len(h.hosts))])
	case n < 74:
		h.operate(p)
	case n < 84:
		h.schedulerFails(p)
	case n < 87:
		h.keeperFails()
	case n < 90:
		h.masterFails()
	default:
		h.hostFails(h.hosts[h.rng.IntN(len(h.hosts))])
	}
}

// quiet is a while in which all do what they have to.
func (h *history) quiet() {
	h.now = h.now.Add(time.Duration(h.rng.IntN(5)) * time.Second)
	for _, p := range h.schedulers {
		p.lead()
		p.subscribe()
		p.tick()
	}
	for _, host := range h.hosts {
		h.agentActs(host)
	}
	h.exchange()
}

// exchange brings all messages there are, and those that come of them.
func (h *history) exchange() {
	for range 4 {
		for _, p := range h.schedulers {
			for p.conn != nil && len(p.conn.in) > 0 {
				p.listen()
			}
			p.speak(1000)
		}
	}
}

func (p *process) tick() {
	if p.conn != nil {
		p.take(coordinator.Tick{})
	}
}

// agentActs has an agent register, repeat what was not acknowledged, and its resources offered.
func (h *history) agentActs(on *host) {
	if !on.up {
		return
	}
	h.master.register(on.agent)
	for _, t := range h.tasks {
		if t.agent == on.agent {
			t.forward()
		}
	}
	h.master.offer(on.agent)
}

func (h *history) operate(p *process) {
	if p.term == 0 || p.done {
		return
	}
	node := coordinator.NodeID(1 + h.rng.IntN(max(5, len(p.state.Nodes))+1))
	switch h.rng.IntN(12) {
	case 0, 1, 2:
		scale := coordinator.Scale{Target: h.rng.IntN(6)}
		if h.grouped && !h.chance(3) {
			scale = coordinator.Scale{Target: h.rng.IntN(4), Group: modelGroups[h.rng.IntN(len(modelGroups))]}
		}
		p.take(scale)
	case 3, 4:
		p.take(coordinator.Order{Node: node, Intent: coordinator.Restart})
	case 5, 6:
		p.take(coordinator.Order{Node: node, Intent: coordinator.Retire})
	case 7:
		p.take(coordinator.Order{Node: node, Intent: coordinator.Keep})
	case 8, 9, 10:
		h.forgive(p, node)
	case 11:
		if h.chance(4) {
			p.take(coordinator.Uninstall{})
		}
	}
}

// forgive has an operator say that a node does not run, who has looked.
func (h *history) forgive(p *process, node coordinator.NodeID) {
	for _, t := range h.tasks {
		if t.node == node && (t.alive || t.listed && !t.there && t.agent.host.agent == t.agent) {
			return // it runs, or may yet
		}
	}
	p.take(coordinator.Forgive{Node: node})
}

// dated is an event that happens now.
func dated(e coordinator.Event, now time.Time) coordinator.Event {
	switch e := e.(type) {
	case coordinator.Subscribed:
		e.At = now
		return e
	case coordinator.Offers:
		e.At = now
		return e
	case coordinator.Report:
		e.At = now
		return e
	case coordinator.AgentLost:
		e.At = now
		return e
	case coordinator.HostSilent:
		e.At = now
		return e
	case coordinator.HostBeats:
		e.At = now
		return e
	case coordinator.Tick:
		e.At = now
		return e
	case coordinator.Scale:
		e.At = now
		return e
	case coordinator.Order:
		e.At = now
		return e
	case coordinator.Forgive:
		e.At = now
		return e
	case coordinator.Maintenance:
		e.At = now
		return e
	case coordinator.Uninstall:
		e.At = now
		return e
	case coordinator.Removed:
		e.At = now
		return e
	}
	panic(fmt.Sprintf("no time for event %T", e))
}
