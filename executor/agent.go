package executor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"

	"mooring/internal/recordio"
)

const (
	protobuf        = "application/x-protobuf"
	maxEvent        = 16 << 20 // bytes; the largest are SUBSCRIBED and LAUNCH with a few thousand
	callTimeout     = 10 * time.Second
	registerTimeout = time.Minute // by default an agent gives a new executor no longer (Mesos 1.11)
	defaultBackoff  = time.Second
)

// agent is the connection to the Mesos agent that runs this executor.
type agent struct {
	env    config.Config
	url    string
	token  string // for agents that authenticate executors; empty otherwise
	http   *http.Client
	outbox outbox
	events chan mesosexec.Event // of all subscriptions, in order
	log    hclog.Logger

	mu     sync.Mutex
	cancel context.CancelFunc // ends the present subscription; nil unless the agent confirmed it
}

func newAgent(env config.Config, token string, log hclog.Logger) *agent {
	// The agent's own heartbeat comes every 30 minutes, so a dead connection must show in TCP.
	dialer := &net.Dialer{Timeout: callTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}}
	return &agent{
		env: env, token: token, log: log,
		url:    "http://" + env.AgentEndpoint + "/api/v1/executor",
		http:   &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: callTimeout}},
		events: make(chan mesosexec.Event),
	}
}

// run keeps a subscription until ctx ends. It returns an error when the agent stays away for longer than Mesos allows: the
// agent, should it come back, no longer expects this executor then.
func (a *agent) run(ctx context.Context) error {
	defer a.http.CloseIdleConnections()
	limit, away := registerTimeout, time.Now()
	for {
		subscribed, err := a.subscribe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if subscribed {
			limit, away = 0, time.Now()
			if a.env.Checkpoint {
				limit = a.env.RecoveryTimeout
			}
		}
		if time.Since(away) >= limit {
			return fmt.Errorf("agent %s stayed away for %s: %w", a.env.AgentEndpoint, limit, err)
		}
		a.log.Warn("not subscribed", "agent", a.env.AgentEndpoint, "error", err)
		if !sleep(ctx, a.pause()) {
			return nil
		}
	}
}

// pause is random so that at least one attempt falls into the time in which a restarted agent waits for its executors.
func (a *agent) pause() time.Duration {
	longest := a.env.SubscriptionBackoffMax
	if longest <= 0 {
		longest = defaultBackoff
	}
	return rand.N(longest) + time.Millisecond
}

// sleep says whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// subscribe delivers the events of one subscription and returns when it ends, always with an error; subscribed tells whether
// the agent had confirmed it.
func (a *agent) subscribe(ctx context.Context) (subscribed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := a.post(ctx, a.outbox.subscribe())
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }() // the subscription is over in any case
	if response.StatusCode != http.StatusOK {
		return false, answer(response)
	}
	defer a.setCancel(nil)
	records := recordio.NewReader(response.Body, maxEvent)
	for {
		record, err := records.Next()
		if err != nil {
			return subscribed, fmt.Errorf("read event of agent: %w", err)
		}
		var event mesosexec.Event
		if err := event.Unmarshal(record); err != nil {
			return subscribed, fmt.Errorf("read event of agent: %w", err)
		}
		if event.Type == mesosexec.Event_SUBSCRIBED {
			subscribed = true
			a.setCancel(cancel)
		}
		select {
		case a.events <- event:
		case <-ctx.Done():
			return subscribed, ctx.Err()
		}
	}
}

func (a *agent) setCancel(cancel context.CancelFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = cancel
}

// drop ends the present subscription; the next one carries again what was not acknowledged. Nothing is sent until then:
// updates must not overtake one another.
func (a *agent) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		a.cancel()
		a.cancel = nil
	}
}

func (a *agent) connected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancel != nil
}

// send queues an update and sends what is queued.
func (a *agent) send(ctx context.Context, status mesos.TaskStatus) {
	a.outbox.add(status)
	a.flush(ctx)
}

// flush sends, in order, the updates that the present subscription has not carried. Without one they wait for the next.
func (a *agent) flush(ctx context.Context) {
	for a.connected() {
		status, ok := a.outbox.next()
		if !ok {
			return
		}
		if err := a.update(ctx, status); err != nil {
			a.log.Warn("update not delivered, subscribing again", "agent", a.env.AgentEndpoint, "error", err)
			a.drop()
			return
		}
	}
}

func (a *agent) update(ctx context.Context, status mesos.TaskStatus) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := a.post(ctx, calls.Update(status))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // nothing is read from it
	if response.StatusCode != http.StatusAccepted {
		return answer(response)
	}
	return nil
}

func (a *agent) post(ctx context.Context, call *mesosexec.Call) (*http.Response, error) {
	call = call.With(calls.Framework(a.env.FrameworkID), calls.Executor(a.env.ExecutorID))
	body, err := call.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write %s call: %w", call.Type, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("send %s to agent: %w", call.Type, err)
	}
	request.Header.Set("Content-Type", protobuf)
	request.Header.Set("Accept", protobuf)
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("send %s to agent: %w", call.Type, err)
	}
	return response, nil
}

// answer makes an error of what the agent says instead of agreeing: 503 and 404 while it recovers after a restart, 403 when
// it no longer counts this executor as subscribed.
func answer(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1000)) // an explanation, if there is one
	return fmt.Errorf("agent answered %s: %s", response.Status, strings.TrimSpace(string(text)))
}
