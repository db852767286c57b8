package plugin

import (
	"context"
	"maps"
	"net/http"
	"path"
	"sync"

	"mooring/plugin/admin"
)

// serveOperators answers operators on the admin socket until ctx ends. It returns how to end it before that and
// wait for it. A host without the socket still serves its volumes.
func (d *Driver) serveOperators(ctx context.Context) (stop func()) {
	l, err := admin.Listen(stateDir(d.cfg))
	if err != nil {
		d.log.Error("operators not served", "error", err)
		return func() {}
	}
	return inBackground(ctx, func(ctx context.Context) {
		if err := admin.Serve(ctx, l, admin.Handler(d, d.log.Named("admin"))); err != nil {
			d.log.Error("operators not served any more", "error", err)
		}
	})
}

// inBackground works until ctx ends. It returns how to end it before that and wait for it.
func inBackground(ctx context.Context, work func(context.Context)) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	return func() { end(); <-done }
}

// tally counts the engine's calls, and what else happens.
type tally struct {
	mu       sync.Mutex
	calls    map[admin.Call]uint64
	happened admin.Happened
}

// note counts what happened.
func (t *tally) note(count func(*admin.Happened)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count(&t.happened)
}

// counting is next with its calls counted.
func (t *tally) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		if seen.status != http.StatusNotFound { // nobody's name becomes a label
			t.count(admin.Call{Verb: path.Base(r.URL.Path), OK: seen.status == http.StatusOK})
		}
	})
}

func (t *tally) count(c admin.Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[admin.Call]uint64{}
	}
	t.calls[c]++
}

func (t *tally) copy() (map[admin.Call]uint64, admin.Happened) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.calls), t.happened
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets an http.ResponseController flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
