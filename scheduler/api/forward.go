package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

const (
	forwardedHeader = "Mooring-Forwarded" // so that schedulers which disagree about the leader don't send an order round and round
	forwardTimeout  = orderTimeout + 5*time.Second
	dialTimeout     = 3 * time.Second
)

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true} // orders are rare
}

// statusPath is the one thing that is read from the leader: what is wrong, and why a node waits, it alone knows.
const statusPath = "/v1/status"

// ordersToLeader passes orders on to the scheduler that leads, while this one stands by; and the question what is wrong, as long
// as there is a leader.
func (a *server) ordersToLeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads && r.URL.Path != statusPath {
			next.ServeHTTP(w, r)
			return
		}
		v := a.scheduler.View()
		switch {
		case !v.Standby, reads && v.Leader == "":
			next.ServeHTTP(w, r)
		case v.Leader == "" || r.Header.Get(forwardedHeader) != "":
			a.respond(w, r, nil, errors.New("no scheduler leads at this moment: try again in a few seconds"))
		default:
			a.forward(w, r, v.Leader)
		}
	})
}

func (a *server) forward(w http.ResponseWriter, r *http.Request, leader string) {
	ctx, cancel := context.WithTimeout(r.Context(), forwardTimeout)
	defer cancel()
	proxy := httputil.ReverseProxy{
		Transport: a.client,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: leader})
			p.SetXForwarded()
			p.Out.Header.Set(forwardedHeader, "true")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			a.respond(w, r, nil, fmt.Errorf("the scheduler that leads, at %s, does not answer (%w): try again in a few seconds", leader, err))
		},
		ErrorLog: a.log.StandardLogger(nil),
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}
