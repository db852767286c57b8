package mesostest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/internal/recordio"
)

const eventLimit = 256 << 20 // bytes

// Proxy stands between schedulers and a master, scripted or real, so that a test can do something at a certain call or event.
type Proxy struct {
	server    *httptest.Server
	transport *http.Transport

	mu     sync.Mutex
	call   func(call *v1.Call, answer int)
	events func(event *v1.Event)
}

// NewProxy starts a proxy to the master at host:port that ends with the test.
func NewProxy(t testing.TB, master string) *Proxy {
	p := &Proxy{transport: &http.Transport{}}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: master})
	forward.FlushInterval = -1 // events are passed on at once
	forward.Transport = p
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p.server = httptest.NewServer(forward)
	t.Cleanup(func() {
		p.transport.CloseIdleConnections()
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// Address is where the proxy listens, host:port.
func (p *Proxy) Address() string { return strings.TrimPrefix(p.server.URL, "http://") }

// At has a function called with each call, before it is passed on: answer is 0 then; and once the master has answered, with the
// status of that, before the answer is passed back. Acknowledgements of one scheduler come side by side, its other calls one after
// the other. Nil ends that.
func (p *Proxy) At(do func(call *v1.Call, answer int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.call = do
}

// AtEvent has a function called with each event of a subscription, before it is passed on. Nil ends that.
func (p *Proxy) AtEvent(do func(event *v1.Event)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = do
}

func (p *Proxy) tell(call *v1.Call, answer int) {
	p.mu.Lock()
	do := p.call
	p.mu.Unlock()
	if do != nil {
		do(call, answer)
	}
}

func (p *Proxy) tellEvent(event *v1.Event) {
	p.mu.Lock()
	do := p.events
	p.mu.Unlock()
	if do != nil {
		do(event)
	}
}

// RoundTrip implements http.RoundTripper. A call goes on although who sent it has died meanwhile: it is on its way.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	call, body, err := ReadCall(r)
	if err != nil {
		return nil, err
	}
	p.tell(call, 0)
	if call.Type != v1.Call_SUBSCRIBE {
		r = r.Clone(context.WithoutCancel(r.Context()))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	response, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	p.tell(call, response.StatusCode)
	if call.Type == v1.Call_SUBSCRIBE && response.StatusCode == http.StatusOK {
		response.Body = &passing{Closer: response.Body, records: recordio.NewReader(response.Body, eventLimit), tell: p.tellEvent}
	}
	return response, nil
}

// passing are the events of a subscription on their way to the scheduler.
type passing struct {
	io.Closer
	records *recordio.Reader
	tell    func(*v1.Event)
	rest    []byte // of the record that is being read
}

func (s *passing) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		record, err := s.records.Next()
		if err != nil {
			return 0, err
		}
		event := new(v1.Event)
		if err := event.Unmarshal(record); err != nil {
			return 0, fmt.Errorf("decode event of %d bytes: %w", len(record), err)
		}
		s.tell(event)
		s.rest = recordio.Append(nil, record)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
