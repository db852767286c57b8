package coordinator_test

import (
	"errors"
	"slices"

	"mooring/coordinator"
)

// process is one scheduler. It loads the state when its term begins, takes events in one after the other, and acts on what is
// saved. It may stop between any two of these, and learn late that another one leads.
type process struct {
	*history
	name     string
	rules    coordinator.Rules
	up, done bool // done: the framework is uninstalled
	session  int
	term     int // 0: it stands by
	state    coordinator.State
	known    bool // kept and versions are those of what is kept
	kept     coordinator.State
	versions []int
	conn     *stream
}

// stream is a subscription: events on their way to a scheduler, and calls on their way from it.
type stream struct {
	in         []coordinator.Event
	out        []coordinator.Action
	suppressed bool // as SUBSCRIBE asked
	over       ending
}

type ending int

const (
	open       ending = iota
	cutOff            // cut, or the master is no more
	failedOver        // another one subscribed
	removed           // the framework is no more
)

func (p *process) crash() {
	p.tell("scheduler %s dies", p.name)
	p.drop()
	p.up, p.term, p.state, p.known = false, 0, coordinator.State{}, false
	if len(p.schedulers) == 1 { // the file's lock goes with the process
		p.keeper.expire(p.session)
	}
}

// rise starts a scheduler, if it does not run, with what its operator has chosen by then.
func (p *process) rise() {
	if !p.up {
		p.chooseAnew()
		p.up, p.rules = true, p.history.rules
	}
}

func (p *process) drop() {
	if p.conn != nil && p.master.stream == p.conn {
		p.master.hangUp(cutOff)
	}
	p.conn = nil
}

// standBy ends a term.
func (p *process) standBy() {
	p.tell("scheduler %s stands by", p.name)
	p.drop()
	p.term = 0
}

// lead begins a term, if it is this one's turn.
func (p *process) lead() {
	k := &p.keeper
	if !p.up || p.done || p.term > 0 || k.away {
		return
	}
	if !slices.Contains(k.candidates, p.session) {
		p.session = k.join()
	}
	if k.candidates[0] != p.session {
		return
	}
	k.epoch++
	p.counts.terms++
	if p.faults && p.chance(12) {
		return // that it leads was not heard: it tries again
	}
	p.term = k.epoch
	p.load()
	if p.state.Removal == coordinator.Uninstalled {
		p.done = true
	}
	p.tell("scheduler %s leads, term %d", p.name, p.term)
}

func (p *process) load() {
	p.known, p.kept, p.versions = true, p.keeper.state, slices.Clone(p.keeper.versions)
	if !p.oldState || p.state.Framework == "" {
		p.state = p.kept
	}
}

// looks has a scheduler find out that its term is over.
func (p *process) looks() {
	if p.term > 0 && !p.keeper.away && (p.term != p.keeper.epoch || !slices.Contains(p.keeper.candidates, p.session)) {
		p.standBy()
	}
}

func (p *process) subscribe() {
	m := &p.master
	if p.term == 0 || p.conn != nil || p.done || !m.up {
		return
	}
	if m.removed {
		p.removed()
		return
	}
	if m.stream != nil {
		m.hangUp(failedOver)
	}
	p.conn = &stream{suppressed: p.state.Suppressed}
	m.subscribed(p.conn)
	p.tell("scheduler %s subscribes", p.name)
	p.counts.subscriptions++
}

// removed ends a scheduler whose framework is no more.
func (p *process) removed() {
	p.conn = nil
	if p.take(coordinator.Removed{At: p.now}) {
		p.done = true
	}
}

// listen takes in what came on the stream: one event, or reports that came together.
func (p *process) listen() {
	c := p.conn
	switch {
	case c == nil:
	case len(c.in) > 0:
		count := 1
		for p.chance(2) && count < len(c.in) && isReport(c.in[count-1]) && isReport(c.in[count]) {
			count++
		}
		events := c.in[:count]
		c.in = c.in[count:]
		p.take(events...)
	case c.over == removed:
		p.removed()
	case c.over == failedOver && p.term == p.keeper.epoch && !p.keeper.away:
		p.crash() // it ends with an error: somebody else schedules who must not
	case c.over == failedOver:
		p.standBy()
	case c.over == cutOff:
		p.drop()
	}
}

func isReport(e coordinator.Event) bool {
	_, is := e.(coordinator.Report)
	return is
}

// take decides, saves, acts. It tells whether the state was saved.
func (p *process) take(events ...coordinator.Event) bool {
	next, actions := p.state, []coordinator.Action(nil)
	for _, e := range events {
		e = dated(e, p.now)
		before := next
		var more []coordinator.Action
		next, more = p.step(before, e)
		p.check(before, next, e, more)
		actions = append(actions, more...)
	}
	p.counts.steps += len(events)
	if p.failure != "" {
		return false
	}
	if p.actFirst {
		p.act(actions)
	}
	if p.acknowledgeFirst {
		for _, a := range of[coordinator.Acknowledge](actions) {
			p.act([]coordinator.Action{a})
		}
	}
	if p.faults && p.chance(30) {
		p.crash()
		return false
	}
	if err := p.save(next); err != nil && !p.believes {
		p.tell("scheduler %s: not saved: %s", p.name, err)
		p.known = false
		p.drop()
		if errors.Is(err, errFenced) && p.chance(2) {
			p.standBy()
		}
		return false
	}
	p.state = next
	for _, n := range next.Nodes {
		p.groups[n.ID] = n.Group // it is kept and told
	}
	if p.faults && p.chance(30) {
		p.crash()
		return true
	}
	p.act(actions)
	return true
}

func (p *process) save(next coordinator.State) error {
	k := &p.keeper
	if k.away {
		return errAway
	}
	if !p.known {
		p.known, p.kept, p.versions = true, k.state, slices.Clone(k.versions)
	}
	w := changes(p.term, p.kept, next, p.versions)
	fate := 9
	if p.faults {
		fate = p.rng.IntN(40)
	}
	switch {
	case fate == 0:
		return errAway // nothing was written
	case fate == 1 && len(p.schedulers) > 1:
		k.late = append(k.late, w)
		return errAway
	}
	versions, err := k.commit(w)
	if err != nil {
		return err
	}
	if fate == 2 {
		p.counts.unheard++
		return errAway // it was written, and nobody heard of that
	}
	p.kept, p.versions = next, versions
	return nil
}

// act hands over calls, which the stream brings to the master in their order, as far as it comes.
func (p *process) act(actions []coordinator.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case coordinator.Launch:
			p.checkClaimed(a)
		case coordinator.Acknowledge:
			p.checkSaved(a)
		}
		if p.conn != nil {
			p.conn.out = append(p.conn.out, a)
		}
	}
}

// speak brings calls to the master.
func (p *process) speak(count int) {
	for c := p.conn; c != nil && count > 0 && len(c.out) > 0; count-- {
		call := c.out[0]
		c.out = c.out[1:]
		if p.master.stream != c {
			p.drop() // refused: that subscription is over
			return
		}
		p.master.carryOut(call)
	}
}
