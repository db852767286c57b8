package scheduler_test

import (
	"slices"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
)

// befall has something befall somebody.
func (h *history) befall() {
	if h.rng.IntN(2) == 0 {
		h.befallCluster(agent(1 + h.rng.IntN(historyAgents)).ID)
		return
	}
	p := h.schedulers[h.rng.IntN(len(h.schedulers))]
	if p.run == nil && h.rng.IntN(2) == 0 && len(h.queue) > 0 {
		p = h.queue[0]
	}
	if h.rng.IntN(2) == 0 {
		h.order(p, h.rng.IntN(4))
	} else if h.alone() {
		h.befallScheduler(p, h.rng.IntN(6))
	} else {
		h.befallScheduler(p, h.rng.IntN(12))
	}
}

func (h *history) befallCluster(id string) {
	switch kind := h.rng.IntN(9); {
	case kind < 2 && !slices.Contains(h.lost, id):
		h.happens("%s is lost", id)
		h.master.LoseAgent(id)
		h.lost = append(h.lost, id)
	case kind == 2:
		h.returnAll()
	case kind == 3:
		h.happens("the connection breaks")
		h.master.Cut()
	case kind == 4:
		h.happens("the master fails over")
		h.master.Failover()
		h.lost = nil
		for i := range historyAgents {
			h.master.Reregister(agent(i + 1).ID)
		}
	case kind == 5:
		h.failTask()
	case kind == 6:
		lose := h.someCall()
		h.happens("of lost calls, %s is one or is none any more, no other is", lose)
		h.master.Fault(func(f *mesostest.Faults) { f.Lose = map[v1.Call_Type]bool{lose: !f.Lose[lose]} })
	case kind == 7 && h.rules.Fencing:
		h.fallSilent(id)
	case kind == 8:
		h.happens("all hosts beat")
		h.beat("")
	}
}

func (h *history) failTask() {
	if tasks := h.runningTasks(); len(tasks) > 0 {
		task := tasks[h.rng.IntN(len(tasks))]
		h.happens("%s fails", task)
		h.master.Update(task, mesos.TASK_FAILED, nil)
	}
}

func (h *history) someCall() v1.Call_Type {
	return []v1.Call_Type{v1.Call_ACCEPT, v1.Call_ACCEPT, v1.Call_ACKNOWLEDGE, v1.Call_KILL, v1.Call_RECONCILE}[h.rng.IntN(5)]
}

// befallScheduler has something befall a scheduler. From 6 on it takes two of them, since whoever gave an order cannot know what came
// of it.
func (h *history) befallScheduler(p *process, kind int) {
	after := h.rng.IntN(4)
	switch kind {
	case 0:
		if p.run != nil {
			h.happens("scheduler %d is stopped", p.number)
			if err := p.stop(); err != nil && h.alone() {
				h.notices("scheduler %d ends with an error: %s", p.number, err)
			}
			p.away = true
			h.queue = slices.DeleteFunc(h.queue, func(q *process) bool { return q == p })
		}
	case 1:
		h.arm(p, &p.atWrite, hitch{armed: true, after: after, meets: refused})
	case 2:
		h.arm(p, &p.atWrite, hitch{armed: true, after: after, meets: []fate{refused, unheard}[h.rng.IntN(2)], dies: true})
	case 3:
		h.arm(p, &p.atCall, hitch{armed: true, call: h.someCall(), meets: []fate{refused, done, unheard}[h.rng.IntN(3)], dies: true})
	case 4:
		h.arm(p, &p.atCall, hitch{armed: true, call: h.someCall(), meets: []fate{refused, unheard}[h.rng.IntN(2)]})
	case 5:
		h.happens("scheduler %d gets slow, or fast again", p.number)
		p.change(func() { p.slow = !p.slow })
	case 6:
		h.happens("scheduler %d is cut off from the keeper, or joined again", p.number)
		p.change(func() { p.cut = !p.cut })
	case 7, 8:
		h.arm(p, &p.atWrite, hitch{armed: true, after: after, meets: []fate{unheard, late, late}[h.rng.IntN(3)]})
	default:
		if i := slices.Index(h.queue, p); i >= 0 {
			h.happens("the session of scheduler %d ends, and it does not know", p.number)
			h.queue = slices.Delete(h.queue, i, i+1)
			h.failTask() // so that there is something to save
		}
	}
}

