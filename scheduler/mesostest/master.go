// Package mesostest is a scripted Mesos master for tests: the v1 scheduler API in protobuf over real HTTP, with agents and
// executors that do what a test says. It knows one framework at a time and answers as the recordings in testdata do (they are
// of a real master, Mesos 1.12 development). It is for orders of events and faults that a real one does not produce on demand,
// and for sizes that don't fit on one machine.
package mesostest

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

const (
	mediaType    = "application/x-protobuf"
	streamHeader = "Mesos-Stream-Id"
	masterID     = "5e3d4f86-7c1b-4f7a-9a53-0d1f6c5b2a10"
)

// Faults make the master misbehave or play another part. They hold from the next request or event on.
type Faults struct {
	Redirect   string                // stand by: 307 with this Location
	Leaderless bool                  // stand by while no leader is known: 503
	Recovering bool                  // lead, but refuse calls: 503
	Silent     bool                  // send no heartbeats
	Chunk      int                   // bytes per HTTP chunk; 0 means one chunk per record
	Answer     map[v1.Call_Type]int  // answer calls of a type with this status, and do nothing
	Lose       map[v1.Call_Type]bool // accept calls of a type, and do nothing
}

// Master is the scripted master. All its methods may be called at any time.
type Master struct {
	Heartbeat time.Duration // between heartbeats; set it before the first subscription
	Region    string        // of its fault domain; empty: it has none; set it before the first subscription
	AutoRun   bool          // tasks report RUNNING as soon as they are launched; set it before the first subscription

	server *httptest.Server

	mu            sync.Mutex
	faults        Faults
	credentials   string // principal:secret; empty: none asked for
	shown         []string
	stream        *stream
	framework     *mesos.FrameworkInfo
	suppressed    map[string]bool // roles that want no offers
	removed       map[string]bool // frameworks that were torn down
	agents        map[string]*agent
	tasks         map[string]*task
	offers        map[string]mesos.Offer // outstanding, by ID
	calls         []*v1.Call
	subscriptions int
	beats         int // sent so far
	ids           int // given out so far
}

// New starts a master that ends with the test.
func New(t testing.TB) *Master { return start(t, (*httptest.Server).Start) }

// NewTLS starts one that speaks HTTPS, with a certificate of [Certificate]'s for 127.0.0.1 and example.com.
func NewTLS(t testing.TB, demand *tls.Config) *Master {
	return start(t, func(s *httptest.Server) {
		s.TLS = demand
		s.StartTLS()
	})
}

// NewHandler returns one that listens nowhere: it has no address, and the test hands requests to it.
func NewHandler() *Master {
	return &Master{
		Heartbeat:  15 * time.Second,
		suppressed: map[string]bool{}, removed: map[string]bool{}, agents: map[string]*agent{}, tasks: map[string]*task{}, offers: map[string]mesos.Offer{},
	}
}

func start(t testing.TB, begin func(*httptest.Server)) *Master {
	m := NewHandler()
	m.server = httptest.NewUnstartedServer(m)
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that go away are what tests are about
	begin(m.server)
	t.Cleanup(func() {
		m.Disconnect()
		m.server.CloseClientConnections()
		m.server.Close()
	})
	return m
}

// Address is where the master listens, host:port.
func (m *Master) Address() string { return m.server.Listener.Addr().String() }

// Certificate is what clients check one against that speaks HTTPS, in PEM.
func (m *Master) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.server.Certificate().Raw})
}

// Credentials returns those that came with requests, principal:secret each.
func (m *Master) Credentials() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.shown)
}

// Fault changes the faults.
func (m *Master) Fault(change func(*Faults)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.faults)
}

// RequireCredentials asks for HTTP Basic authentication.
func (m *Master) RequireCredentials(principal, secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.credentials = principal + ":" + secret
}

// Calls returns the calls of some types that were accepted, or refused by a fault; of all types if none is given.
func (m *Master) Calls(types ...v1.Call_Type) []*v1.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []*v1.Call
	for _, c := range m.calls {
		if len(types) == 0 || contains(types, c.Type) {
			found = append(found, c)
		}
	}
	return found
}

func contains(types []v1.Call_Type, t v1.Call_Type) bool {
	for _, o := range types {
		if o == t {
			return true
		}
	}
	return false
}

