package coordinator_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"mooring/coordinator"
)

// The things that may happen.

func (w *world) subscribe(*rapid.T) {
	w.offered = map[string]bool{}
	w.take(w.subscription())
}

// subscription is what comes of subscribing.
func (w *world) subscription() coordinator.Event {
	if w.torn {
		return coordinator.Removed{At: w.now}
	}
	return coordinator.Subscribed{At: w.now, FrameworkID: "f"}
}

// maintain announces that the host of an agent goes down, or takes that back, and offers what there is.
func (w *world) maintain(t *rapid.T) {
	a := w.agent(t)
	if w.down[a] = !w.down[a]; w.down[a] {
		w.take(coordinator.Maintenance{At: w.now, Notices: []coordinator.Notice{{ID: "n", Agent: a, Window: coordinator.Window{Start: w.now.Add(time.Minute)}}}})
	}
	w.settle(t)
}

// uninstall is rare: little happens after it.
func (w *world) uninstall(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "whether") == 0 {
		w.take(coordinator.Uninstall{At: w.now})
	}
}

func (w *world) offer(t *rapid.T) {
	a := w.agent(t)
	if !w.joined[a] || !w.up[a] {
		return
	}
	w.counter++
	o := offer(a)
	o.ID, o.Unavailable, o.Role = fmt.Sprintf("o%d", w.counter), w.down[a], rapid.SampledFrom([]string{"*", "hot"}).Draw(t, "role")
	o.Attributes = map[string]string{"rack": a}
	offers := []coordinator.Offer{o}
	if rapid.Bool().Draw(t, "two roles") {
		other := o
		other.ID, other.Role = o.ID+"b", map[string]string{"*": "hot", "hot": "*"}[o.Role]
		offers = append(offers, other)
	}
	w.take(coordinator.Offers{At: w.now, Offers: offers})
}

func (w *world) deliver(t *rapid.T) {
	if len(w.reports) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.reports)-1).Draw(t, "report")
	r := w.reports[i]
	if w.outOfDate(r) {
		r.Outcome = coordinator.Pending // Mesos keeps the order of one task's states
	}
	if rapid.IntRange(0, 4).Draw(t, "twice") > 0 {
		w.reports = slices.Delete(w.reports, i, i+1)
	}
	r.At = w.now
	w.take(r)
}

// deliverAll delivers what there is, in order; what comes of that waits.
func (w *world) deliverAll(*rapid.T) {
	reports := w.reports
	w.reports = nil
	for _, r := range reports {
		if r.At = w.now; !w.outOfDate(r) {
			w.take(r)
		}
	}
}

// settle starts nodes: from there trouble is not far.
func (w *world) settle(t *rapid.T) {
	for range w.up {
		w.offer(t)
	}
	w.deliverAll(t)
}

// outOfDate tells whether a report says of a task what is no longer so.
func (w *world) outOfDate(r coordinator.Report) bool {
	task := w.tasks[r.Task]
	alive := task != nil && task.alive
	return r.Outcome == coordinator.Alive && !alive || r.Outcome == coordinator.Over && alive
}

func (w *world) drop(t *rapid.T) {
	if len(w.reports) > 0 {
		i := rapid.IntRange(0, len(w.reports)-1).Draw(t, "report")
		w.reports = slices.Delete(w.reports, i, i+1)
	}
}

func (w *world) tick(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second)
	w.take(coordinator.Tick{At: w.now})
}

// cut loses an agent to the master while its containers go on.
func (w *world) cut(t *rapid.T) {
	a := w.agent(t)
	if w.joined[a] {
		w.joined[a] = false
		w.take(coordinator.AgentLost{At: w.now, Agent: a})
	}
}

func (w *world) join(t *rapid.T) {
	a := w.agent(t)
	w.joined[a] = w.up[a]
}

// die kills a host with all its containers; nobody says so.
func (w *world) die(t *rapid.T) {
	a := w.agent(t)
	w.up[a], w.joined[a] = false, false
	for _, task := range w.tasks {
		task.alive = task.alive && task.agent != a
	}
}

func (w *world) revive(t *rapid.T) {
	a := w.agent(t)
	w.up[a], w.joined[a] = true, true
}

// markGone has an operator tell the master that a host, which is dead, never comes back.
func (w *world) markGone(t *rapid.T) {
	a := w.agent(t)
	if w.up[a] || len(w.up) == 1 {
		return
	}
	delete(w.up, a)
	delete(w.joined, a)
	w.gone[a] = true
	for id, task := range w.tasks {
		if task.agent == a {
			w.reconcile([]coordinator.TaskRef{{Task: id, Agent: a}})
		}
	}
}

// orphan kills an executor while its container goes on. The agent says so until it is heard, and forgets the task then.
func (w *world) orphan(*rapid.T) {
	for id, task := range w.tasks {
		if task.alive && task.known && task.heard {
			w.say(id, coordinator.Unsure)
			task.known = false
			return
		}
	}
}

// silence says that a host's heartbeat stands still: because it lost its store and fenced itself, or falsely. Of some nodes nobody
// takes the volumes over by time.
func (w *world) silence(t *rapid.T) {
	w.settle(t)
	e := coordinator.HostSilent{At: w.now, Host: w.agent(t), Since: w.now.Add(-20 * time.Second), Kept: map[coordinator.NodeID]string{}}
	if rapid.IntRange(0, 4).Draw(t, "kept") == 0 {
		e.Kept[coordinator.NodeID(rapid.IntRange(1, 4).Draw(t, "node"))] = "unguarded"
	}
	if rapid.Bool().Draw(t, "true") {
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			if _, kept := e.Kept[w.tasks[id].node]; w.tasks[id].agent == e.Host && !kept {
				w.end(id, coordinator.Over)
			}
		}
	}
	w.take(e)
}

func (w *world) beat(t *rapid.T) { w.take(coordinator.HostBeats{At: w.now, Host: w.agent(t)}) }

func (w *world) crash(t *rapid.T) {
	for id, task := range w.tasks {
		if task.alive && w.joined[task.agent] {
			w.end(id, coordinator.Over)
			return
		}
	}
}

func (w *world) scale(t *rapid.T) {
	e := coordinator.Scale{At: w.now, Target: rapid.IntRange(0, 5).Draw(t, "target")}
	if len(w.rules.Groups) > 0 {
		e.Group = rapid.SampledFrom(groupNames).Draw(t, "group")
	}
	w.take(e)
}

func (w *world) order(t *rapid.T) {
	w.take(coordinator.Order{
		At: w.now, Node: coordinator.NodeID(rapid.IntRange(0, 6).Draw(t, "node")),
		Intent: rapid.SampledFrom([]coordinator.Intent{coordinator.Keep, coordinator.Restart, coordinator.Retire}).Draw(t, "intent"),
	})
}

func (w *world) happenings() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"subscribe": w.subscribe, "offer": w.offer, "offer again": w.offer, "deliver": w.deliver, "deliver more": w.deliver, "deliver all": w.deliverAll,
		"drop": w.drop, "tick": w.tick, "cut": w.cut, "join": w.join, "die": w.die, "revive": w.revive, "crash": w.crash, "silence": w.silence, "beat": w.beat, "orphan": w.orphan, "mark gone": w.markGone,
		"scale": w.scale, "order": w.order, "uninstall": w.uninstall, "maintain": w.maintain,
	}
}