func (h *history) arm(p *process, which *hitch, with hitch) {
	h.happens("scheduler %d, after %d others: %s", p.number, with.after, with)
	p.change(func() { *which = with })
}

func (h *history) returnAll() {
	h.happens("%v return", h.lost)
	for _, agent := range h.lost {
		h.master.ReturnAgent(agent)
	}
	h.lost = nil
}

// heal mends everything, has one scheduler lead, and waits until all is as it should be.
func (h *history) heal() {
	h.master.Fault(func(f *mesostest.Faults) { f.Lose = nil })
	h.returnAll()
	h.beat("")
	for _, p := range h.schedulers {
		p.change(func() { p.cut, p.slow, p.atCall, p.atWrite = false, false, hitch{}, hitch{} })
	}
	h.master.Cut() // what got lost is asked for again, and offers that a lost call accepted are made again
	ordered := h.alone()
	well := func() bool {
		h.attend()
		if p := h.leader(); p != nil && !ordered && !h.keeper.mayArrive() {
			if ordered = h.scale(p, historyNodes); ordered {
				h.operator.scaled(historyNodes)
			}
		}
		h.allJoin()
		return ordered && h.well()
	}
	if !h.eventually(well) {
		h.notices("not everything wanted runs, or something else does: %v run, wanted are %v, kept is %+v", h.runningTasks(), h.operator.wants(), h.keeper.look())
	}
}

// allJoin has each node join the cluster of which that is not known: nodes that are to be restarted wait for it.
func (h *history) allJoin() {
	p := h.leader()
	if p == nil || h.master.Unacknowledged() > 0 {
		return
	}
	for _, task := range h.master.Tasks(mesos.TASK_RUNNING) {
		if id, epoch, _ := coordinator.ParseTaskID("es", task.TaskID.Value); p.node(id).Epoch == epoch && !p.node(id).Ready {
			h.joined(task)
		}
	}
}

// eventually polls a condition, less and less often, until it holds, something is wrong, or nobody would wait any more.
func (h *history) eventually(condition func() bool) bool {
	every := 20 * time.Millisecond
	for end := time.Now().Add(historyPatience); time.Now().Before(end); {
		if condition() || len(h.wrongs()) > 0 {
			return true
		}
		time.Sleep(every)
		synctest.Wait()
		every = min(every*5/4, 5*time.Second)
	}
	return false
}

// leader is the process that schedules, if it is the only one and may; else nil.
func (h *history) leader() *process {
	var found *process
	for _, p := range h.schedulers {
		if p.stale() || p.isDead() {
			return nil
		}
		if p.run != nil && p.run.scheduler.View().Loaded {
			found = p
		}
	}
	return found
}

func (h *history) well() bool {
	p := h.leader()
	if p == nil {
		return false
	}
	view := p.run.scheduler.View()
	if view.Subscribed == "" || len(view.State.Silent) > 0 || h.master.Unacknowledged() > 0 {
		return false
	}
	var current []string
	for id, wanted := range h.operator.wanted() {
		if !wanted {
			continue
		}
		n := p.node(id)
		if n.Phase != coordinator.Running || n.Epoch <= h.operator.replaced[id] {
			return false
		}
		current = append(current, coordinator.TaskID("es", id, n.Epoch))
	}
	return slices.Equal(current, h.runningTasks())
}

// node is what a scheduler knows of a node, the zero Node if that is nothing.
func (p *process) node(id coordinator.NodeID) coordinator.Node {
	if nodes := p.run.scheduler.View().State.Nodes; int(id) <= len(nodes) {
		return nodes[id-1]
	}
	return coordinator.Node{}
}
