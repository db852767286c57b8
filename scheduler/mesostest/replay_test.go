package mesostest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/internal/recordio"
	"mooring/scheduler/mesostest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience      = time.Minute
	recordedAgent = "c9dda2dd-2f50-477b-bda9-223df131b223-S0"
	mediaType     = "application/x-protobuf"
)

// The recordings are JSON, the scripted master speaks protobuf. What is only about JSON has no counterpart.
var onlyJSON = regexp.MustCompile(`^Failed to (parse body into JSON|convert JSON)|^Failed to validate master::Call`)

func TestTheScriptedMasterAnswersAsARealOne(t *testing.T) {
	for _, name := range []string{
		"02-lifecycle-command-executor", "04-reconcile-partition-aware", "06-agent-loss", "07-failover", "09-errors",
		"10-accept-errors-partition-aware",
	} {
		t.Run(name, func(t *testing.T) {
			recording, err := os.ReadFile("testdata/" + name + ".txt")
			require.NoError(t, err)
			p := newPlayer(t)
			all := blocks(string(recording))
			for i, b := range all {
				if next := all[min(i+1, len(all)-1)]; !onlyJSON.MatchString(next.body) && !onlyJSON.MatchString(b.body) {
					p.play(b)
				}
			}
			p.end()
		})
	}
}

// block is a request, a response, an event or a note.
type block struct {
	head    string // first line
	conn    string
	start   string // of the request or status line
	headers http.Header
	body    string
}

var connection = regexp.MustCompile(`connection=([\w-]+)(\.\w+)?`)

