// Package zookeeper keeps leases and heartbeats in ZooKeeper, apart from the volumes' data:
//
//	<path>/<store>                          the leases of one store, by its UUID; made with the store
//	<path>/<store>/volumes/<volume>/<lease> the current lease, the only child of its volume's node
//	<path>/<store>/hosts/<host>             the host's heartbeat
//
// A lease is a node whose name was never used before, and that never changes: the name stands for the lease as
// a whole. Each change is one transaction that deletes the node of the lease before, and creates one for the next:
// it happens only if that very lease is the current one. A compare-and-set by the version of one node would
// not do: versions start again when a volume is removed and made again, and a host that was delayed could meet
// the number that it had read. The first lease creates its volume's node in the same transaction, and the
// removal of the last deletes it, so "no lease" is one state, too.
//
// Nothing depends on sessions and their time-outs, which are measured by a server: a host lives if its
// heartbeat changes, and an observer times that on its own clock, as with files.
package zookeeper

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
	"mooring/plugin/lease"
)

// attempts is how often a read is begun again that a change came across.
const attempts = 5

// Ensemble is where the leases of all stores are.
type Ensemble struct{ *ensemble.Conn }

// New is the ensemble at an address. It connects when it is needed.
func New(a ensemble.Address, log hclog.Logger) *Ensemble {
	return &Ensemble{ensemble.New(a, ensemble.Options{Setting: "LEASES", Log: log})}
}

// Kind names the place for good.
func (*Ensemble) Kind() string { return "zookeeper" }

// Prepare makes room for the leases of a new store.
func (e *Ensemble) Prepare(store string) error { return e.Leases(store).prepare() }

// Leases are those of one store.
type Leases struct {
	ensemble *Ensemble
	root     string // node of the store

	beating sync.Mutex      // held while a heartbeat is written
	own     map[string]beat // heartbeats written here, by host

	mu   sync.Mutex
	seen map[string]int64 // the transaction that wrote the heartbeat of each host as last read
}

type beat struct {
	lease.Heartbeat
	version int32
}

// Leases are those of the store with a UUID.
func (e *Ensemble) Leases(store string) *Leases {
	return &Leases{ensemble: e, root: e.Path() + "/" + store, own: map[string]beat{}, seen: map[string]int64{}}
}

// Only are the leases of the only store below the address' path, for one who does not know the store. With several stores the
// path must end in the UUID of one of them. What is left of a store that was never used does not count: when hosts make their store
// in the same moment, each makes room for its leases, and one store comes to be.
func (e *Ensemble) Only() (*Leases, error) {
	if isID(path.Base(e.Path())) {
		one := e.Leases("")
		one.root = e.Path()
		return one, one.Check()
	}
	names, err := ensemble.Call(e.Conn, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(e.Path())
		return names, err
	})
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return nil, fmt.Errorf("look for leases in ZooKeeper at %s: %w", e, err)
	}
	stores := slices.DeleteFunc(names, func(name string) bool { return !isID(name) })
	if len(stores) == 0 {
		return nil, fmt.Errorf("there are no leases in ZooKeeper at %s: give the address that hosts have as LEASES", e)
	}
	if stores, err = e.used(stores); err != nil {
		return nil, err
	}
	switch len(stores) {
	case 0:
		return nil, fmt.Errorf("no host has beaten yet in ZooKeeper at %s: start Mooring's plugin on the hosts", e)
	case 1:
		return e.Leases(stores[0]), nil
	}
	slices.Sort(stores)
	return nil, fmt.Errorf("there are leases of %d stores in ZooKeeper at %s: add to the address the UUID of the one that is meant, such as %s/%s",
		len(stores), e, e, stores[0])
}

// used are those stores in which a host has ever beaten.
func (e *Ensemble) used(stores []string) ([]string, error) {
	var used []string
	for _, name := range stores {
		l := e.Leases(name)
		hosts, err := l.children(l.root + "/hosts")
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return nil, fmt.Errorf("look for hosts in ZooKeeper at %s: %w", e, err)
		}
		if len(hosts) > 0 {
			used = append(used, name)
		}
	}
	return used, nil
}

// isID tells whether a name is that of a store.
func isID(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 32
}

// Close ends the connection to the ensemble.
func (l *Leases) Close() error {
	l.ensemble.Close()
	return nil
}

