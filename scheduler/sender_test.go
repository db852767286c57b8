package scheduler

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler/mesostest"
)

// slowMaster answers each call when the test says so.
type slowMaster struct {
	mu      sync.Mutex
	answers map[string]chan int // statuses, of calls that wait for one
	came    []string            // all calls, in the order they came
}

// RoundTrip implements http.RoundTripper.
func (m *slowMaster) RoundTrip(r *http.Request) (*http.Response, error) {
	call, _, err := mesostest.ReadCall(r)
	if err != nil {
		return nil, err
	}
	name := call.Type.String() + " " + call.GetAcknowledge().GetTaskID().Value
	answer := make(chan int, 1)
	m.mu.Lock()
	m.answers[name], m.came = answer, append(m.came, name)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.answers, name)
	}()
	select {
	case status := <-answer:
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader("as told"))}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// waiting are the calls that wait for an answer, once there is nothing else to do.
func (m *slowMaster) waiting() []string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{}
	for name := range m.answers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *slowMaster) answer(name string, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[name] <- status
}

// sending begins to send calls of a connection; ended is closed when that is over.
func sending(t *testing.T) (master *slowMaster, conn *connection, ended <-chan struct{}) {
	master = &slowMaster{answers: map[string]chan int{}}
	ctx, cancel := context.WithCancelCause(t.Context())
	conn = &connection{
		ctx: ctx, cancel: cancel, client: &client{http: &http.Client{Transport: master, CheckRedirect: noRedirect}},
		endpoint: &url.URL{Scheme: "http", Host: "master:5050"}, stream: &http.Response{}, calls: make(chan *v1.Call, callQueue),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn.send()
	}()
	return master, conn, done
}

func (c *connection) acknowledge(tasks ...int) {
	for _, task := range tasks {
		c.enqueue(calls.Acknowledge("agent", taskName(task), []byte("0123456789abcdef")))
	}
}

func taskName(task int) string { return fmt.Sprintf("es-%03d-1", task) }

// acknowledgements are the names of those of tasks from first to last.
func acknowledgements(first, last int) []string {
	var names []string
	for task := first; task <= last; task++ {
		names = append(names, "ACKNOWLEDGE "+taskName(task))
	}
	return names
}

func TestAFewAcknowledgementsGoSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, conn, ended := sending(t)
		for task := range sideBySide + 2 {
			conn.acknowledge(task + 1)
		}
		require.Equal(t, acknowledgements(1, sideBySide), master.waiting(), "no more at once")
		master.answer("ACKNOWLEDGE "+taskName(2), http.StatusAccepted)
		require.Contains(t, master.waiting(), "ACKNOWLEDGE "+taskName(sideBySide+1), "one was answered, the next one goes")
		require.Len(t, master.waiting(), sideBySide)
		for _, name := range master.waiting() {
			master.answer(name, http.StatusAccepted)
		}
		require.Equal(t, acknowledgements(sideBySide+2, sideBySide+2), master.waiting())
		conn.drop(context.Canceled)
		<-ended
	})
}

// What concerns a task reaches Mesos in the order that was decided: it is killed, or asked for, after what it said was acknowledged.
func TestOtherCallsKeepTheirPlaceAmongAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, conn, ended := sending(t)
		conn.acknowledge(1, 2)
		conn.enqueue(calls.Kill(taskName(1), "agent"))
		conn.enqueue(reconcile(nil))
		conn.acknowledge(1)
		conn.enqueue(calls.Revive())
		for _, waiting := range [][]string{
			{"ACKNOWLEDGE es-001-1", "ACKNOWLEDGE es-002-1"}, {"ACKNOWLEDGE es-001-1"}, {"KILL "}, {"RECONCILE "}, {"ACKNOWLEDGE es-001-1"}, {"REVIVE "}, {},
		} {
			require.Equal(t, waiting, master.waiting())
			if n := len(waiting); n > 0 {
				master.answer(waiting[n-1], http.StatusAccepted)
			}
		}
		conn.drop(context.Canceled)
		<-ended
	})
}

func TestNothingIsSentAfterACallThatFailed(t *testing.T) {
	for status, says := range map[int]string{
		http.StatusServiceUnavailable: "send ACKNOWLEDGE: master answers Service Unavailable: as told",
		http.StatusTemporaryRedirect:  "send ACKNOWLEDGE: master answers Temporary Redirect: as told",
		http.StatusConflict:           "send ACKNOWLEDGE: master answers Conflict: as told",
		http.StatusUnauthorized:       "send ACKNOWLEDGE: master answers Unauthorized, it wants to know who asks",
		http.StatusOK:                 "send ACKNOWLEDGE: master answers OK: as told",
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				master, conn, ended := sending(t)
				for task := range sideBySide + 1 {
					conn.acknowledge(task + 1)
				}
				conn.enqueue(calls.Kill(taskName(1), "agent"))
				require.Len(t, master.waiting(), sideBySide)
				failed := time.Now()
				master.answer("ACKNOWLEDGE "+taskName(sideBySide), status)
				require.Empty(t, master.waiting(), "the others are not waited for")
				require.NoError(t, conn.ctx.Err(), "the stream may say why")
				<-ended
				assert.Equal(t, lastWords, time.Since(failed))
				assert.ErrorContains(t, context.Cause(conn.ctx), says)
				assert.ElementsMatch(t, acknowledgements(1, sideBySide), master.came, "nothing else was sent")
			})
		})
	}
}

func TestWhatTheStreamSaysExplainsACallThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, conn, ended := sending(t)
		conn.acknowledge(1, 2)
		require.Len(t, master.waiting(), 2)
		master.answer("ACKNOWLEDGE "+taskName(1), http.StatusBadRequest)
		require.Empty(t, master.waiting())
		conn.drop(masterError("Framework failed over"))
		<-ended
		assert.ErrorContains(t, context.Cause(conn.ctx), "another scheduler of this framework took over")
	})
}

// A connection that ends takes along what is under way: Mesos repeats what was not acknowledged.
func TestAConnectionThatEndsWaitsForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, conn, ended := sending(t)
		for task := range 2 * sideBySide {
			conn.acknowledge(task + 1)
		}
		require.Len(t, master.waiting(), sideBySide)
		began := time.Now()
		conn.drop(errOtherLeader)
		<-ended
		assert.Zero(t, time.Since(began))
		assert.Equal(t, errOtherLeader, context.Cause(conn.ctx))
		assert.Len(t, master.came, sideBySide, "nothing else was sent")
	})
}

// Whoever has calls to send waits for a master that does not answer, so that they do not pile up.
func TestAMasterThatDoesNotAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, conn, ended := sending(t)
		enqueued := make(chan struct{})
		go func() {
			defer close(enqueued)
			for task := range 2 * callQueue {
				conn.acknowledge(task + 1)
			}
		}()
		require.Len(t, master.waiting(), sideBySide)
		select {
		case <-enqueued:
			require.Fail(t, "the queue has no end")
		default:
		}
		<-ended
		assert.ErrorContains(t, context.Cause(conn.ctx), "deadline exceeded", "not for ever")
		<-enqueued
	})
}