func blocks(recording string) []block {
	var all []block
	var lines []string
	flush := func() {
		if len(lines) > 0 {
			all = append(all, parse(lines))
		}
		lines = nil
	}
	for line := range strings.Lines(recording) {
		if strings.HasPrefix(line, ">>> ") || strings.HasPrefix(line, "<<< ") || strings.HasPrefix(line, "# [") {
			flush()
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	flush()
	return all
}

func parse(lines []string) block {
	b := block{head: lines[0], headers: http.Header{}}
	if m := connection.FindStringSubmatch(b.head); m != nil {
		b.conn = m[1]
	}
	rest := lines[1:]
	if len(rest) > 0 && strings.Contains(rest[0], "HTTP/1.1") {
		b.start, rest = rest[0], rest[1:]
		for len(rest) > 0 && rest[0] != "" {
			name, value, _ := strings.Cut(rest[0], ": ")
			b.headers.Set(name, value)
			rest = rest[1:]
		}
	}
	b.body = strings.TrimSpace(strings.Join(rest, "\n"))
	return b
}

// subscription is a stream under replay.
type subscription struct {
	id     string // Mesos-Stream-Id
	events chan *v1.Event
	close  func() error // by the scheduler
}

// player plays a recording to a scripted master.
type player struct {
	t        *testing.T
	master   *mesostest.Master
	streams  map[string]*subscription // by scheduler
	answers  map[string]*http.Response
	recorded map[string]string // IDs of the recording to those of the replay
	client   *http.Client
}

func newPlayer(t *testing.T) *player {
	m := mesostest.New(t)
	m.AddAgent(mesostest.Agent{ID: recordedAgent, Host: "127.0.0.1", CPUs: 4, MemoryMB: 4096, FirstPort: 31000, LastPort: 31999})
	p := &player{
		t: t, master: m, streams: map[string]*subscription{}, answers: map[string]*http.Response{}, recorded: map[string]string{},
		client: &http.Client{Transport: &http.Transport{}},
	}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *player) play(b block) {
	p.t.Helper()
	switch {
	case strings.HasPrefix(b.head, ">>> "):
		p.request(b)
	case b.start != "":
		p.response(b)
	case strings.Contains(b.head, "event ("):
		p.event(b)
	case strings.Contains(b.head, "final chunk"):
		p.streamEnds(b)
	case strings.Contains(b.head, "CLOSED"):
		p.streams[b.conn].close()
		p.streamEnds(b)
	}
}

// request sends a recorded request, with the IDs of the replay.
func (p *player) request(b block) {
	p.t.Helper()
	body := strings.ReplaceAll(b.body, "FOO", "UNKNOWN")
	for from, to := range p.recorded {
		body = strings.ReplaceAll(body, from, to)
	}
	data := []byte(body)
	var call v1.Call
	if json.Unmarshal(data, &call) == nil {
		encoded, err := call.Marshal()
		require.NoError(p.t, err)
		data = encoded
	}
	method, path, _ := strings.Cut(strings.TrimSuffix(b.start, " HTTP/1.1"), " ")
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.master.Address()+path, bytes.NewReader(data))
	require.NoError(p.t, err)
	for _, name := range []string{"Content-Type", "Accept"} {
		if value := strings.ReplaceAll(b.headers.Get(name), "application/json", mediaType); value != "" {
			r.Header.Set(name, value)
		}
	}
	if id := b.headers.Get("Mesos-Stream-Id"); id != "" {
		if known, ok := p.recorded[id]; ok {
			id = known
		}
		r.Header.Set("Mesos-Stream-Id", id)
	}
	response, err := p.client.Do(r)
	require.NoError(p.t, err)
	p.answers[b.conn] = response
}

// response compares status and text, and opens the stream if it is one.
func (p *player) response(b block) {
	p.t.Helper()
	got := p.answers[b.conn]
	require.Equal(p.t, strings.TrimPrefix(b.start, "HTTP/1.1 "), got.Status, "answer in %s: %s", b.head, b.body)
	if got.StatusCode == http.StatusOK {
		p.open(b, got)
		return
	}
	text, err := io.ReadAll(got.Body)
	require.NoError(p.t, err)
	require.NoError(p.t, got.Body.Close())
	assert.Equal(p.t, b.body, p.asRecorded(string(text)))
}

// asRecorded puts the recording's IDs in place of those of the replay.
func (p *player) asRecorded(text string) string {
	for from, to := range p.recorded {
		text = strings.ReplaceAll(text, to, from)
	}
	return strings.TrimSpace(text)
}

func (p *player) open(b block, response *http.Response) {
	s := &subscription{id: response.Header.Get("Mesos-Stream-Id"), events: make(chan *v1.Event, 100), close: response.Body.Close}
	p.recorded[b.headers.Get("Mesos-Stream-Id")] = s.id
	p.streams[b.conn] = s
	go func() {
		defer close(s.events)
		defer response.Body.Close()
		records := recordio.NewReader(bufio.NewReader(response.Body), 1<<20)
		for {
			record, err := records.Next()
			if err != nil {
				return
			}
			event := new(v1.Event)
			if event.Unmarshal(record) != nil {
				return
			}
			s.events <- event
		}
	}()
	if _, event, found := strings.Cut(b.body, "\n"); found { // an ERROR stands in the same block, behind its length
		p.event(block{head: b.head, conn: b.conn, body: event})
	}
}

// event makes happen what happened to the recorded agent and its executors, then compares.
func (p *player) event(b block) {
	p.t.Helper()
	var want v1.Event
	body := strings.ReplaceAll(b.body, "QUOTA_V2", "AGENT_UPDATE") // mesos-go has no name for it
	require.NoError(p.t, json.Unmarshal([]byte(body), &want), body)
	if want.Type == v1.Event_HEARTBEAT {
		return
	}
	p.cause(&want)
	got := p.next(b.conn)
	p.learn(&want, got)
	require.Equal(p.t, p.describe(&want), p.describe(got), "event in %s", b.head)
}

func (p *player) cause(want *v1.Event) {
	status := want.GetUpdate().GetStatus()
	switch {
	case want.Type == v1.Event_OFFERS:
		p.master.Offer()
	case want.Type == v1.Event_RESCIND:
		p.master.LoseAgent(recordedAgent)
	case want.Type == v1.Event_UPDATE && status.GetSource() == mesos.SOURCE_EXECUTOR:
		p.master.Update(status.TaskID.Value, status.GetState(), nil)
	case want.Type == v1.Event_UPDATE && status.GetReason() == mesos.REASON_AGENT_REREGISTERED:
		p.master.ReturnAgent(recordedAgent)
	}
}

// next returns the next event of a stream that is no heartbeat.
func (p *player) next(conn string) *v1.Event {
	p.t.Helper()
	for {
		select {
		case e, open := <-p.streams[conn].events:
			require.True(p.t, open, "the stream of %s is over", conn)
			if e.Type != v1.Event_HEARTBEAT {
				return e
			}
		case <-time.After(patience):
			require.Fail(p.t, "no event", "on the stream of %s", conn)
		}
	}
}

// learn notes which ID of the replay stands for which of the recording.
func (p *player) learn(want, got *v1.Event) {
	switch {
	case want.Type != got.Type:
	case want.Type == v1.Event_SUBSCRIBED:
		p.recorded[want.Subscribed.FrameworkID.Value] = got.Subscribed.FrameworkID.Value
	case want.Type == v1.Event_OFFERS:
		p.recorded[want.Offers.Offers[0].ID.Value] = got.Offers.Offers[0].ID.Value
	case want.Type == v1.Event_UPDATE && got.Update.Status.UUID != nil:
		p.recorded[base64(want.Update.Status.UUID)] = base64(got.Update.Status.UUID)
	}
}

func base64(data []byte) string {
	text, _ := json.Marshal(data) // of bytes never fails
	return strings.Trim(string(text), `"`)
}

// describe is what must be the same of an event. Executors word their own messages.
func (p *player) describe(e *v1.Event) string {
	switch e.Type {
	case v1.Event_UPDATE:
		s := e.Update.Status
		text := ""
		if s.GetSource() != mesos.SOURCE_EXECUTOR {
			text = s.GetMessage()
		}
		return p.asRecorded(fmt.Sprintf("%s %s from %s, reason %v, agent %v, uuid %v: %s",
			s.TaskID.Value, s.GetState(), s.GetSource(), s.Reason, s.AgentID, len(s.UUID), text))
	case v1.Event_OFFERS:
		return "OFFERS" // others may have used resources of the recorded agent
	}
	return p.asRecorded(fmt.Sprintf("%s %v %v %v", e.Type, e.Failure, e.Rescind, e.GetError().GetMessage()))
}

func (p *player) streamEnds(b block) {
	p.t.Helper()
	for {
		select {
		case e, open := <-p.streams[b.conn].events:
			if !open {
				return
			}
			require.Contains(p.t, []v1.Event_Type{v1.Event_HEARTBEAT, v1.Event_OFFERS}, e.Type)
		case <-time.After(patience):
			require.Fail(p.t, "the stream goes on", b.head)
		}
	}
}

// end checks that nothing came that was not recorded.
func (p *player) end() {
	p.master.Disconnect()
	for _, s := range p.streams {
		for e := range s.events {
			assert.Contains(p.t, []v1.Event_Type{v1.Event_HEARTBEAT, v1.Event_OFFERS}, e.Type)
		}
	}
}
