package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
	api "github.com/docker/go-plugins-helpers/volume"
)

// bodyLimit is far beyond any request of the engine's, and small enough to read into memory.
const bodyLimit = 1 << 20

// Listen opens the socket that the engine calls, in place of one that a killed plugin left behind.
func Listen(socket string) (net.Listener, error) {
	if !filepath.IsAbs(socket) {
		return nil, fmt.Errorf("socket %q is not an absolute path such as /run/docker/plugins/mooring.sock", socket)
	}
	if other, err := net.Dial("unix", socket); err == nil {
		return nil, errors.Join(fmt.Errorf("socket %s is in use by another process", socket), other.Close())
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(socket, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	return l, nil
}

// serveUntil answers calls and runs the driver until ctx ends or it must be started anew, then lets the calls at work finish for a while.
func (d *Driver) serveUntil(ctx context.Context, l net.Listener) error {
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stopOperators, stopProbes := d.serveOperators(ctx), d.serveProbes(ctx)
	server := &http.Server{
		Handler:           d.tally.counting(d.Handler()),
		BaseContext:       func(net.Listener) context.Context { return living },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          d.log.StandardLogger(nil),
	}
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	go func() { ran <- d.Run(living) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	case err = <-d.unseen:
	}
	draining, stop := context.WithTimeout(living, drainTime)
	defer stop()
	stopOperators()
	stopProbes()
	_ = server.Shutdown(draining)
	end()
	_ = server.Close()
	finishing, stop := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer stop()
	return errors.Join(err, within(finishing, func() error { d.calls.Wait(); return <-ran }))
}

// Handler speaks the volume protocol of Docker's plugins.
func (d *Driver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"VolumeDriver"}}, false)
	})
	mux.Handle("POST /VolumeDriver.Create", serve(d, empty(d.Create), nil))
	mux.Handle("POST /VolumeDriver.Remove", serve(d, empty(d.Remove), nil))
	mux.Handle("POST /VolumeDriver.Mount", serve(d, d.Mount, d.giveBack))
	mux.Handle("POST /VolumeDriver.Unmount", serve(d, empty(d.Unmount), nil))
	mux.Handle("POST /VolumeDriver.Path", serve(d, d.Path, nil))
	mux.Handle("POST /VolumeDriver.Get", serve(d, d.Get, nil))
	mux.Handle("POST /VolumeDriver.List", serve(d, d.List, nil))
	mux.Handle("POST /VolumeDriver.Capabilities", serve(d, d.Capabilities, nil))
	return mux
}

// giveBack undoes a Mount whose answer could not be delivered: the engine sends no Unmount for it.
func (d *Driver) giveBack(r *api.MountRequest) {
	d.log.Warn("mount undone for a caller that has gone", "volume", r.Name)
	if err := d.Unmount(context.Background(), &api.UnmountRequest{Name: r.Name, ID: r.ID}); err != nil {
		d.log.Warn("mount not undone", "volume", r.Name, "error", err)
	}
}

// empty gives a verb that only succeeds or fails the answer {}.
func empty[Request any](verb func(context.Context, *Request) error) func(context.Context, *Request) (*struct{}, error) {
	return func(ctx context.Context, r *Request) (*struct{}, error) { return &struct{}{}, verb(ctx, r) }
}

// serve answers requests with a verb. Undelivered is told of successes that the caller did not wait for.
func serve[Request, Response any](d *Driver, verb func(context.Context, *Request) (*Response, error), undelivered func(*Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		request := new(Request)
		status, answer := respond(d, r, func() (any, error) {
			if err := decode(w, r, request); err != nil {
				return nil, err
			}
			return verb(r.Context(), request)
		})
		err := reply(w, status, answer)
		d.log.Debug("answered", "verb", r.URL.Path, "status", status, "milliseconds", time.Since(start).Milliseconds(), "error", err)
		if err != nil && status == http.StatusOK && undelivered != nil {
			undelivered(request)
		}
	})
}

// respond turns the outcome of work into an answer, also a panic, since the engine repeats a request whose
// connection broke, without its body.
func respond(d *Driver, r *http.Request, work func() (any, error)) (status int, answer any) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("verb panicked", "verb", r.URL.Path, "error", p, "stack", string(debug.Stack()))
			status, answer = http.StatusInternalServerError, api.NewErrorResponse(fmt.Sprintf("internal error: %v", p))
		}
	}()
	response, err := work()
	if bad, ok := errors.AsType[badRequest](err); ok {
		return http.StatusBadRequest, api.NewErrorResponse(fmt.Sprintf("%s: %v", r.URL.Path, bad))
	}
	if err != nil {
		return http.StatusInternalServerError, api.NewErrorResponse(err.Error())
	}
	return http.StatusOK, response
}

// badRequest is what is wrong with a request that no verb could be asked to carry out.
type badRequest struct{ error }

// decode reads a request. A repeated request of the engine (Docker Engine 20.10) has no body, and must
// not be taken for one without a name.
func decode[Request any](w http.ResponseWriter, r *http.Request, into *Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		return badRequest{fmt.Errorf("read request: %w", err)}
	}
	if _, unused := any(into).(*struct{}); unused {
		return nil
	}
	if len(body) == 0 {
		return badRequest{errors.New("the request is empty: send it again")}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return badRequest{fmt.Errorf("decode request: %w", err)}
	}
	return nil
}

// reply sends an answer as the engine expects it; an error means that the caller has gone.
func reply(w http.ResponseWriter, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
