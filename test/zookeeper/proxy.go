package zookeeper

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const mostBytes = 4 << 20 // of a request; servers take less

// Proxy passes connections on to a server until it is cut: then nothing passes, in either direction, and nobody is told.
type Proxy struct {
	Address string

	listener net.Listener
	to       string

	mu    sync.Mutex
	at    func(request []byte)
	cut   bool
	mute  bool
	conns []net.Conn
}

// NewProxy stands between a client and a server until the test ends.
func NewProxy(t testing.TB, s *Server) *Proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{Address: l.Addr().String(), listener: l, to: s.Address}
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(&serving) })
	t.Cleanup(func() {
		l.Close()
		p.drop()
		serving.Wait()
	})
	return p
}

func (p *Proxy) serve(serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		serving.Go(func() { p.requests(server, client) })
		serving.Go(func() { p.answers(client, server) })
	}
}

// At has a function called with each request of a client before it is passed on, as it is on the wire after its length: a number of
// the client's, what is asked for (see Writes), and so on. It is passed on when the function returns, unless that has cut
// the connection. Nil ends that.
func (p *Proxy) At(do func(request []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = do
}

// Writes tells whether a request may change anything: create, delete, setData, multi, create2, createContainer, deleteContainer.
func Writes(request []byte) bool {
	if len(request) < 8 {
		return false
	}
	switch binary.BigEndian.Uint32(request[4:]) {
	case 1, 2, 5, 14, 15, 19, 20:
		return true
	}
	return false
}

func (p *Proxy) requests(server, client net.Conn) {
	length := make([]byte, 4)
	p.pass(server, client, func() ([]byte, error) {
		if _, err := io.ReadFull(client, length); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(length)
		if n > mostBytes {
			return nil, fmt.Errorf("request of %d bytes", n)
		}
		request := make([]byte, n)
		_, err := io.ReadFull(client, request)
		if do := p.told(); do != nil && err == nil {
			do(request)
		}
		return append(length[:4:4], request...), err
	}, func() bool { return p.cut })
}

// told is who is to be told of a request; nobody while nothing passes.
func (p *Proxy) told() func([]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return nil
	}
	return p.at
}

func (p *Proxy) answers(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	p.pass(client, server, func() ([]byte, error) {
		n, err := server.Read(buffer)
		return buffer[:n], err
	}, func() bool { return p.cut || p.mute })
}

// pass passes on what is next, until that is stopped.
func (p *Proxy) pass(to, from net.Conn, next func() ([]byte, error), stopped func() bool) {
	for {
		data, err := next()
		p.mu.Lock()
		stop := stopped()
		p.mu.Unlock()
		if stop {
			discard(from, err)
			return
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(data); err != nil {
			from.Close()
			return
		}
	}
}

// discard swallows what still comes.
func discard(from net.Conn, err error) {
	if err == nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// Cut stops everything.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

// Mute stops answers: what clients ask for is done, and they do not hear of it.
func (p *Proxy) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// Join lets new connections through; those that were cut are broken.
func (p *Proxy) Join() {
	p.mu.Lock()
	p.cut, p.mute = false, false
	p.mu.Unlock()
	p.drop()
}

func (p *Proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
