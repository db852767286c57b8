package scheduler

import (
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// count counts something that happened. What it is, the API explains to those who read the metrics.
func (l *loop) count(name string, n int) { l.scheduler.counters.add(name, n) }

// record counts, logs and shows an action.
func (l *loop) record(a coordinator.Action) {
	switch a := a.(type) {
	case coordinator.Launch:
		l.count("mooring_launches_total", 1)
		l.log.Info("launching", "node", a.Task.Node, "epoch", a.Task.Epoch, "agent", a.Task.Place.Agent, "host", a.Task.Place.Host)
		l.show(func(v *View) { delete(v.Notes, a.Task.Node) })
	case coordinator.Decline:
		l.count(fmt.Sprintf("mooring_offers_declined_total{reason=%q}", a.Reason), len(a.Offers))
	case coordinator.Kill:
		l.count("mooring_kills_total", 1)
		l.log.Info("killing", "task", a.Task, "agent", a.Agent)
	case coordinator.Reconcile:
		l.count("mooring_reconciliations_total", 1)
		l.log.Debug("reconciling", "tasks", len(a.Tasks))
	case coordinator.AnswerNotice:
		l.count(fmt.Sprintf("mooring_maintenance_answers_total{accept=\"%t\"}", a.Accept), len(a.Notices))
	case coordinator.Teardown:
		l.log.Info("no node runs any more: Mesos is told to forget the framework")
	case coordinator.Note:
		l.note(a)
	}
}

// note keeps what an operator should know of a node. It is logged when it says something new.
func (l *loop) note(n coordinator.Note) {
	var news bool
	l.show(func(v *View) {
		news = v.Notes[n.Node] != n
		v.Notes[n.Node] = n
	})
	if news {
		l.log.Info("node waits", "node", n.Node, "why", n.Text)
	}
}

// noteStatus counts, logs and shows a status.
func (l *loop) noteStatus(s *mesos.TaskStatus) {
	l.count(fmt.Sprintf("mooring_updates_total{state=%q}", s.GetState()), 1)
	id, epoch, ours := coordinator.ParseTaskID(l.state.Framework, s.TaskID.Value)
	if !ours {
		return
	}
	l.log.Info("status", "node", id, "epoch", epoch, "state", s.GetState(), "agent", s.GetAgentID().GetValue(), "message", message(s))
	if int(id) > len(l.state.Nodes) || l.state.Nodes[id-1].Epoch != epoch {
		return // an earlier launch
	}
	version := runReport(s).Version
	l.show(func(v *View) {
		d := v.Details[id]
		if d.Task != s.TaskID.Value {
			d = Detail{Task: s.TaskID.Value}
		}
		d.State = s.GetState().String()
		if version != "" {
			d.Version = version
		}
		v.Details[id] = d
	})
}
