package zookeeper

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"
)

const (
	// session is asked for; the server may give another one. Nothing depends on it but how soon a server
	// that is gone is noticed.
	session = 4 * time.Second
	// answerTime is how long a server may take. Then the connection is given up for one to the next server,
	// so that one that hangs does not cost this host its heartbeat.
	answerTime = 3 * time.Second
)

// Ensemble is a connection to ZooKeeper, made when it is first needed.
type Ensemble struct {
	address Address
	log     hclog.Logger

	mu      sync.Mutex
	client  *zk.Conn
	known   bool          // the servers know who asks
	up      chan struct{} // closed while there is a session
	socket  net.Conn      // the newest connection
	through bool          // Close was called
}

// New is the ensemble at an address. It connects when it is needed.
func New(a Address, log hclog.Logger) *Ensemble {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Ensemble{address: a, log: log, up: make(chan struct{})}
}

// String is the address without the password.
func (e *Ensemble) String() string { return e.address.String() }

// Kind names the place for good.
func (*Ensemble) Kind() string { return "zookeeper" }

// Prepare makes room for the leases of a new store.
func (e *Ensemble) Prepare(store string) error { return e.Leases(store).prepare() }

// Close ends the connection for good.
func (e *Ensemble) Close() {
	e.mu.Lock()
	client := e.client
	e.client, e.through = nil, true
	e.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// call asks the ensemble something and waits for the answer, not for long. Without an answer it is not
// known whether it was done, or will be. Nothing is asked before there is a session, so that no request
// waits in a queue.
func call[T any](e *Ensemble, ask func(*zk.Conn) (T, error)) (T, error) {
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	var none T
	client, err := e.connect(timer.C)
	if err != nil {
		return none, err
	}
	result, err := within(timer.C, func() (T, error) { return ask(client) })
	if errors.Is(err, errNoAnswer) {
		e.hangUp()
	}
	return result, e.explain(err)
}

var errNoAnswer = fmt.Errorf("no answer within %s", answerTime)

func within[T any](late <-chan time.Time, work func() (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := work()
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-late:
		var none T
		return none, errNoAnswer
	}
}

// connect waits until there is a session, and has said who asks.
func (e *Ensemble) connect(late <-chan time.Time) (*zk.Conn, error) {
	client, up, known, err := e.current()
	if err != nil {
		return nil, e.explain(err)
	}
	select {
	case <-up:
	case <-late:
		e.hangUp()
		return nil, e.explain(errors.New("no server can be reached"))
	}
	if known || e.address.user == "" {
		return client, nil
	}
	_, err = within(late, func() (struct{}, error) {
		return struct{}{}, client.AddAuth("digest", []byte(e.address.user+":"+e.address.password))
	})
	if err != nil {
		return nil, e.explain(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = true // the client says so itself from now on
	return client, nil
}

func (e *Ensemble) current() (client *zk.Conn, up chan struct{}, known bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.through {
		return nil, nil, false, errors.New("the connection is closed")
	}
	if e.client == nil {
		e.client, _, err = zk.Connect(e.address.servers, session, zk.WithDialer(e.dial), zk.WithHostProvider(&inTurn{}),
			zk.WithLogger(quiet{e.log}), zk.WithLogInfo(false), zk.WithEventCallback(e.heed))
	}
	return e.client, e.up, e.known, err
}

// heed notes whether there is a session.
func (e *Ensemble) heed(event zk.Event) {
	if event.Type != zk.EventSession {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	is := false
	select {
	case <-e.up:
		is = true
	default:
	}
	switch {
	case event.State == zk.StateHasSession && !is:
		close(e.up)
	case event.State != zk.StateHasSession && is:
		e.up = make(chan struct{})
	}
}

func (e *Ensemble) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.socket = conn
	return conn, nil
}

// hangUp makes the client go on to the next server.
func (e *Ensemble) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.socket != nil {
		_ = e.socket.Close()
	}
}

// explain says where something went wrong, and what to do about it.
func (e *Ensemble) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed):
		return fmt.Errorf("ZooKeeper at %s: %w: give LEASES the user and password that the path was made with", e.address, err)
	}
	return fmt.Errorf("ZooKeeper at %s: %w", e.address, err)
}

func (e *Ensemble) acl() []zk.ACL {
	if e.address.user == "" {
		return zk.WorldACL(zk.PermAll)
	}
	return zk.DigestACL(zk.PermAll, e.address.user, e.address.password)
}

// inTurn gives the servers by name, which the dialler looks up each time: members may move.
type inTurn struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last connection
}

func (h *inTurn) Init(servers []string) error {
	h.servers = servers
	return nil
}

func (h *inTurn) Len() int { return len(h.servers) }

func (h *inTurn) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server, retryStart = h.servers[h.next], h.tried == len(h.servers)
	if retryStart {
		h.tried = 0
	}
	h.tried++
	h.next = (h.next + 1) % len(h.servers)
	return server, retryStart
}

func (h *inTurn) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// quiet logs what the client says, which is only of use to somebody who looks for the cause of trouble.
type quiet struct{ log hclog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug(fmt.Sprintf("zookeeper: "+format, args...))
}
