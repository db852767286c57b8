package mesostest

import (
	"context"
	"errors"
	"net"
)

// Wire joins a client and a server within this process, by pipes: all that happens on it waits for nothing but channels and time, as
// testing/synctest asks. It is the server's net.Listener.
type Wire struct {
	calls chan net.Conn
	ended chan struct{}
}

// NewWire returns one that is to be closed.
func NewWire() *Wire { return &Wire{calls: make(chan net.Conn), ended: make(chan struct{})} }

var errWireEnded = errors.New("the wire is no more")

// Dial makes a connection, whatever address is asked for.
func (w *Wire) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.calls <- server:
		return client, nil
	case <-w.ended:
		return nil, errWireEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (w *Wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.calls:
		return c, nil
	case <-w.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It is called once.
func (w *Wire) Close() error {
	close(w.ended)
	return nil
}

// Addr implements net.Listener.
func (w *Wire) Addr() net.Addr { return wireAddr{} }

type wireAddr struct{}

func (wireAddr) Network() string { return "wire" }
func (wireAddr) String() string  { return "wire:5050" }
