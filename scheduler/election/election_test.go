package election_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/scheduler/election"
	"mooring/test/zookeeper"
)

const (
	root     = "/election"
	patience = 3 * time.Minute
)

func connect(t *testing.T, server string) *ensemble.Conn {
	t.Helper()
	return connectTo(t, "zk://"+server+root)
}

func connectTo(t *testing.T, address string) *ensemble.Conn {
	t.Helper()
	a, err := ensemble.Parse(address)
	require.NoError(t, err)
	c := ensemble.New(a, ensemble.Options{Session: election.Session, Answer: election.Answer})
	t.Cleanup(c.Close)
	return c
}

func write(conn *ensemble.Conn, ops ...any) error {
	_, err := ensemble.Call(conn, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(ops...) })
	return err
}

func prepare(t *testing.T, server string) *ensemble.Conn {
	t.Helper()
	return prepareBelow(t, connect(t, server), root)
}

func prepareBelow(t *testing.T, conn *ensemble.Conn, root string) *ensemble.Conn {
	t.Helper()
	ops := []any{&zk.CreateRequest{Path: root, Acl: conn.ACL()}, &zk.CreateRequest{Path: root + "/log", Acl: conn.ACL()}}
	for _, node := range election.Nodes() {
		ops = append(ops, &zk.CreateRequest{Path: root + "/" + node, Acl: conn.ACL()})
	}
	require.NoError(t, write(conn, ops...))
	return conn
}

func lead(t *testing.T, e *election.Election) *election.Term {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	term, _, err := e.Lead(ctx)
	require.NoError(t, err)
	return term
}

// Several take turns, leaving in an orderly way or by closing their connection; there is one at a time, and a term that is over
// cannot be written in.
func TestOneAtATime(t *testing.T) {
	server := zookeeper.Run(t)
	prepare(t, server.Address)
	const count, rounds = 4, 6
	var leading atomic.Int32
	done := make(chan error, count)
	for n := range count {
		go func() { done <- takeTurns(t, server.Address, n, rounds, &leading) }()
	}
	for range count {
		require.NoError(t, <-done)
	}
}

func takeTurns(t *testing.T, server string, n, rounds int, leading *atomic.Int32) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := connect(t, server)
	e := election.New(conn, root, "address", nil)
	for round := range rounds {
		term, _, err := e.Lead(ctx)
		if err != nil {
			return err
		}
		if leading.Add(1) != 1 {
			return errors.New("two lead")
		}
		check, err := term.Check()
		if err != nil {
			return err
		}
		if err := write(conn, check, &zk.SetDataRequest{Path: root + "/log", Version: -1}); err != nil {
			return err
		}
		leading.Add(-1)
		if (n+round)%2 == 0 {
			term.Resign()
		} else {
			term.Stop()
			conn.Close()
			conn = connect(t, server)
			e = election.New(conn, root, "address", nil)
		}
		if _, err := term.Check(); !errors.Is(err, context.Canceled) {
			return errors.New("a term that is over goes on")
		}
	}
	return nil
}

func TestTerms(t *testing.T) {
	server := zookeeper.Run(t)
	beside := prepare(t, server.Address)
	t.Run("its end is noticed", func(t *testing.T) { endNoticed(t, server, beside) })
	t.Run("a write of an earlier one is refused", func(t *testing.T) { earlierRefused(t, server) })
	t.Run("cut off", func(t *testing.T) { cutOff(t, server) })
	t.Run("a server that restarts", func(t *testing.T) { serverRestarts(t, server) })
}

// endNoticed is about a candidate's node that is gone, as it is when the servers have given its session up.
func endNoticed(t *testing.T, server *zookeeper.Server, beside *ensemble.Conn) {
	e := election.New(connect(t, server.Address), root, "here:1", nil)
	term := lead(t, e)
	address, err := e.Leader()
	require.NoError(t, err)
	assert.Equal(t, "here:1", address)
	names, err := ensemble.Call(beside, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(root + "/candidates")
		return names, err
	})
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, write(beside, &zk.DeleteRequest{Path: root + "/candidates/" + names[0], Version: -1}))
	await(t, term)
	require.ErrorIs(t, context.Cause(term.Context()), election.ErrOver)
	term.Stop()
	lead(t, e).Resign() // it can lead again
	address, err = e.Leader()
	require.NoError(t, err)
	assert.Empty(t, address, "nobody leads")
}

func await(t *testing.T, term *election.Term) {
	t.Helper()
	select {
	case <-term.Context().Done():
	case <-time.After(patience):
		require.Fail(t, "the term goes on")
	}
}

func earlierRefused(t *testing.T, server *zookeeper.Server) {
	one, two := connect(t, server.Address), connect(t, server.Address)
	first := lead(t, election.New(one, root, "one:1", nil))
	check, err := first.Check()
	require.NoError(t, err)
	first.Resign()
	second := lead(t, election.New(two, root, "two:1", nil))
	defer second.Resign()
	require.ErrorIs(t, write(one, check, &zk.SetDataRequest{Path: root + "/log", Version: -1}), zk.ErrBadVersion)
	check, err = second.Check()
	require.NoError(t, err)
	require.NoError(t, write(two, check, &zk.SetDataRequest{Path: root + "/log", Version: -1}))
}

// cutOff is about the order of things: who cannot reach ZooKeeper has stopped before anybody else begins.
func cutOff(t *testing.T, server *zookeeper.Server) {
	proxy := zookeeper.NewProxy(t, server)
	term := lead(t, election.New(connect(t, proxy.Address), root, "one:1", nil))
	defer term.Stop()
	proxy.Cut()
	next := lead(t, election.New(connect(t, server.Address), root, "two:1", nil))
	defer next.Resign()
	require.Error(t, term.Context().Err(), "the first one's term is over")
	require.ErrorIs(t, context.Cause(term.Context()), election.ErrOver)
	_, err := term.Check()
	require.ErrorIs(t, err, election.ErrOver)
}

// serverRestarts is about a connection that breaks, and a session that goes on.
func serverRestarts(t *testing.T, server *zookeeper.Server) {
	proxy := zookeeper.NewProxy(t, server)
	term := lead(t, election.New(connect(t, proxy.Address), root, "one:1", nil))
	proxy.Join() // breaks all connections
	deadline := time.Now().Add(patience)
	for term.Confirm() != nil {
		require.True(t, time.Now().Before(deadline))
	}
	require.NoError(t, term.Context().Err())
	term.Resign()
}

// Nobody sees who leads, and nobody else stands for election, where there is a password.
func TestAnElectionWithAPassword(t *testing.T) {
	server := zookeeper.Run(t)
	conn := prepareBelow(t, connectTo(t, "zk://me:hush@"+server.Address+"/closed"), "/closed")
	term := lead(t, election.New(conn, "/closed", "one:1", nil))
	defer term.Resign()
	assert.Greater(t, len(zookeeper.Closed(t, server, "/closed", "me", "hush")), len(election.Nodes())+2, "with the candidate")
}
