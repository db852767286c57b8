package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"mooring/coordinator"
	"mooring/internal/ensemble"
)

const (
	// mostBytes is what fits into one transaction: a server drops a connection that asks for more than 1 MiB (its own default,
	// jute.maxbuffer), without a word.
	mostBytes = 1_000_000
	overhead  = 40 // bytes of a request in a transaction beyond path, data and ACL; rounded up
	readers   = 64 // requests under way while a state is read
)

// Fence guards writes. It fails once its holder may not write any more, as far as that can be known here, and gives a check that
// makes the servers refuse the write if it was somebody else's turn meanwhile.
type Fence func() (*zk.CheckVersionRequest, error)

// ErrFenced is the error of a write that was refused because it is somebody else's turn.
var ErrFenced = errors.New("another scheduler leads now")

// ZooKeeper is a store in ZooKeeper, below the node <path>/<framework>: header, and nodes/<ID>. A save changes only records of
// the version that was read or written last: nothing that somebody else wrote is lost, and a write that was delayed on its way
// changes nothing.
type ZooKeeper struct {
	conn      *ensemble.Conn
	framework string
	fence     Fence // nil: only to be read

	mu       sync.Mutex
	known    bool             // versions are those of what was saved last
	versions map[string]int32 // of the records, by path
}

// OpenZooKeeper opens the framework's state below the connection's path. If there is no such framework, it makes it, with the
// given state and further nodes that others need; otherwise of that state only the framework's name matters.
func OpenZooKeeper(conn *ensemble.Conn, initial coordinator.State, others ...string) (*ZooKeeper, error) {
	s := &ZooKeeper{conn: conn, framework: initial.Framework}
	if there, err := s.exists(s.Root()); there || err != nil {
		return s, s.explain(err)
	}
	return s, s.explain(s.create(initial, others))
}

// Root is the framework's node.
func (s *ZooKeeper) Root() string { return s.conn.Path() + "/" + s.framework }

func (s *ZooKeeper) header() string { return s.Root() + "/header" }
func (s *ZooKeeper) nodes() string  { return s.Root() + "/nodes" }

func (s *ZooKeeper) node(id coordinator.NodeID) string { return fmt.Sprintf("%s/%010d", s.nodes(), id) }

// Fenced is the same store, to be written behind a fence.
func (s *ZooKeeper) Fenced(fence Fence) *ZooKeeper {
	return &ZooKeeper{conn: s.conn, framework: s.framework, fence: fence}
}

func (s *ZooKeeper) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s/%s: %w", s.conn, s.framework, err)
}

// create makes everything at once. If somebody else was faster, theirs stays.
func (s *ZooKeeper) create(initial coordinator.State, others []string) error {
	made := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(s.conn.Path(), "/"), "/") {
		made += "/" + part
		_, err := ensemble.Call(s.conn, func(c *zk.Conn) (string, error) { return c.Create(made, nil, 0, s.conn.ACL()) })
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	t := transaction{acl: s.conn.ACL()}
	for _, empty := range append([]string{s.Root(), s.nodes()}, others...) {
		if !strings.HasPrefix(empty, "/") {
			empty = s.Root() + "/" + empty
		}
		t.create(empty, nil)
	}
	if err := s.write(&t, changed(coordinator.State{}, initial), map[string]int32{}); err != nil {
		return err
	}
	if _, err := t.commit(s.conn); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	return nil
}

// Load implements scheduler.Store.
func (s *ZooKeeper) Load(ctx context.Context) (coordinator.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, err := s.load(ctx)
	return state, s.explain(err)
}

func (s *ZooKeeper) load(ctx context.Context) (coordinator.State, error) {
	// The server that answers must have seen what others made before.
	if _, err := ensemble.Call(s.conn, func(c *zk.Conn) (string, error) { return c.Sync(s.Root()) }); err != nil {
		return coordinator.State{}, err
	}
	names, err := ensemble.Call(s.conn, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(s.nodes())
		return names, err
	})
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return coordinator.State{}, err
	}
	slices.Sort(names)
	paths := []string{s.header()}
	for _, name := range names {
		paths = append(paths, s.nodes()+"/"+name)
	}
	records, versions, err := s.read(ctx, paths)
	if err != nil {
		return coordinator.State{}, err
	}
	state := *records[0].Header
	for i, r := range records[1:] {
		if r.Node == nil || int(r.Node.ID) != i+1 {
			return coordinator.State{}, fmt.Errorf("record of node %d is missing: %s", i+1, s.remedy())
		}
		state.Nodes = append(state.Nodes, *r.Node)
	}
	s.versions, s.known = versions, true
	return state, nil
}

func (s *ZooKeeper) remedy() string {
	return fmt.Sprintf("restore it from a backup, give another path, or delete %s to begin anew", s.Root())
}

