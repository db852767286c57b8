package executor_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/rundir"
	"mooring/executor/runtimetest"
)

// quiet is a life under a fake clock, without agent and network.
type quiet struct {
	runtime *runtimetest.Fake
	run     rundir.Dir
	answer  atomic.Value // string: body of Elasticsearch's next answers; empty: no answer
	health  atomic.Value // the same, to who asks for the health
	looks   atomic.Int64 // at the health
	order   context.CancelCauseFunc
	told    []executor.Told // complete once over is closed
	over    chan struct{}
}

func newQuiet(t *testing.T) *quiet {
	q := &quiet{runtime: &runtimetest.Fake{}, run: rundir.Dir(t.TempDir()), over: make(chan struct{})}
	q.answer.Store("")
	q.health.Store("")
	return q
}

// RoundTrip is Elasticsearch.
func (q *quiet) RoundTrip(r *http.Request) (*http.Response, error) {
	text, _ := q.answer.Load().(string)
	if text == "" {
		return nil, errors.New("connection refused")
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/_nodes/_local"):
		text = `{"nodes":{"a":{"version":"8.19.5"}}}`
	case strings.HasPrefix(r.URL.Path, "/_cluster/health"):
		q.looks.Add(1)
		if text, _ = q.health.Load().(string); text == "" {
			return nil, errors.New("timeout")
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func (q *quiet) start() {
	task := coordinator.Task{Framework: "es", Node: 2, Epoch: 3, Settings: coordinator.Settings{StopSeconds: 7}}
	wanted, order := context.WithCancelCause(context.Background())
	q.order = order
	go func() {
		defer close(q.over)
		executor.Live(wanted, task, q.runtime, string(q.run), q, func(told executor.Told) { q.told = append(q.told, told) })
	}()
}

func (q *quiet) end() executor.Told {
	<-q.over
	return q.told[len(q.told)-1]
}

func (q *quiet) states() string {
	var states []string
	for _, told := range q.told {
		states = append(states, strings.TrimPrefix(told.State.String(), "TASK_"))
	}
	return strings.Join(states, " ")
}

func TestEngineIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.runtime.Fail("find", errors.New("no Docker Engine answers at unix:///x"))
		q.start()
		last := q.end()
		require.Equal(t, "STARTING LOST", q.states(), "an earlier launch may still run in that engine")
		require.Equal(t, "cannot tell whether the container is gone: no Docker Engine answers at unix:///x", last.Text)
		require.Equal(t, coordinator.FaultAgent, last.Run.Fault)
	})
}

func TestEngineComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.runtime.Fail("find", errors.New("down"))
		q.start()
		time.Sleep(20 * time.Second)
		q.runtime.Fail("find", nil)
		time.Sleep(5 * time.Second)
		q.runtime.Fail("wait", errors.New("down again"))
		q.runtime.Fail("find", errors.New("down again"))
		time.Sleep(time.Hour) // a running node is not given up because its engine is silent
		q.runtime.Fail("wait", nil)
		q.runtime.Fail("find", nil)
		q.order(executor.Order("killed", time.Second))
		q.end()
		require.Equal(t, "STARTING RUNNING KILLING KILLED", q.states())
	})
}

func TestContainerCannotBeRemoved(t *testing.T) {
	for verb, text := range map[string]string{"stop": "did not die", "remove": "device busy"} {
		synctest.Test(t, func(t *testing.T) {
			q := newQuiet(t)
			q.start()
			synctest.Wait()
			q.runtime.Fail(verb, errors.New(text))
			q.order(executor.Order("killed", 7*time.Second))
			last := q.end()
			require.Equal(t, "STARTING RUNNING KILLING LOST", q.states())
			require.Equal(t, "cannot tell whether the container is gone: "+text, last.Text)
		})
	}
}

func TestContainerIsRemovedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.start()
		synctest.Wait()
		q.runtime.Fail("remove", errors.New("device busy"))
		q.order(executor.Order("killed", 7*time.Second))
		time.Sleep(10 * time.Second)
		q.runtime.Fail("remove", nil)
		q.end()
		require.Equal(t, "STARTING RUNNING KILLING KILLED", q.states())
	})
}

func TestOrderBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.runtime.Fail("find", errors.New("down"))
		q.start()
		synctest.Wait()
		q.order(executor.Order("killed", 0))
		synctest.Wait()
		q.runtime.Fail("find", nil)
		q.end()
		require.Equal(t, "STARTING KILLING KILLED", q.states())
		require.Empty(t, q.runtime.Calls())
	})
}

func TestBeatsEndWithTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.start()
		time.Sleep(61 * time.Second)
		before, err := q.run.LastBeat()
		require.NoError(t, err)
		require.Equal(t, uint64(31), before, "one every two seconds")
		q.runtime.Fail("stop", errors.New("engine down"))
		q.order(executor.Order("killed", time.Hour))
		time.Sleep(time.Minute)
		after, err := q.run.LastBeat()
		require.NoError(t, err)
		require.Equal(t, before, after, "a node that cannot be reached stops by itself")
		q.runtime.Fail("stop", nil)
		q.end()
	})
}

func TestMembership(t *testing.T) {
	const joined, alone = `{"master_node":"m","metadata":{"cluster_uuid":"U1"}}`, `{"metadata":{"cluster_uuid":"U1"}}`
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet(t)
		q.start()
		time.Sleep(30 * time.Second)
		q.answer.Store(alone)
		time.Sleep(30 * time.Second)
		q.answer.Store(joined)
		time.Sleep(10 * time.Second) // the node has not marked its volumes yet
		_, told, err := q.run.Joined()
		require.NoError(t, err)
		require.True(t, told)
		require.NoError(t, q.run.SetStatus(rundir.Status{Phase: rundir.Started, Marked: "U1"}))
		time.Sleep(10 * time.Second)
		q.answer.Store("")
		time.Sleep(3 * time.Second) // too short to mean anything
		q.answer.Store(joined)
		time.Sleep(10 * time.Second)
		q.answer.Store(alone)
		time.Sleep(time.Minute)
		q.answer.Store(joined)
		time.Sleep(10 * time.Second)
		q.order(executor.Order("killed", 0))
		q.end()

		in := coordinator.RunReport{Ready: true, Cluster: "U1", Version: "8.19.5"}
		out := in
		out.Ready = false
		var got []coordinator.RunReport
		for _, told := range q.told {
			if told.State.String() == "TASK_RUNNING" {
				got = append(got, told.Run)
			}
		}
		require.Equal(t, []coordinator.RunReport{{}, in, out, in}, got)
	})
}
