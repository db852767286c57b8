package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	bodyLimit = 4 << 10
	// reasonLimit keeps a reason readable in a log.
	reasonLimit = 300
)

// problem is an error with a status of HTTP.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

type server struct {
	driver Driver
	log    hclog.Logger
}

// Handler answers for a driver; a nil log is silent.
func Handler(d Driver, log hclog.Logger) http.Handler {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := &server{driver: d, log: log}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /v1/volumes":                  s.list,
		"GET /v1/volumes/{name}":           s.inspect,
		"DELETE /v1/volumes/{name}":        s.remove,
		"POST /v1/volumes/{name}/takeover": s.takeover,
		"POST /v1/hosts/{host}/gone":       s.gone,
		"POST /v1/volumes/{name}/grow":     s.grow,
		"GET /v1/volumes/{name}/snapshots": s.snapshots,
		"GET /v1/trash":                    s.trash,
		"POST /v1/trash/{name}/restore":    s.restore,
		"PUT /v1/drain":                    func(*http.Request) (any, error) { return s.driver.Drain() },
		"DELETE /v1/drain":                 func(*http.Request) (any, error) { return s.driver.Undrain() },
		"GET /v1/doctor":                   s.doctor,
		"POST /v1/doctor/fix":              s.fix,
		"/":                                unknown,
	} {
		mux.Handle(pattern, s.answer(handle))
	}
	for pattern, handle := range map[string]func(*http.Request, Say) (any, error){
		"POST /v1/volumes/{name}/snapshots": s.snapshot,
		"POST /v1/volumes/{name}/clone":     s.clone,
		"POST /v1/volumes/{name}/check":     s.check,
	} {
		mux.Handle(pattern, s.report(handle))
	}
	s.probes(mux)
	return mux
}

// answer encodes what handle returns.
func (s *server) answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		status, body := http.StatusOK, any(nil)
		body, err := handle(r)
		if err != nil {
			status, body = statusOf(err), map[string]string{"error": oneLine(err.Error())}
			s.log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(body) // an error means that the client has left
	})
}

// statusOf is 409 for what the driver refuses: the volume or the store is not in a state for it.
func statusOf(err error) int {
	if p, ok := errors.AsType[problem](err); ok {
		return p.status
	}
	if errors.Is(err, ErrNoVolume) {
		return http.StatusNotFound
	}
	return http.StatusConflict
}

// oneLine joins the lines of joined errors.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

func unknown(r *http.Request) (any, error) {
	return nil, problem{http.StatusNotFound, fmt.Sprintf("no resource for %s %s", r.Method, r.URL.Path)}
}

func (s *server) list(*http.Request) (any, error) { return s.driver.Survey(), nil }

func (s *server) inspect(r *http.Request) (any, error) {
	return s.driver.Inspect(r.Context(), r.PathValue("name"))
}

func (s *server) remove(r *http.Request) (any, error) {
	keep := DefaultKeep
	if text := r.URL.Query().Get("keep"); text != "" {
		if err := keep.UnmarshalText([]byte(text)); err != nil {
			return nil, problem{http.StatusBadRequest, err.Error()}
		}
	}
	return s.driver.Dispose(r.Context(), r.PathValue("name"), keep)
}

func (s *server) takeover(r *http.Request) (any, error) {
	var order Order
	if err := decode(r, &order, `{"reason": "why", "force": true}`); err != nil {
		return nil, err
	}
	return s.driver.TakeOver(r.Context(), r.PathValue("name"), order)
}

func (s *server) gone(r *http.Request) (any, error) {
	var order GoneOrder
	if err := decode(r, &order, `{"reason": "why"}`); err != nil {
		return nil, err
	}
	return s.driver.Gone(r.Context(), r.PathValue("host"), order)
}

// decode reads an order and, where there is something to check, checks it; example is the right form.
func decode(r *http.Request, order any, example string) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(order); err != nil {
		return problem{http.StatusBadRequest, fmt.Sprintf("order is unreadable (%v): use %s", err, example)}
	}
	if c, can := order.(interface{ check() error }); can {
		if err := c.check(); err != nil {
			return problem{http.StatusBadRequest, err.Error()}
		}
	}
	return nil
}

// checkReason says what is wrong with a reason.
func checkReason(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return errors.New("a takeover needs a reason, which is logged: give --reason TEXT")
	case len(reason) > reasonLimit || strings.ContainsAny(reason, "\r\n"):
		return fmt.Errorf("the reason of a takeover is one line of at most %d bytes", reasonLimit)
	}
	return nil
}

// check says what is missing in an order.
func (o GoneOrder) check() error {
	if o.Guarded && o.EvenIfAlive {
		return errors.New("guarded and evenIfAlive exclude each other: the guard of a host that lives is not waited for")
	}
	return checkReason(o.Reason)
}

// check says what is missing in an order.
func (o Order) check() error {
	if err := checkReason(o.Reason); err != nil {
		return err
	}
	if !o.Force {
		return errors.New("a takeover cannot be undone, and a holder that still writes would destroy data: make sure that it is down and give --force")
	}
	return nil
}

func (s *server) doctor(r *http.Request) (any, error) {
	found, err := s.driver.Diagnose(r.Context())
	return map[string]any{"findings": orEmpty(found)}, err
}

func (s *server) fix(r *http.Request) (any, error) {
	repairs, err := s.driver.Repair(r.Context())
	if err != nil {
		return nil, err
	}
	left, err := s.driver.Diagnose(r.Context())
	return map[string]any{"repairs": orEmpty(repairs), "findings": orEmpty(left)}, err
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Listen opens the socket in a state directory, in place of one that a killed plugin left behind. The
// caller owns the directory.
func Listen(dir string) (net.Listener, error) {
	var listener *net.UnixListener
	err := within(dir, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove old admin socket: %w", err)
		}
		var err error
		if listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
			return fmt.Errorf("open admin socket: %w", err)
		}
		listener.SetUnlinkOnClose(false) // its name is only good here
		if err := os.Chmod(path, 0o600); err != nil {
			return errors.Join(fmt.Errorf("protect admin socket: %w", err), listener.Close())
		}
		return nil
	})
	return listener, err
}

// within calls use with a name of the socket in dir that is short enough for the address of a socket
// (108 bytes), however long the name of dir is.
func within(dir string, use func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return use(filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), Socket))
}

// Serve answers on a listener until ctx ends. It returns when all handlers have: the context of their
// requests ends with ctx, too.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		h.ServeHTTP(w, r)
	})
	server := &http.Server{Handler: counted, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- server.Close() })
	err := server.Serve(l)
	if !stop() {
		return <-closed
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}
