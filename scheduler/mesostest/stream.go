package mesostest

import (
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/internal/recordio"
)

const streamBuffer = 1 << 12 // events; a test that has more under way at once is told by a panic

// stream is one subscription.
type stream struct {
	id     string
	frames chan frame
}

// frame is one record, or the end of the stream.
type frame struct {
	record []byte
	raw    []byte // sent as it is, in place of a record
	end    bool   // end in an orderly way
	abort  bool   // break the connection, after half of the record
}

// Subscribed tells how many subscriptions there were, and whether one is there now.
func (m *Master) Subscribed() (subscriptions int, now bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.subscriptions, m.stream != nil
}

// FrameworkID returns the ID of the framework.
func (m *Master) FrameworkID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.framework.GetID().GetValue()
}

// subscribe checks a SUBSCRIBE and opens its stream.
func (m *Master) subscribe(c *v1.Call, streamID string) (*stream, *answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if streamID != "" {
		return nil, refuse(http.StatusBadRequest, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
	}
	m.calls = append(m.calls, c)
	info := c.Subscribe.FrameworkInfo
	s := &stream{id: m.uuidTextLocked(), frames: make(chan frame, streamBuffer)}
	if text := frameworkError(info, m.removed); text != "" {
		s.send(&v1.Event{Type: v1.Event_ERROR, Error: &v1.Event_Error{Message: text}})
		s.frames <- frame{end: true}
		return s, nil
	}
	m.errorLocked("Framework failed over")
	m.offers = map[string]mesos.Offer{}
	m.stream = s
	m.subscriptions++
	if info.ID == nil {
		info.ID = &mesos.FrameworkID{Value: m.idLocked("")}
	}
	m.framework = info
	m.suppressed = map[string]bool{}
	for _, role := range c.Subscribe.SuppressedRoles {
		m.suppressed[role] = true
	}
	m.greetLocked()
	return s, nil
}

// greetLocked sends what every subscription begins with.
func (m *Master) greetLocked() {
	seconds, port := m.Heartbeat.Seconds(), uint32(5050)
	m.sendLocked(&v1.Event{Type: v1.Event_SUBSCRIBED, Subscribed: &v1.Event_Subscribed{
		FrameworkID: m.framework.ID, HeartbeatIntervalSeconds: &seconds, MasterInfo: &mesos.MasterInfo{ID: masterID, Port: &port, Domain: domain(m.Region, "z")},
	}})
	m.sendLocked(&v1.Event{Type: v1.Event_HEARTBEAT})
	m.resendLocked()
	m.offerLocked()
}

// resendLocked repeats what was not acknowledged, which agents do at every subscription.
func (m *Master) resendLocked() {
	for _, t := range m.tasksLocked() {
		if len(t.pending) > 0 && !t.hidden {
			m.sendStatusLocked(t.pending[0])
		}
	}
}

// frameworkError is what Mesos finds wrong with a framework. It is no HTTP error but an ERROR event.
func frameworkError(info *mesos.FrameworkInfo, removed map[string]bool) string {
	multiRole := false
	for _, c := range info.Capabilities {
		multiRole = multiRole || c.Type == mesos.FrameworkInfo_Capability_MULTI_ROLE
	}
	switch {
	case removed[info.GetID().GetValue()]:
		return "Framework has been removed"
	case multiRole && info.Role != nil:
		return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
	case !multiRole && len(info.Roles) > 0:
		return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
	}
	for _, role := range info.Roles {
		if strings.ContainsAny(role, " \t\b") {
			return "'FrameworkInfo.roles' contains invalid role: Role component '" + role + "' is invalid because it contains backspace or whitespace"
		}
	}
	return ""
}

// serve writes a stream until it ends or the client leaves.
func (m *Master) serve(w http.ResponseWriter, r *http.Request, s *stream) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set(streamHeader, s.id)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	heartbeat := time.NewTicker(m.Heartbeat)
	defer heartbeat.Stop()
	defer m.gone(s)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-heartbeat.C:
			m.beat(s)
		case f := <-s.frames:
			if m.write(w, f); f.end {
				return
			}
		}
	}
}

func (m *Master) write(w http.ResponseWriter, f frame) {
	m.mu.Lock()
	size := m.faults.Chunk
	m.mu.Unlock()
	if f.end && !f.abort {
		return
	}
	data := f.raw
	if data == nil {
		data = recordio.Append(nil, f.record)
	}
	if f.abort {
		data = data[:len(data)/2]
	}
	for len(data) > 0 {
		n := len(data)
		if size > 0 {
			n = min(n, size)
		}
		w.Write(data[:n])
		w.(http.Flusher).Flush()
		data = data[n:]
	}
	if f.abort {
		panic(http.ErrAbortHandler)
	}
}

func (m *Master) beat(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == s && !m.faults.Silent {
		m.beats++
		m.sendLocked(&v1.Event{Type: v1.Event_HEARTBEAT})
	}
}

// Beats tells how many heartbeats were sent.
func (m *Master) Beats() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beats
}

// Garble sends bytes that need not be a record.
func (m *Master) Garble(data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream != nil {
		m.stream.frames <- frame{raw: data}
	}
}

// Resend repeats the updates that were not acknowledged, as agents do after 10 s and later and later.
func (m *Master) Resend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resendLocked()
}

// gone notes that a stream is over. Offers do not survive that.
func (m *Master) gone(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == s {
		m.stream, m.offers = nil, map[string]mesos.Offer{}
	}
}

// Disconnect ends the stream in an orderly way, as a master does that steps down.
func (m *Master) Disconnect() { m.end(false) }

// Cut breaks the connection in the middle of a record.
func (m *Master) Cut() { m.end(true) }

func (m *Master) end(abort bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(abort)
}

func (m *Master) endLocked(abort bool) {
	if m.stream == nil {
		return
	}
	record, _ := (&v1.Event{Type: v1.Event_HEARTBEAT}).Marshal()
	m.stream.frames <- frame{record: record, end: true, abort: abort}
	m.stream, m.offers = nil, map[string]mesos.Offer{}
}

// Error sends an ERROR event and ends the stream.
func (m *Master) Error(message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errorLocked(message)
}

func (m *Master) errorLocked(message string) {
	if m.stream != nil {
		m.sendLocked(&v1.Event{Type: v1.Event_ERROR, Error: &v1.Event_Error{Message: message}})
		m.endLocked(false)
	}
}

// Remove forgets the framework, as after a teardown or the end of its failover timeout. Its tasks die unseen.
func (m *Master) Remove() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.framework != nil {
		m.removed[m.framework.ID.Value] = true
	}
	m.framework, m.tasks = nil, map[string]*task{}
	m.endLocked(false)
}

func (m *Master) sendLocked(e *v1.Event) {
	if m.stream != nil {
		m.stream.send(e)
	}
}

func (s *stream) send(e *v1.Event) {
	record, err := e.Marshal()
	if err != nil {
		panic("mesostest: event cannot be encoded: " + err.Error())
	}
	select {
	case s.frames <- frame{record: record}:
	default:
		panic("mesostest: too many events under way")
	}
}

// uuidLocked returns 16 bytes that were never returned before.
func (m *Master) uuidLocked() []byte {
	m.ids++
	return binary.BigEndian.AppendUint64([]byte("mesostst"), uint64(m.ids))
}

func (m *Master) uuidTextLocked() string { return m.idLocked("stream-") }
