// Package api is the scheduler's HTTP interface for operators and tools: on the paths of the Java framework mesos/elasticsearch
// where it has some, with real data, and with nodes, metrics and probes besides. It only reads what the scheduler shows and
// passes orders on. It also serves the mooring binary, from which agents get their executor.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"mooring/coordinator"
	"mooring/scheduler"
)

// ArtifactPath is where the mooring binary is served.
const ArtifactPath = "/v1/artifact/mooring"

const (
	bodyLimit    = 4 << 10
	orderTimeout = 20 * time.Second // for an order to become durable
	hangTime     = 2 * time.Minute  // without a turn of the scheduler's loop: more than a save may take
	mostNodes    = 10000
	nodesForm    = `use {"value": n} with n from 1 to 10000`
	verbsForm    = "use restart, retire, keep or forgive"
)

// Scheduler is what the API shows and gives orders to.
type Scheduler interface {
	View() scheduler.View
	Counters() map[string]int64
	Apply(ctx context.Context, event coordinator.Event) error
}

// Options are the settings of the API. The zero value works.
type Options struct {
	Binary string       // served to agents; "" means the running program
	Access Access       // who may use it
	Leases Leases       // of volumes; nil: only what nodes tell is known of who holds them
	Log    hclog.Logger // nil is silent
}

type server struct {
	scheduler Scheduler
	binary    string
	access    Access
	leases    Leases
	log       hclog.Logger
	client    http.RoundTripper // to the scheduler that leads
}

// Handler returns the API of a scheduler.
func Handler(s Scheduler, o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Binary == "" {
		path, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the running program: %w", err)
		}
		o.Binary = path
	}
	api := &server{scheduler: s, binary: o.Binary, access: o.Access, leases: o.Leases, log: o.Log, client: newTransport()}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /v1/cluster":                    api.cluster,
		"GET /v1/cluster/elasticsearchNodes": api.target,
		"PUT /v1/cluster/elasticsearchNodes": api.scale,
		"GET /v1/tasks":                      api.tasks,
		"GET /v1/groups":                     api.groups,
		"GET /v1/groups/{group}":             api.group,
		"PUT /v1/groups/{group}":             api.scaleGroup,
		"GET " + statusPath:                  api.status,
		"GET /v1/volumes":                    api.volumes,
		"GET /v1/nodes":                      api.nodes,
		"GET /v1/nodes/{id}":                 api.node,
		"POST /v1/nodes/{id}/{verb}":         api.order,
		"POST /v1/uninstall":                 api.uninstall,
		"/":                                  notFound,
	} {
		mux.Handle(pattern, api.answer(handle))
	}
	mux.HandleFunc("GET "+ArtifactPath, api.artifact)
	mux.HandleFunc("GET /healthz", api.healthz)
	mux.HandleFunc("GET /readyz", api.readyz)
	mux.HandleFunc("GET /metrics", api.metrics)
	return api.known(api.ordersToLeader(mux)), nil
}

// Serve answers requests on a listener until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- s.Close() })
	err := s.Serve(l)
	if !stop() {
		return <-closed
	}
	return fmt.Errorf("serve API on %s: %w", l.Addr(), err)
}

// problem is an error with a status of HTTP.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

func bad(format string, args ...any) error {
	return problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// answer encodes what handle returns.
func (a *server) answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		body, err := handle(r)
		a.respond(w, r, body, err)
	})
}

// respond writes what a request led to.
func (a *server) respond(w http.ResponseWriter, r *http.Request, body any, err error) {
	status := http.StatusOK
	if err != nil {
		status, body = http.StatusServiceUnavailable, map[string]string{"error": err.Error()}
		if p := (problem{}); errors.As(err, &p) {
			status = p.status
		}
		a.log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client has left
}

func notFound(r *http.Request) (any, error) {
	return nil, problem{http.StatusNotFound, fmt.Sprintf("no resource for %s %s", r.Method, r.URL.Path)}
}

// view returns what the scheduler shows, once it shows something. One that stands by shows nothing that may be old.
func (a *server) view() (scheduler.View, error) {
	v := a.scheduler.View()
	if v.Standby && v.StoreError != "" {
		return v, errors.New(v.StoreError)
	}
	if !v.Loaded {
		return v, errors.New("the scheduler is starting: try again")
	}
	return v, nil
}

func (a *server) apply(r *http.Request, event coordinator.Event) error {
	ctx, cancel := context.WithTimeout(r.Context(), orderTimeout)
	defer cancel()
	return a.scheduler.Apply(ctx, event)
}

func now() time.Time { return time.Now().UTC().Round(0) }

func (a *server) target(*http.Request) (any, error) {
	v, err := a.view()
	return map[string]int{"value": v.State.Target}, err
}

// scale takes {"value": n}, or the bare number that the Java framework takes, too.
func (a *server) scale(r *http.Request) (any, error) {
	n, err := number(r, 1, nodesForm)
	if err != nil {
		return nil, err
	}
	if err := a.installed(); err != nil {
		return nil, err
	}
	if err := a.apply(r, coordinator.Scale{At: now(), Target: n}); err != nil {
		return nil, err
	}
	return map[string]int{"value": n}, nil
}

// number reads the number of nodes that a request asks for.
func number(r *http.Request, least int, form string) (int, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, bad("body of more than %d bytes: %s", bodyLimit, form)
	}
	text := strings.TrimSpace(string(body))
	var n int
	if json.Unmarshal(body, &n) != nil {
		wrapped := struct {
			Value *int `json:"value"`
		}{}
		if json.Unmarshal(body, &wrapped) != nil || wrapped.Value == nil {
			return 0, bad("body %q: %s", text, form)
		}
		n = *wrapped.Value
	}
	if n < least || n > mostNodes {
		return 0, bad("number of nodes %d: %s", n, form)
	}
	return n, nil
}