// prepare makes the nodes of a new store.
func (l *Leases) prepare() error {
	var made string
	for part := range strings.SplitSeq(strings.TrimPrefix(l.root, "/"), "/") {
		made += "/" + part
		if err := l.create(made, nil); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	return errors.Join(ignore(zk.ErrNodeExists, l.create(l.root+"/volumes", nil)), ignore(zk.ErrNodeExists, l.create(l.root+"/hosts", nil)))
}

// Check tells whether the store's leases are here.
func (l *Leases) Check() error {
	_, err := l.get(l.root + "/hosts")
	return l.missing(err)
}

// missing says what it means that a node is not there which is made with the store.
func (l *Leases) missing(err error) error {
	if errors.Is(err, zk.ErrNoNode) {
		return fmt.Errorf("the leases of this store are not in ZooKeeper at %s (%s is missing): set LEASES to the address that the store was made with",
			l.ensemble, l.root)
	}
	return err
}

// Current reads a volume's lease, the zero one if it has none. The answer may be a little old.
func (l *Leases) Current(volume string) (lease.Lease, error) {
	current, _, err := l.current(volume)
	if err != nil {
		return lease.Lease{}, fmt.Errorf("read lease of volume %s: %w", volume, err)
	}
	return current, nil
}

// current also returns the lease's node.
func (l *Leases) current(volume string) (lease.Lease, string, error) {
	for range attempts {
		names, err := l.children(l.volume(volume))
		if errors.Is(err, zk.ErrNoNode) {
			return lease.Lease{}, "", nil
		}
		if err != nil {
			return lease.Lease{}, "", err
		}
		if len(names) != 1 {
			return lease.Lease{}, "", fmt.Errorf("node %s has %d children instead of one: once no host uses the volume, delete it", l.volume(volume), len(names))
		}
		node := l.volume(volume) + "/" + names[0]
		found, err := l.get(node)
		if errors.Is(err, zk.ErrNoNode) {
			continue // changed in between
		}
		if err != nil {
			return lease.Lease{}, "", err
		}
		current, err := lease.Parse(node, found.data)
		return current, node, err
	}
	return lease.Lease{}, "", errors.New("it changes all the time, try again")
}

// expect returns the node of the current lease, and fails with lease.ErrTaken if that is another one.
func (l *Leases) expect(want lease.Lease, volume string) (string, error) {
	current, node, err := l.current(volume)
	if err != nil {
		return "", fmt.Errorf("read lease of volume %s: %w", volume, err)
	}
	if current != want {
		return "", lease.ErrTaken
	}
	return node, nil
}

// Create makes next the current lease if the current one still is after, and returns it with its ID. It
// fails with lease.ErrTaken if it is not.
func (l *Leases) Create(after, next lease.Lease) (lease.Lease, error) {
	next = next.Stamped()
	return next, l.change(after, next)
}

// Rewrite replaces the holder's own lease by one of the same epoch, to change its state. It fails with
// lease.ErrTaken if from is not the current one.
func (l *Leases) Rewrite(from, to lease.Lease) error { return l.change(from, to) }

// change is the transaction from one lease to the next.
func (l *Leases) change(from, to lease.Lease) error {
	before, err := l.expect(from, to.Volume)
	if err != nil {
		return err
	}
	data, err := to.Encode()
	if err != nil {
		return err
	}
	first := l.makeVolume(to.Volume)
	if from.Epoch > 0 {
		first = &zk.DeleteRequest{Path: before, Version: -1}
	}
	after := fmt.Sprintf("%s/lease.%d.%s", l.volume(to.Volume), to.Epoch, lease.Lease{}.Stamped().ID)
	err = l.transact(first, &zk.CreateRequest{Path: after, Data: data, Acl: l.ensemble.ACL()})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrNoNode) && from.Epoch > 0:
		return lease.ErrTaken
	case errors.Is(err, zk.ErrNoNode):
		return l.missing(err)
	}
	// Done or not: what is there now may say it. If not, the holder takes a new epoch when it tries again.
	if _, node, readErr := l.current(to.Volume); readErr == nil && node == after {
		return nil
	}
	return fmt.Errorf("change lease of volume %s: %w", to.Volume, err)
}

func (l *Leases) makeVolume(volume string) any {
	return &zk.CreateRequest{Path: l.volume(volume), Acl: l.ensemble.ACL()}
}

// Remove takes the last lease of a volume away whose files are gone. It fails with lease.ErrTaken if that is not
// the current one.
func (l *Leases) Remove(last lease.Lease) error {
	node, err := l.expect(last, last.Volume)
	if err != nil {
		return err
	}
	err = l.transact(&zk.DeleteRequest{Path: node, Version: -1}, &zk.DeleteRequest{Path: l.volume(last.Volume), Version: -1})
	if errors.Is(err, zk.ErrNoNode) {
		return lease.ErrTaken
	}
	if err != nil {
		return fmt.Errorf("remove lease of volume %s: %w", last.Volume, err)
	}
	return nil
}

func (l *Leases) volume(name string) string { return l.root + "/volumes/" + name }