// answer is a status and a text that refuse a request.
type answer struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *answer {
	return &answer{status: status, text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *answer {
	return refuse(http.StatusBadRequest, "Failed to validate scheduler::Call: "+format, args...)
}

// ServeHTTP implements the scheduler API. The order of the checks is that of Mesos.
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call, refused := m.admit(w, r)
	if refused == nil && call.Type == v1.Call_SUBSCRIBE {
		var s *stream
		if s, refused = m.subscribe(call, r.Header.Get(streamHeader)); refused == nil {
			m.serve(w, r, s)
			return
		}
	} else if refused == nil {
		refused = m.take(call, r.Header.Get(streamHeader))
	}
	if refused != nil {
		http.Error(w, refused.text, refused.status)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// admit makes the checks that need no framework.
func (m *Master) admit(w http.ResponseWriter, r *http.Request) (*v1.Call, *answer) {
	principal, secret, shown := r.BasicAuth()
	m.mu.Lock()
	faults, credentials := m.faults, m.credentials
	if shown {
		m.shown = append(m.shown, principal+":"+secret)
	}
	m.mu.Unlock()
	switch {
	case credentials != "" && principal+":"+secret != credentials:
		w.Header().Set("WWW-Authenticate", `Basic realm="mesos-master-scheduler"`)
		return nil, refuse(http.StatusUnauthorized, "Unauthorized")
	case faults.Redirect != "":
		w.Header().Set("Location", faults.Redirect)
		return nil, refuse(http.StatusTemporaryRedirect, "")
	case faults.Leaderless:
		return nil, refuse(http.StatusServiceUnavailable, "No leader elected")
	case faults.Recovering:
		return nil, refuse(http.StatusServiceUnavailable, "Master has not finished recovery")
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		return nil, refuse(http.StatusMethodNotAllowed, "405 Method Not Allowed. Expecting one of { 'POST' }, but received '%s'.", r.Method)
	}
	call, refused := decode(r)
	if refused == nil && faults.Answer[call.Type] != 0 {
		m.remember(call)
		refused = refuse(faults.Answer[call.Type], "as the test wants")
	}
	return call, refused
}

func (m *Master) remember(c *v1.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, c)
}

// ReadCall decodes the call in a request, and returns its bytes, too.
func ReadCall(r *http.Request) (*v1.Call, []byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	call := new(v1.Call)
	return call, body, call.Unmarshal(body)
}

func decode(r *http.Request) (*v1.Call, *answer) {
	switch contentType := r.Header.Get("Content-Type"); contentType {
	case mediaType:
	case "":
		return nil, refuse(http.StatusBadRequest, "Expecting 'Content-Type' to be present")
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Expecting 'Content-Type' of application/json or application/x-protobuf")
	}
	call, _, err := ReadCall(r)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Failed to parse body into Call protobuf")
	}
	if refused := validate(call); refused != nil {
		return nil, refused
	}
	if accept := r.Header.Get("Accept"); accept != mediaType && accept != "*/*" {
		return nil, refuse(http.StatusNotAcceptable, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'")
	}
	return call, nil
}

// validate checks what a call must contain.
func validate(c *v1.Call) *answer {
	body := map[v1.Call_Type]struct {
		name    string
		present bool
	}{
		v1.Call_SUBSCRIBE:   {"subscribe", c.Subscribe != nil},
		v1.Call_ACCEPT:      {"accept", c.Accept != nil},
		v1.Call_DECLINE:     {"decline", c.Decline != nil},
		v1.Call_KILL:        {"kill", c.Kill != nil},
		v1.Call_ACKNOWLEDGE: {"acknowledge", c.Acknowledge != nil},
		v1.Call_RECONCILE:   {"reconcile", c.Reconcile != nil},
		v1.Call_MESSAGE:     {"message", c.Message != nil},
	}
	b, known := body[c.Type]
	switch {
	case c.Type == v1.Call_UNKNOWN:
		return invalid("Expecting 'type' to be present")
	case c.Type != v1.Call_SUBSCRIBE && c.FrameworkID == nil:
		return invalid("Expecting 'framework_id' to be present")
	case known && !b.present:
		return invalid("Expecting '%s' to be present", b.name)
	case c.Type == v1.Call_ACKNOWLEDGE && len(c.Acknowledge.UUID) != 16:
		return invalid("Not a valid UUID")
	case c.Type == v1.Call_SUBSCRIBE && c.FrameworkID.GetValue() != c.Subscribe.FrameworkInfo.GetID().GetValue():
		return invalid("'framework_id' differs from 'subscribe.framework_info.id'")
	}
	return nil
}

// take carries out a call other than SUBSCRIBE.
func (m *Master) take(c *v1.Call, streamID string) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := c.FrameworkID.Value
	switch {
	case m.framework == nil || m.framework.ID.Value != id:
		return refuse(http.StatusBadRequest, "Framework cannot be found")
	case m.stream == nil:
		return refuse(http.StatusForbidden, "Framework is not subscribed")
	case streamID == "":
		return refuse(http.StatusBadRequest, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
	case streamID != m.stream.id:
		return refuse(http.StatusBadRequest, "The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID %s", streamID, id)
	}
	m.calls = append(m.calls, c)
	if !m.faults.Lose[c.Type] {
		m.carryOutLocked(c)
	}
	return nil
}

func (m *Master) carryOutLocked(c *v1.Call) {
	switch c.Type {
	case v1.Call_ACCEPT:
		m.acceptLocked(c.Accept)
	case v1.Call_DECLINE:
		for _, id := range c.Decline.OfferIDs {
			delete(m.offers, id.Value)
		}
	case v1.Call_REVIVE:
		m.suppressLocked(c.GetRevive().GetRoles(), false)
		m.offerLocked()
	case v1.Call_SUPPRESS:
		m.suppressLocked(c.GetSuppress().GetRoles(), true)
	case v1.Call_KILL:
		m.killLocked(c.Kill)
	case v1.Call_ACKNOWLEDGE:
		m.acknowledgeLocked(c.Acknowledge)
	case v1.Call_RECONCILE:
		m.reconcileLocked(c.Reconcile.Tasks)
	case v1.Call_TEARDOWN:
		m.removed[m.framework.ID.Value] = true
		m.framework = nil
		m.endLocked(false)
	}
}

// idLocked returns an ID that was never returned before and is no part of another.
func (m *Master) idLocked(kind string) string {
	m.ids++
	return fmt.Sprintf("%s-%s%06d", masterID, kind, m.ids)
}

// suppressLocked notes whether roles want offers; no roles are all of them.
func (m *Master) suppressLocked(roles []string, suppressed bool) {
	if len(roles) == 0 {
		roles = m.rolesLocked()
	}
	for _, role := range roles {
		m.suppressed[role] = suppressed
	}
}

// Suppressed are the roles that want no offers, in order.
func (m *Master) Suppressed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	roles := []string{}
	for role, suppressed := range m.suppressed {
		if suppressed {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}
