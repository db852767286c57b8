package scheduler

import (
	"encoding/json"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// report says what a status means for a node and its volumes. What is alive, over, unsure and away is defined at
// coordinator.Outcome.
func report(s *mesos.TaskStatus, at time.Time) coordinator.Report {
	run := runReport(s)
	r := coordinator.Report{
		At:      at,
		Task:    s.TaskID.Value,
		Agent:   s.GetAgentID().GetValue(),
		Outcome: outcome(s),
		Message: message(s),
		UUID:    string(s.UUID),
	}
	r.Draining = s.GetReason() == mesos.REASON_AGENT_DRAINING
	r.Begun = r.Outcome == coordinator.Pending && fromExecutor(s)
	if r.Outcome == coordinator.Alive || r.Outcome == coordinator.Pending {
		r.Host = run.Host
	}
	switch {
	case r.Outcome == coordinator.Alive:
		r.Told = fromExecutor(s)
		r.Ready, r.Cluster, r.Health, r.Sizes = run.Ready, run.Cluster, run.Health, run.Sizes
	case fromExecutor(s) && (s.GetState() == mesos.TASK_FAILED || s.GetState() == mesos.TASK_LOST): // it lost its container
		r.Fault = run.Fault
	default:
		r.Fault = fault(s)
	}
	return r
}

// runReport is what our executor added to a status; the zero report if there is nothing, or nothing that can be read.
// Statuses from a reconciliation come without it.
func runReport(s *mesos.TaskStatus) coordinator.RunReport {
	var run coordinator.RunReport
	if !fromExecutor(s) || json.Unmarshal(s.Data, &run) != nil {
		return coordinator.RunReport{}
	}
	return run
}

func fromExecutor(s *mesos.TaskStatus) bool { return s.GetSource() == mesos.SOURCE_EXECUTOR }

func outcome(s *mesos.TaskStatus) coordinator.Outcome {
	switch s.GetState() {
	case mesos.TASK_RUNNING:
		return coordinator.Alive
	case mesos.TASK_FINISHED, mesos.TASK_KILLED:
		if fromExecutor(s) {
			return coordinator.Over
		}
		return coordinator.Absent // killed before its executor had it, or known from hearsay: then the executor's own word is on its way
	case mesos.TASK_FAILED:
		switch {
		case fromExecutor(s):
			return coordinator.Over
		case neverRan(s):
			return coordinator.Absent
		}
		return coordinator.Unsure
	case mesos.TASK_ERROR, mesos.TASK_DROPPED:
		return coordinator.Absent
	case mesos.TASK_GONE:
		if s.GetSource() == mesos.SOURCE_MASTER && s.GetReason() != mesos.REASON_RECONCILIATION {
			return coordinator.Gone
		}
		return coordinator.Absent // an agent that lives forgot it, or gave up its executor; Mesos does not know its container
	case mesos.TASK_GONE_BY_OPERATOR:
		if fromExecutor(s) {
			return coordinator.Over // the end of a drain: Mesos gives the executor's KILLED this name if the agent is to be marked gone
		}
		return coordinator.Gone
	case mesos.TASK_LOST, mesos.TASK_UNKNOWN:
		return coordinator.Unsure
	case mesos.TASK_UNREACHABLE:
		return coordinator.Away
	}
	return coordinator.Pending // STAGING, STARTING, KILLING
}

// neverRan tells failures of tasks whose executor never reached its agent, hence never got the task (Mesos 1.11:
// slave.cpp, queued tasks are handed over after the executor's registration).
func neverRan(s *mesos.TaskStatus) bool {
	switch s.GetReason() {
	case mesos.REASON_CONTAINER_LAUNCH_FAILED, mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT:
		return true
	}
	return false
}

// fault blames for an end that was not our executor's word.
func fault(s *mesos.TaskStatus) coordinator.Fault {
	switch s.GetState() {
	case mesos.TASK_ERROR, mesos.TASK_FINISHED:
		return coordinator.FaultNode
	case mesos.TASK_FAILED:
		if neverRan(s) {
			return coordinator.FaultAgent
		}
		return coordinator.FaultHost // the executor died
	}
	return coordinator.FaultNone
}

// message is what a status says in words, on one line, with the reason if there is one.
func message(s *mesos.TaskStatus) string {
	text := strings.Join(strings.Fields(s.GetMessage()), " ")
	if s.Reason == nil || s.GetReason() == mesos.REASON_RECONCILIATION {
		return text
	}
	reason := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.Reason.String(), "REASON_"), "_", " "))
	if text == "" {
		return reason
	}
	return reason + ": " + text
}
