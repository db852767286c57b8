package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/internal/recordio"
)

const (
	recordLimit  = 256 << 20 // bytes of one event; offers of 10,000 agents take about 10 MB
	callTimeout  = 30 * time.Second
	dialTimeout  = 5 * time.Second
	callQueue    = 1024 // calls that wait for their turn; when full the loop waits, too
	sideBySide   = 8    // acknowledgements under way at once, each on an HTTP connection of its own
	lastWords    = 2 * time.Second
	messageLimit = 4 << 10 // bytes

	defaultHeartbeat = 15 * time.Second // Mesos 1.11: DEFAULT_HEARTBEAT_INTERVAL, not configurable
	missedHeartbeats = 5                // as the documentation of Mesos' scheduler API advises
)

const (
	mediaType    = "application/x-protobuf"
	streamHeader = "Mesos-Stream-Id"
)

// connection is one subscription: the stream of events, and the calls that belong to it. It ends as a whole: when the stream
// breaks, falls silent or a call fails, since a call that failed leaves unknown what the master knows.
type connection struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	client   *client
	endpoint *url.URL
	stream   *http.Response

	frameworkID string   // set by the first event
	suppressed  []string // roles to which SUBSCRIBE asked for no offers
	calls       chan *v1.Call
	accepted    atomic.Bool // the loop took in the first event: reconnecting may start over with short waits
}

// drop ends the connection; the first cause given is the one reported.
func (c *connection) drop(cause error) { c.cancel(cause) }

// enqueue hands over a call to be sent after those before it. It is dropped if the connection ends first.
func (c *connection) enqueue(call *v1.Call) {
	select {
	case c.calls <- call:
	case <-c.ctx.Done():
	}
}

// send sends calls, in order, until the connection ends or one of them fails. Each waits for the answer to the one before, except
// that acknowledgements that follow each other go side by side: they are of different tasks, or Mesos repeated an update and
// passes over what is acknowledged again. Whatever else concerns a task comes after its acknowledgements, or before.
func (c *connection) send() {
	ctx, fail := context.WithCancelCause(c.ctx)
	defer fail(nil)
	acknowledgements := make(chan *v1.Call)
	var senders, underWay sync.WaitGroup
	for range sideBySide {
		senders.Go(func() {
			for call := range acknowledgements {
				c.sendOne(ctx, fail, call)
				underWay.Done()
			}
		})
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case call := <-c.calls:
			if call.Type == v1.Call_ACKNOWLEDGE {
				underWay.Add(1)
				acknowledgements <- call
				continue
			}
			underWay.Wait()
			c.sendOne(ctx, fail, call)
		}
	}
	close(acknowledgements)
	senders.Wait()
	if c.ctx.Err() == nil {
		c.awaitLastWords()
		c.drop(context.Cause(ctx))
	}
}

// sendOne sends a call, unless one before it has failed. If this one does, those that are under way beside it are given up.
func (c *connection) sendOne(ctx context.Context, fail context.CancelCauseFunc, call *v1.Call) {
	if ctx.Err() != nil {
		return
	}
	if err := c.client.send(ctx, c, call); err != nil {
		fail(fmt.Errorf("send %s: %w", call.Type, err))
	}
}

// awaitLastWords gives the stream the time to say why a call was refused. If another scheduler took over, an ERROR event is
// under way; whoever overlooks that and subscribes again takes the framework back, and so on for ever.
func (c *connection) awaitLastWords() {
	select {
	case <-c.ctx.Done():
	case <-time.After(lastWords):
	}
}

// receive hands events to deliver, heartbeats excepted, until the connection ends. It returns the cause.
func (c *connection) receive(deliver func(*v1.Event)) error {
	silence := missedHeartbeats * defaultHeartbeat
	watchdog := time.AfterFunc(silence, func() {
		c.drop(fmt.Errorf("no event for %s", silence))
	})
	defer watchdog.Stop()
	records := recordio.NewReader(c.stream.Body, recordLimit)
	for c.ctx.Err() == nil {
		event, err := next(records)
		if err != nil {
			c.drop(fmt.Errorf("read event: %w", err))
			break
		}
		if event.Type == v1.Event_SUBSCRIBED {
			silence = missedHeartbeats * heartbeat(event.Subscribed)
		}
		watchdog.Stop() // the time that deliver takes is ours
		if event.Type == v1.Event_ERROR {
			c.drop(masterError(event.GetError().GetMessage()))
			break
		}
		if event.Type != v1.Event_HEARTBEAT {
			deliver(event)
		}
		watchdog.Reset(silence)
	}
	return context.Cause(c.ctx)
}

func next(records *recordio.Reader) (*v1.Event, error) {
	record, err := records.Next()
	if err == io.EOF {
		return nil, errors.New("the master ended the stream")
	}
	if err != nil {
		return nil, err
	}
	event := new(v1.Event)
	if err := event.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("decode %d bytes: %w", len(record), err)
	}
	return event, nil
}

func heartbeat(s *v1.Event_Subscribed) time.Duration {
	if seconds := s.GetHeartbeatIntervalSeconds(); seconds > 0 {
		return time.Duration(seconds * float64(time.Second))
	}
	return defaultHeartbeat
}

// client does the HTTP part of one subscription.
type client struct {
	http *http.Client
	as   credentials
}

// newClient reads the credentials and certificates anew: they may have been changed.
func (o Options) newClient() (*client, error) {
	as, errCredentials := o.credentials()
	secured, errTLS := o.tls()
	if err := errors.Join(errCredentials, errTLS); err != nil {
		return nil, err
	}
	return &client{
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: o.dial, TLSClientConfig: secured, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: callTimeout,
				MaxIdleConnsPerHost: sideBySide,
			},
			CheckRedirect: noRedirect,
		},
		as: as,
	}, nil
}

// noRedirect has a redirect be an answer like others: only SUBSCRIBE follows it, see follow.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c *client) close() { c.http.CloseIdleConnections() }

// send sends a call other than SUBSCRIBE. Mesos answers 202 once it has queued it.
func (c *client) send(ctx context.Context, conn *connection, call *v1.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	call = call.With(func(call *v1.Call) { call.FrameworkID = frameworkID(conn.frameworkID) })
	response, err := c.post(ctx, conn.endpoint, call, conn.stream.Header.Get(streamHeader))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return c.statusError(response)
	}
	return nil
}

func (c *client) post(ctx context.Context, to *url.URL, call *v1.Call, streamID string) (*http.Response, error) {
	body, err := call.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode call: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", mediaType)
	if streamID != "" {
		request.Header.Set(streamHeader, streamID)
	}
	if c.as.secret != "" {
		request.SetBasicAuth(c.as.principal, c.as.secret)
	}
	return c.http.Do(request)
}

// statusError is what the master answered, in its own words.
func (c *client) statusError(response *http.Response) error {
	if response.StatusCode == http.StatusUnauthorized {
		return c.as.refused(response)
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, messageLimit)) // the status alone will do
	return fmt.Errorf("master answers %s: %s", response.Status, bytes.TrimSpace(text))
}
