// Package ensemble connects to ZooKeeper: it reads addresses, keeps a session going with whichever server answers, and never waits
// for long.
package ensemble

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"
)

// Options are the settings of a connection. The zero value works.
type Options struct {
	// Session is the time-out that is asked for; the server may give another one. After it, the servers take a client for gone
	// that they hear nothing of. 0 means 4 s.
	Session time.Duration
	// Answer is how long a server may take. Then the connection is given up for one to the next server, so that one that hangs
	// costs little time. 0 means 3 s.
	Answer  time.Duration
	Setting string       // that user and password come from, for messages
	Log     hclog.Logger // nil is silent
}

func (o Options) complete() Options {
	if o.Session == 0 {
		o.Session = 4 * time.Second
	}
	if o.Answer == 0 {
		o.Answer = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o
}

// Conn is a connection to ZooKeeper, made when it is first needed.
type Conn struct {
	address Address
	options Options

	mu      sync.Mutex
	client  *zk.Conn
	known   bool          // the servers know who asks
	up      chan struct{} // closed while there is a session
	socket  net.Conn      // the newest connection
	through bool          // Close was called
}

// New is a connection to the servers at an address. It connects when it is needed.
func New(a Address, o Options) *Conn {
	return &Conn{address: a, options: o.complete(), up: make(chan struct{})}
}

// String is the address without the password.
func (c *Conn) String() string { return c.address.String() }

// Path is that of the address.
func (c *Conn) Path() string { return c.address.path }

// Close ends the connection for good.
func (c *Conn) Close() {
	c.mu.Lock()
	client := c.client
	c.client, c.through = nil, true
	c.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// Call asks the servers something and waits for the answer, not for long. Without an answer it is not
// known whether it was done, or will be. Nothing is asked before there is a session, so that no request
// waits in a queue.
func Call[T any](c *Conn, ask func(*zk.Conn) (T, error)) (T, error) {
	timer := time.NewTimer(c.options.Answer)
	defer timer.Stop()
	var none T
	client, err := c.connect(timer.C)
	if err != nil {
		return none, err
	}
	result, err := within(timer.C, func() (T, error) { return ask(client) })
	if errors.Is(err, errNoAnswer) {
		c.hangUp()
		err = fmt.Errorf("%w within %s", errNoAnswer, c.options.Answer)
	}
	return result, c.explain(err)
}

var errNoAnswer = errors.New("no answer")

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
func (c *Conn) connect(late <-chan time.Time) (*zk.Conn, error) {
	client, up, known, err := c.current()
	if err != nil {
		return nil, c.explain(err)
	}
	select {
	case <-up:
	case <-late:
		c.hangUp()
		return nil, c.explain(errors.New("no server can be reached"))
	}
	if known || c.address.user == "" {
		return client, nil
	}
	_, err = within(late, func() (struct{}, error) {
		return struct{}{}, client.AddAuth("digest", []byte(c.address.user+":"+c.address.password))
	})
	if err != nil {
		return nil, c.explain(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = true // the client says so itself from now on
	return client, nil
}

func (c *Conn) current() (client *zk.Conn, up chan struct{}, known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.through {
		return nil, nil, false, errors.New("the connection is closed")
	}
	if c.client == nil {
		c.client, _, err = zk.Connect(c.address.servers, c.options.Session, zk.WithDialer(c.dial), zk.WithHostProvider(&inTurn{}),
			zk.WithLogger(quiet{c.options.Log}), zk.WithLogInfo(false), zk.WithEventCallback(c.heed))
	}
	return c.client, c.up, c.known, err
}

// heed notes whether there is a session.
func (c *Conn) heed(event zk.Event) {
	if event.Type != zk.EventSession {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	is := false
	select {
	case <-c.up:
		is = true
	default:
	}
	switch {
	case event.State == zk.StateHasSession && !is:
		close(c.up)
	case event.State != zk.StateHasSession && is:
		c.up = make(chan struct{})
	}
}

func (c *Conn) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = conn
	return conn, nil
}

// hangUp makes the client go on to the next server.
func (c *Conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket != nil {
		_ = c.socket.Close()
	}
}

// explain says where something went wrong, and what to do about it.
func (c *Conn) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed):
		return fmt.Errorf("ZooKeeper at %s: %w: give %s the user and password that the path was made with", c.address, err, c.options.Setting)
	}
	return fmt.Errorf("ZooKeeper at %s: %w", c.address, err)
}

// ACL is that of what is made over this connection: with user and password it is for them only.
func (c *Conn) ACL() []zk.ACL {
	if c.address.user == "" {
		return zk.WorldACL(zk.PermAll)
	}
	return zk.DigestACL(zk.PermAll, c.address.user, c.address.password)
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