// read reads records, the header first.
func (s *ZooKeeper) read(ctx context.Context, paths []string) ([]record, map[string]int32, error) {
	records, versions := make([]record, len(paths)), map[string]int32{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, path := range paths {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found, err := s.get(path)
			if errors.Is(err, zk.ErrNoNode) {
				return fmt.Errorf("record %q is missing: %s", strings.TrimPrefix(path, s.Root()+"/"), s.remedy())
			}
			if err != nil {
				return err
			}
			if records[i], err = decode(found.data); err == nil && (records[i].Header != nil) != (i == 0) {
				err = errors.New("not a record of mooring: restore it from a backup")
			}
			if err != nil {
				return fmt.Errorf("record %q: %w", strings.TrimPrefix(path, s.Root()+"/"), err)
			}
			mu.Lock()
			defer mu.Unlock()
			versions[path] = found.version
			return nil
		})
	}
	return records, versions, group.Wait()
}

// content is a node's.
type content struct {
	data    []byte
	version int32
}

func (s *ZooKeeper) get(path string) (content, error) {
	return ensemble.Call(s.conn, func(c *zk.Conn) (content, error) {
		data, stat, err := c.Get(path)
		if err != nil {
			return content{}, err
		}
		return content{data, stat.Version}, nil
	})
}

func (s *ZooKeeper) exists(path string) (bool, error) {
	return ensemble.Call(s.conn, func(c *zk.Conn) (bool, error) {
		there, _, err := c.Exists(path)
		return there && err == nil, err
	})
}

// Save implements scheduler.Store. It fails behind a fence that has fallen even if there is nothing to write, so that nothing is
// done on the strength of it.
func (s *ZooKeeper) Save(ctx context.Context, before, after coordinator.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.explain(s.save(ctx, before, after))
}

func (s *ZooKeeper) save(ctx context.Context, before, after coordinator.State) error {
	if s.fence == nil {
		return errors.New("it was opened to be read")
	}
	check, err := s.fence()
	if err != nil {
		return err
	}
	if !s.known || before.Framework == "" { // then what is there is to be found out: perhaps a save was done that seemed to fail
		if before, err = s.load(ctx); err != nil {
			return err
		}
	}
	c := changed(before, after)
	if c.none() {
		return nil
	}
	t := transaction{acl: s.conn.ACL(), ops: []any{check}}
	if err := s.write(&t, c, s.versions); err != nil {
		return err
	}
	s.known = false // until the servers say so
	results, err := t.commit(s.conn)
	if err != nil {
		if len(results) > 0 && results[0].Error != nil {
			return fmt.Errorf("%w (%w)", ErrFenced, err)
		}
		return err
	}
	for i, path := range t.paths {
		s.versions[path] = 0
		if stat := results[i+1].Stat; stat != nil {
			s.versions[path] = stat.Version
		}
	}
	s.known = true
	return nil
}

// write puts changes into a transaction. Records without a version are new.
func (s *ZooKeeper) write(t *transaction, c changes, versions map[string]int32) error {
	put := func(path string, r record) error {
		data, err := encode(r)
		if err != nil {
			return fmt.Errorf("encode record %q: %w", path, err)
		}
		if version, there := versions[path]; there {
			t.set(path, data, version)
		} else {
			t.create(path, data)
		}
		return nil
	}
	if c.header != nil {
		if err := put(s.header(), record{Header: c.header}); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		if err := put(s.node(c.nodes[i].ID), record{Node: &c.nodes[i]}); err != nil {
			return err
		}
	}
	if t.bytes > mostBytes {
		return fmt.Errorf("%d nodes change at once, which takes %d bytes, and ZooKeeper takes %d in one transaction: "+
			"begin with fewer nodes, and scale in smaller steps", len(c.nodes), t.bytes, mostBytes)
	}
	return nil
}

// transaction is done as a whole or not at all.
type transaction struct {
	acl   []zk.ACL
	ops   []any
	paths []string // of what is set or created, in order
	bytes int
}

func (t *transaction) create(path string, data []byte) {
	t.ops = append(t.ops, &zk.CreateRequest{Path: path, Data: data, Acl: t.acl})
	t.count(path, data)
	for _, a := range t.acl {
		t.bytes += len(a.Scheme) + len(a.ID) + 12
	}
}

func (t *transaction) set(path string, data []byte, version int32) {
	t.ops = append(t.ops, &zk.SetDataRequest{Path: path, Data: data, Version: version})
	t.count(path, data)
}

func (t *transaction) count(path string, data []byte) {
	t.paths = append(t.paths, path)
	t.bytes += len(path) + len(data) + overhead
}

// commit returns a result per operation if the servers answered, with the error too.
func (t *transaction) commit(conn *ensemble.Conn) ([]zk.MultiResponse, error) {
	return ensemble.Call(conn, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(t.ops...) })
}
