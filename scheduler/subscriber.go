package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/coordinator"
)

const (
	maxHops     = 5 // redirects in a row: masters that disagree about the leader send us round and round
	backoffMin  = time.Second
	backoffMost = 15 * time.Second
)

// fatal is an error after which subscribing again would be wrong.
type fatal struct{ error }

// errRemoved says that Mesos does not know the framework any more.
var errRemoved = errors.New("the framework is no longer known to Mesos")

// masterError sorts out what the master says in an ERROR event before it ends the stream.
func masterError(message string) error {
	switch {
	case strings.Contains(message, "failed over"):
		return fatal{fmt.Errorf("another scheduler of this framework took over (%q): run one at a time", message)}
	case strings.Contains(message, "has been removed"), strings.Contains(strings.ToLower(message), "completed framework"):
		return fatal{fmt.Errorf("%w (%q), which has ended its tasks: start once with --new-framework to register it anew; "+
			"nodes keep their IDs and volumes", errRemoved, message)}
	}
	return fmt.Errorf("master refuses: %s", message)
}

// subscriber keeps a subscription with the leading master.
type subscriber struct {
	masters  masters
	options  Options
	log      hclog.Logger
	failed   func(error)              // told why there is no subscription
	state    func() coordinator.State // for framework ID and suppression
	delivery chan<- delivery
}

// delivery is an event of a connection; without an event: the connection has ended.
type delivery struct {
	conn  *connection
	event *v1.Event
	taken chan<- struct{} // without an event: closed when the loop knows
}

// run subscribes again and again. It returns nil when ctx ends, else an error after which nothing can be done.
func (s *subscriber) run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		found, err := s.masters.find(ctx)
		accepted := false
		if err == nil {
			accepted, err = s.subscribeOnce(ctx, found)
		}
		if ctx.Err() != nil {
			return nil
		}
		if stop := (fatal{}); errors.As(err, &stop) {
			return stop.error
		}
		if accepted {
			attempt = 0
		}
		wait := backoff(attempt, s.options.chance)
		s.failed(err)
		s.log.Warn("no subscription", "error", err, "retry_in", wait.Round(time.Millisecond).String())
		select {
		case <-ctx.Done():
			return nil
		case <-found.changed: // there is somebody else to ask
		case <-time.After(wait):
		}
	}
}

// backoff doubles with each attempt, up to a limit, and is spread at random: all frameworks lose a master at the same time.
func backoff(attempt int, chance func(most time.Duration) time.Duration) time.Duration {
	most := min(backoffMin<<min(attempt, 10), backoffMost)
	return most/2 + chance(most/2)
}

var errOtherLeader = errors.New("another master leads now")

// subscribeOnce holds one subscription until it ends, or another master leads. accepted tells whether its first event was taken
// in.
func (s *subscriber) subscribeOnce(ctx context.Context, f found) (accepted bool, err error) {
	led, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	go func() {
		select {
		case <-f.changed:
			cancel(errOtherLeader)
		case <-led.Done():
		}
	}()
	client, err := s.options.newClient()
	if err != nil {
		return false, err
	}
	defer client.close()
	conn, err := s.connect(led, client, f.endpoints)
	if led.Err() != nil && err != nil {
		return false, context.Cause(led)
	}
	if err != nil {
		return false, err
	}
	defer conn.stream.Body.Close()
	defer conn.drop(context.Canceled)
	var sender sync.WaitGroup
	sender.Go(conn.send)
	err = conn.receive(func(e *v1.Event) { s.hand(ctx, conn, e) })
	sender.Wait()
	s.over(ctx, conn)
	return conn.accepted.Load(), err
}

// hand passes an event on to the loop.
func (s *subscriber) hand(ctx context.Context, conn *connection, e *v1.Event) {
	if e.Type == v1.Event_SUBSCRIBED {
		conn.frameworkID = e.Subscribed.GetFrameworkID().GetValue()
	}
	s.pass(ctx, delivery{conn: conn, event: e})
}

// over tells the loop that a connection has ended, and waits until it took in all that came before: the next subscription may go
// by what the first event of this one said.
func (s *subscriber) over(ctx context.Context, conn *connection) {
	taken := make(chan struct{})
	s.pass(ctx, delivery{conn: conn, taken: taken})
	select {
	case <-taken:
	case <-ctx.Done():
	}
}

func (s *subscriber) pass(ctx context.Context, d delivery) {
	select {
	case s.delivery <- d:
	case <-ctx.Done():
	}
}

// connect finds the leader and subscribes: it tries the masters in turn and follows those that stand by.
func (s *subscriber) connect(ctx context.Context, client *client, masters []*url.URL) (*connection, error) {
	state := s.state()
	call := s.options.subscribeCall(state, client.as.principal)
	var errs []error
	for _, master := range masters {
		ctx, cancel := context.WithCancelCause(ctx)
		endpoint, response, err := client.follow(ctx, master, masters, call)
		if err == nil {
			s.log.Info("subscribing", "master", endpoint.Host, "framework_id", state.FrameworkID)
			return &connection{
				ctx: ctx, cancel: cancel, client: client, endpoint: endpoint, stream: response,
				suppressed: call.Subscribe.SuppressedRoles, calls: make(chan *v1.Call, callQueue),
			}, nil
		}
		cancel(err)
		errs = append(errs, fmt.Errorf("subscribe at %s: %w", master.Host, err))
	}
	return nil, errors.Join(errs...)
}

// follow sends SUBSCRIBE to one of the masters, or to whom it says the leader is; but a secret to none that is not of the masters.
func (c *client) follow(ctx context.Context, master *url.URL, masters []*url.URL, call *v1.Call) (*url.URL, *http.Response, error) {
	endpoint := master
	for range maxHops {
		response, err := c.post(ctx, endpoint, call, "")
		if err != nil {
			return nil, nil, err
		}
		if response.StatusCode == http.StatusOK {
			return endpoint, response, nil
		}
		err = c.statusError(response)
		response.Body.Close()
		if response.StatusCode != http.StatusTemporaryRedirect {
			return nil, nil, err
		}
		if endpoint, err = leader(endpoint, response.Header.Get("Location")); err != nil {
			return nil, nil, err
		}
		if c.as.secret != "" && !mayKnow(ctx, endpoint, masters) {
			return nil, nil, fmt.Errorf("it says that %s leads, which is none of the masters given: the secret is not sent there; name all masters in --master, or where they announce themselves",
				endpoint.Host)
		}
	}
	return nil, nil, fmt.Errorf("no leader after %d redirects: the masters do not agree", maxHops)
}

// leader is where a redirect points to. Mesos names no scheme in it; ours stays in any case.
func leader(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" {
		return nil, fmt.Errorf("redirect to %q names no leader", location)
	}
	return &url.URL{Scheme: from.Scheme, Host: to.Host, Path: to.Path}, nil
}

func frameworkID(id string) *mesos.FrameworkID { return &mesos.FrameworkID{Value: id} }
