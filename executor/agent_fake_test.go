package executor_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/recordio"
)

const enough = time.Minute

// fakeAgent is a Mesos agent as one executor sees it: the v1 executor API in protobuf, with the checks of a real one.
type fakeAgent struct {
	t      *testing.T
	server *httptest.Server
	change chan struct{} // gets a value after every call; never blocks a call

	mu         sync.Mutex
	away       int           // answer to SUBSCRIBE while the agent recovers; 0: it is there
	token      string        // without it a call is not authentic; empty: all are
	failing    int           // answer to the next UPDATE; 0: as usual
	silent     bool          // updates are not acknowledged
	stream     chan []byte   // records of the present subscription; nil without one
	cut        chan struct{} // closed when that subscription ends
	subscribes []mesosexec.Call_Subscribe
	statuses   []mesos.TaskStatus // each UUID once, in order
	repeated   int                // updates with a known UUID
	watch      func(mesos.TaskStatus)
}

func newFakeAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{t: t, change: make(chan struct{}, 1)}
	a.server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.hangUp()
		a.server.Close()
	})
	return a
}

func (a *fakeAgent) endpoint() string { return strings.TrimPrefix(a.server.URL, "http://") }

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		select {
		case a.change <- struct{}{}:
		default:
		}
	}()
	body, err := io.ReadAll(r.Body)
	var call mesosexec.Call
	switch {
	case r.URL.Path != "/api/v1/executor":
		http.Error(w, "no such path", http.StatusNotFound)
	case a.token != "" && r.Header.Get("Authorization") != "Bearer "+a.token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method != http.MethodPost:
		http.Error(w, "Expecting 'POST'", http.StatusMethodNotAllowed)
	case r.Header.Get("Content-Type") != "application/x-protobuf":
		http.Error(w, "Expecting 'Content-Type' of application/json or application/x-protobuf", http.StatusUnsupportedMediaType)
	case err != nil || call.Unmarshal(body) != nil:
		http.Error(w, "Failed to parse body into Call protobuf", http.StatusBadRequest)
	case call.Type == mesosexec.Call_SUBSCRIBE:
		a.subscribe(w, r, *call.Subscribe)
	case call.Type == mesosexec.Call_UPDATE:
		a.update(w, call.Update.Status)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (a *fakeAgent) subscribe(w http.ResponseWriter, r *http.Request, call mesosexec.Call_Subscribe) {
	a.mu.Lock()
	if a.away != 0 {
		defer a.mu.Unlock()
		http.Error(w, "Agent has not finished recovery", a.away)
		return
	}
	if a.stream != nil {
		close(a.cut) // a newer subscription closes the older one
	}
	stream, cut := make(chan []byte, 100), make(chan struct{})
	a.stream, a.cut = stream, cut
	a.subscribes = append(a.subscribes, call)
	for _, u := range call.UnacknowledgedUpdates {
		a.takeLocked(u.Status)
	}
	a.mu.Unlock()

	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
	a.write(w, mustRecord(a.t, mesosexec.Event{Type: mesosexec.Event_SUBSCRIBED, Subscribed: &mesosexec.Event_Subscribed{
		ExecutorInfo: mesos.ExecutorInfo{ExecutorID: mesos.ExecutorID{Value: "ex"}}, FrameworkInfo: mesos.FrameworkInfo{User: "root", Name: "es"},
		AgentInfo: mesos.AgentInfo{Hostname: "host"},
	}}))
	for {
		select {
		case record := <-stream:
			a.write(w, record)
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (a *fakeAgent) write(w http.ResponseWriter, record []byte) {
	for _, part := range [][]byte{record[:1], record[1:]} { // borders of chunks mean nothing
		_, _ = w.Write(part)
		w.(http.Flusher).Flush()
	}
}

func mustRecord(t *testing.T, event mesosexec.Event) []byte {
	body, err := event.Marshal()
	require.NoError(t, err)
	return recordio.Append(nil, body)
}

// update checks what a real agent checks.
func (a *fakeAgent) update(w http.ResponseWriter, status mesos.TaskStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fail := func(code int, text string) { http.Error(w, text, code) }
	switch {
	case a.failing != 0:
		code := a.failing
		a.failing = 0
		fail(code, "as the test wants it")
	case a.stream == nil:
		fail(http.StatusForbidden, "Executor is not subscribed")
	case len(status.UUID) != 16:
		fail(http.StatusBadRequest, "Failed to validate Executor::Call: Expecting 'uuid' to be present")
	case status.Source == nil || *status.Source != mesos.SOURCE_EXECUTOR:
		fail(http.StatusBadRequest, "Failed to validate Executor::Call: invalid source, expecting 'SOURCE_EXECUTOR'")
	case status.GetState() == mesos.TASK_STAGING:
		fail(http.StatusBadRequest, "Failed to validate Executor::Call: Received TASK_STAGING which is not allowed")
	default:
		a.takeLocked(status)
		w.WriteHeader(http.StatusAccepted)
	}
}

// takeLocked stores an update and acknowledges it.
func (a *fakeAgent) takeLocked(status mesos.TaskStatus) {
	known := false
	for _, s := range a.statuses {
		known = known || bytes.Equal(s.UUID, status.UUID)
	}
	if known {
		a.repeated++
	} else {
		a.statuses = append(a.statuses, status)
		if a.watch != nil {
			a.watch(status)
		}
	}
	if !a.silent {
		a.acknowledgeLocked(status)
	}
}

func (a *fakeAgent) acknowledgeLocked(status mesos.TaskStatus) {
	a.stream <- mustRecord(a.t, mesosexec.Event{Type: mesosexec.Event_ACKNOWLEDGED, Acknowledged: &mesosexec.Event_Acknowledged{
		TaskID: status.TaskID, UUID: status.UUID,
	}})
}

// acknowledge acknowledges everything so far.
func (a *fakeAgent) acknowledge() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = false
	for _, s := range a.statuses {
		a.acknowledgeLocked(s)
	}
}

// send sends an event in the present subscription, once there is one.
func (a *fakeAgent) send(event mesosexec.Event) {
	a.t.Helper()
	a.until("a subscription", func() bool { return a.stream != nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream <- mustRecord(a.t, event)
}

func (a *fakeAgent) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stream != nil {
		close(a.cut)
		a.stream = nil
	}
}

// set changes how the agent behaves.
func (a *fakeAgent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// until waits for something to hold, which is looked at with the agent locked.
func (a *fakeAgent) until(what string, holds func() bool) {
	a.t.Helper()
	deadline := time.After(enough)
	for {
		a.mu.Lock()
		done, states := holds(), a.statesLocked()
		a.mu.Unlock()
		if done {
			return
		}
		select {
		case <-a.change:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			require.FailNow(a.t, "waited in vain for "+what, "states: %v", states)
		}
	}
}

// statesLocked passes over updates that tell of the cluster's health only: of a real one that changes at any time.
func (a *fakeAgent) statesLocked() []string {
	var states []string
	for i, s := range a.statuses {
		if i > 0 && onlyHealth(a.statuses[i-1], s) {
			continue
		}
		states = append(states, strings.TrimPrefix(s.GetState().String(), "TASK_"))
	}
	return states
}

func onlyHealth(before, after mesos.TaskStatus) bool {
	var was, is coordinator.RunReport
	if before.GetState() != after.GetState() || json.Unmarshal(before.Data, &was) != nil || json.Unmarshal(after.Data, &is) != nil || was.Health == is.Health {
		return false
	}
	was.Health = is.Health
	return was == is
}

// untilStates waits for the updates' states, one word each, and returns the last status.
func (a *fakeAgent) untilStates(want string) *mesos.TaskStatus {
	a.t.Helper()
	a.until("states "+want, func() bool { return strings.Join(a.statesLocked(), " ") == want })
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.statuses[len(a.statuses)-1]
	return &last
}

// TestFakeAgentAgreesWithRecordings sends the calls of recorded executors to the fake, which must answer like the real agent.
func TestFakeAgentAgreesWithRecordings(t *testing.T) {
	for _, file := range []string{"custom-executor.txt", "bad-executor.txt"} {
		agent := newFakeAgent(t)
		text, err := os.ReadFile("testdata/" + file)
		require.NoError(t, err)
		var calls, want []string
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if call, ok := strings.CutPrefix(line, ">>> "); ok {
				calls = append(calls, call)
			}
			if status, ok := strings.CutPrefix(line, "<<< "); ok {
				want = append(want, status)
			}
		}
		require.Len(t, calls, len(want))
		for i, text := range calls {
			var call mesosexec.Call
			require.NoError(t, json.Unmarshal([]byte(text), &call))
			body, err := call.Marshal()
			require.NoError(t, err)
			response, err := http.Post(agent.server.URL+"/api/v1/executor", "application/x-protobuf", bytes.NewReader(body))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, response.Body.Close()) })
			require.Equal(t, want[i], response.Status, fmt.Sprintf("%s, call %d", file, i))
			if i == 0 { // the subscription
				record, err := bufio.NewReader(response.Body).ReadString('\n')
				require.NoError(t, err)
				require.NotEmpty(t, record)
			}
		}
	}
}
