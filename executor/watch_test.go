package executor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/rundir"
)

// The node is "a" in what the fake Elasticsearch answers.
const (
	leads   = `{"master_node":"a","metadata":{"cluster_uuid":"U1"}}`
	follows = `{"master_node":"b","metadata":{"cluster_uuid":"U1"}}`
	without = `{"metadata":{"cluster_uuid":"U1"}}`
)

// running are the reports of a node that runs.
func (q *quiet) running() (all []coordinator.RunReport) {
	for _, told := range q.told {
		if told.State.String() == "TASK_RUNNING" {
			all = append(all, told.Run)
		}
	}
	return all
}

// watched plays a node that has joined its cluster, and returns what its executor tells from then on.
func watched(t *testing.T, play func(q *quiet)) []coordinator.RunReport {
	var all []coordinator.RunReport
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		require.NoError(t, q.run.SetStatus(rundir.Status{Phase: rundir.Started, Marked: "U1"}))
		q.start()
		play(q)
		q.order(executor.Order("killed", 0))
		q.end()
		all = q.running()[1:]
	})
	return all
}

func in(h coordinator.Health) coordinator.RunReport {
	return coordinator.RunReport{Ready: true, Cluster: "U1", Version: "8.19.5", Health: h}
}

func TestTheElectedMastersExecutorTellsTheHealth(t *testing.T) {
	const recovers = `{"status":"yellow","number_of_nodes":3,"initializing_shards":1,"number_of_in_flight_fetch":2,"relocating_shards":3,"delayed_unassigned_shards":4,"unassigned_shards":5}`
	yellow, green := coordinator.Health{Status: "yellow", Nodes: 3, Initializing: 3, Relocating: 3, Delayed: 4, Unassigned: 5}, coordinator.Health{Status: "green", Nodes: 3}
	got := watched(t, func(q *quiet) {
		q.answer.Store(leads)
		q.health.Store(recovers)
		time.Sleep(time.Minute)
		q.health.Store(`{"status":"green","number_of_nodes":3}`)
		time.Sleep(time.Minute)
		q.health.Store("") // what it said before stays
		time.Sleep(time.Minute)
		q.answer.Store(follows)
		time.Sleep(time.Minute)
		q.health.Store(recovers)
		q.answer.Store(leads)
		time.Sleep(time.Minute)
		q.answer.Store(without)
		time.Sleep(time.Minute)
	})
	require.Equal(t, []coordinator.RunReport{
		in(yellow), in(green), in(coordinator.Health{}), in(yellow), {Cluster: "U1", Version: "8.19.5"},
	}, got)
}

// A recovery changes numbers all the time; looks are as far apart as updates may be.
func TestTheHealthIsLookedAtNowAndThen(t *testing.T) {
	watched(t, func(q *quiet) {
		q.answer.Store(follows)
		time.Sleep(time.Minute)
		require.Zero(t, q.looks.Load(), "there is one who knows, and tells")
		q.answer.Store(leads)
		time.Sleep(time.Minute)
		require.LessOrEqual(t, q.looks.Load(), int64(21))
		require.GreaterOrEqual(t, q.looks.Load(), int64(15))
	})
}