// viewOf returns what the scheduler shows, and the ID of the node that a request is about.
func (a *server) viewOf(r *http.Request) (scheduler.View, coordinator.NodeID, error) {
	v, err := a.view()
	if err != nil {
		return v, 0, err
	}
	number, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || number < 1 {
		return v, 0, bad("node %q: use its ID, a number from 1", r.PathValue("id"))
	}
	if number > len(v.State.Nodes) {
		return v, 0, problem{http.StatusNotFound, fmt.Sprintf("node %d: there are nodes 1 to %d", number, len(v.State.Nodes))}
	}
	return v, coordinator.NodeID(number), nil
}

func (a *server) order(r *http.Request) (any, error) {
	_, id, err := a.viewOf(r)
	if err != nil {
		return nil, err
	}
	event, err := orderEvent(r.PathValue("verb"), id, r.URL.Query())
	if err != nil {
		return nil, err
	}
	if _, word := event.(coordinator.Forgive); !word {
		if err := a.installed(); err != nil {
			return nil, err
		}
	}
	if err := a.apply(r, event); err != nil {
		return nil, err
	}
	return nodeOf(a.scheduler.View(), id), nil
}

// installed refuses orders that a framework which is to go would not follow.
func (a *server) installed() error {
	v, err := a.view()
	if err == nil && v.State.Removal != coordinator.Installed {
		err = problem{http.StatusConflict, fmt.Sprintf("framework %s is being uninstalled: of orders only forgive is taken", v.State.Framework)}
	}
	return err
}

// uninstall wants the framework's name, so that nobody ends the wrong one.
func (a *server) uninstall(r *http.Request) (any, error) {
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	var body struct {
		Framework string `json:"framework"`
	}
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &body) != nil || body.Framework != v.State.Framework {
		return nil, bad("body %q: use {\"framework\": %q}, the name of the framework that is to go", text, v.State.Framework)
	}
	if err := a.apply(r, coordinator.Uninstall{At: now()}); err != nil {
		return nil, err
	}
	return a.status(r)
}

func orderEvent(verb string, id coordinator.NodeID, options url.Values) (coordinator.Event, error) {
	atOnce, err := strconv.ParseBool(cmp.Or(options.Get("now"), "false"))
	switch {
	case err != nil:
		return nil, bad("now=%q: use now=true, or nothing", options.Get("now"))
	case atOnce && verb != "restart":
		return nil, bad("order %q with now: only restart can wait", verb)
	}
	switch verb {
	case "restart":
		return coordinator.Order{At: now(), Node: id, Intent: coordinator.Restart, Now: atOnce}, nil
	case "retire":
		return coordinator.Order{At: now(), Node: id, Intent: coordinator.Retire}, nil
	case "keep":
		return coordinator.Order{At: now(), Node: id, Intent: coordinator.Keep}, nil
	case "forgive":
		return coordinator.Forgive{At: now(), Node: id}, nil
	}
	return nil, bad("order %q: %s", verb, verbsForm)
}

func (a *server) artifact(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, a.binary) }

// healthz says whether the scheduler is to be ended and started anew.
func (a *server) healthz(w http.ResponseWriter, _ *http.Request) {
	v := a.scheduler.View()
	if still := time.Since(v.Turned); v.Loaded && !v.Standby && still > hangTime {
		http.Error(w, fmt.Sprintf("nothing was done for %s, not even the clock was looked at: the store may hang", still.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}

// readyz says whether the scheduler can do its work now.
func (a *server) readyz(w http.ResponseWriter, _ *http.Request) {
	switch v := a.scheduler.View(); {
	case !v.Loaded:
		http.Error(w, "state not loaded", http.StatusServiceUnavailable)
	case v.StoreError != "":
		http.Error(w, v.StoreError, http.StatusServiceUnavailable)
	case v.Standby && v.Leader == "":
		http.Error(w, "standing by, and no other scheduler leads", http.StatusServiceUnavailable)
	case v.Standby:
		fmt.Fprintf(w, "standing by, the scheduler at %s leads\n", v.Leader)
	case v.Subscribed == "":
		http.Error(w, "no subscription with a Mesos master", http.StatusServiceUnavailable)
	default:
		io.WriteString(w, "ready\n")
	}
}
