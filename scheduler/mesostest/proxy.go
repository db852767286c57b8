package mesostest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Proxy stands between schedulers and a master, scripted or real, so that a test can do something at a certain call.
type Proxy struct {
	server    *httptest.Server
	transport *http.Transport

	mu sync.Mutex
	at func(call *v1.Call, delivered bool)
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

// At has a function called with each call, before it is passed on, and once the master has taken it, before its answer is.
// Acknowledgements of one scheduler come side by side, its other calls one after the other. Nil ends that.
func (p *Proxy) At(do func(call *v1.Call, delivered bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = do
}

func (p *Proxy) tell(call *v1.Call, delivered bool) {
	p.mu.Lock()
	do := p.at
	p.mu.Unlock()
	if do != nil {
		do(call, delivered)
	}
}

// RoundTrip implements http.RoundTripper. A call goes on although who sent it has died meanwhile: it is on its way.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	call := new(v1.Call)
	if err := call.Unmarshal(body); err != nil {
		return nil, err
	}
	p.tell(call, false)
	if call.Type != v1.Call_SUBSCRIBE {
		r = r.Clone(context.WithoutCancel(r.Context()))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	response, err := p.transport.RoundTrip(r)
	p.tell(call, true)
	return response, err
}
