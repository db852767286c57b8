package zookeeper_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	"mooring/plugin/lease/leasetest"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/store"
	server "mooring/test/zookeeper"
)

// place is one store's leases in an ensemble.
type place struct {
	t       *testing.T
	address string
	store   string
}

func newPlace(t *testing.T, address string) *place {
	p := &place{t: t, address: address, store: store.NewID()}
	require.NoError(t, connect(t, address).Prepare(p.store))
	return p
}

// newPlaceIn is the same place, by way of one member only.
func newPlaceIn(p *place, member *server.Server) *place {
	return &place{t: p.t, address: "zk://" + member.Address + "/mooring", store: p.store}
}

func (p *place) leases() *zookeeper.Leases {
	p.t.Helper()
	return connect(p.t, p.address).Leases(p.store)
}

func connect(t *testing.T, address string) *zookeeper.Ensemble {
	t.Helper()
	a, err := ensemble.Parse(address)
	require.NoError(t, err)
	e := zookeeper.New(a, nil)
	t.Cleanup(e.Close)
	return e
}

func (p *place) Open() leasetest.Leases { return p.leases() }
func (p *place) Make(string)            {} // the first lease makes the volume
func (p *place) Discard(string)         {}

func TestLeasesInZooKeeper(t *testing.T) {
	t.Parallel() // much of it is waiting for servers that do not answer
	s := server.Run(t)
	t.Run("contract", func(t *testing.T) {
		leasetest.Contract(t, func(t *testing.T) leasetest.Place { return newPlace(t, "zk://"+s.Address+"/mooring/leases") })
	})
	t.Run("contract with a password", func(t *testing.T) {
		leasetest.Contract(t, func(t *testing.T) leasetest.Place { return newPlace(t, "zk://me:secret@"+s.Address+"/guarded") })
	})
	t.Run("only who has the password", func(t *testing.T) { onlyWithPassword(t, s) })
	t.Run("another path", func(t *testing.T) { anotherPath(t, s.Address) })
	t.Run("only the last lease is removed", func(t *testing.T) { onlyTheLast(t, s.Address) })
	t.Run("beats of two under one name", func(t *testing.T) { rivals(t, s.Address) })
	t.Run("server away", func(t *testing.T) { away(t, s) })
}

func onlyWithPassword(t *testing.T, s *server.Server) {
	address := s.Address
	p := newPlace(t, "zk://me:secret@"+address+"/locked")
	for _, stranger := range []string{"zk://" + address + "/locked", "zk://me:wrong@" + address + "/locked"} {
		err := connect(t, stranger).Leases(p.store).Check()
		require.ErrorContains(t, err, "give LEASES the user and password that the path was made with")
		require.NotContains(t, err.Error(), "wrong")
		_, err = connect(t, stranger).Leases(p.store).Create(lease.Lease{}, lease.Lease{}.Next("v", leasetest.Identity("a")))
		require.ErrorIs(t, err, zk.ErrNoAuth)
	}
	first, err := p.leases().Create(lease.Lease{}, lease.Lease{}.Next("v", leasetest.Identity("a")))
	require.NoError(t, err)
	_, err = p.leases().Create(first, first.Next("v", leasetest.Identity("a")))
	require.NoError(t, err)
	_, err = p.leases().Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 1})
	require.NoError(t, err)
	assert.Subset(t, server.Closed(t, s, "/locked", "me", "secret"), []string{"/locked/" + p.store + "/volumes/v", "/locked/" + p.store + "/hosts/a"})
}

// anotherPath is a host whose setting is not that of the others: it finds no leases, and makes none.
func anotherPath(t *testing.T, address string) {
	p := newPlace(t, "zk://"+address+"/right")
	stray := connect(t, "zk://"+address+"/wrong").Leases(p.store)
	_, created := stray.Create(lease.Lease{}, lease.Lease{}.Next("v", leasetest.Identity("a")))
	_, beaten := stray.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 1})
	_, looked := stray.ReadBeat("a")
	_, listed := stray.Hosts()
	for _, err := range []error{stray.Check(), created, beaten, looked, listed} {
		require.ErrorContains(t, err, "the leases of this store are not in ZooKeeper at zk://"+address+"/wrong")
		require.ErrorContains(t, err, "set LEASES to the address that the store was made with")
	}
}

func onlyTheLast(t *testing.T, address string) {
	p := newPlace(t, "zk://"+address+"/last")
	first, err := p.leases().Create(lease.Lease{}, lease.Lease{}.Next("v", leasetest.Identity("a")))
	require.NoError(t, err)
	second, err := p.leases().Create(first, first.Next("v", leasetest.Identity("b")))
	require.NoError(t, err)
	require.ErrorIs(t, p.leases().Remove(first), lease.ErrTaken)
	current, err := p.leases().Current("v")
	require.NoError(t, err)
	require.Equal(t, second, current)
	require.NoError(t, p.leases().Remove(second))
	require.ErrorIs(t, p.leases().Remove(second), lease.ErrTaken)
}

func rivals(t *testing.T, address string) {
	p := newPlace(t, "zk://"+address+"/rivals")
	one, two := p.leases(), p.leases()
	for sequence := uint64(1); sequence < 4; sequence++ {
		_, err := one.Beat(lease.Heartbeat{Identity: lease.Identity{Host: "a", Instance: "one"}, Sequence: sequence})
		require.NoError(t, err)
		previous, err := two.Beat(lease.Heartbeat{Identity: lease.Identity{Host: "a", Instance: "two"}, Sequence: sequence})
		require.NoError(t, err)
		assert.Equal(t, "one", previous.Instance)
	}
}

// away is about a server that is killed and comes back: nothing is answered meanwhile, and everything is
// there afterwards.
func away(t *testing.T, s *server.Server) {
	p := newPlace(t, "zk://"+s.Address+"/away")
	l := p.leases()
	held, err := l.Create(lease.Lease{}, lease.Lease{}.Next("v", leasetest.Identity("a")))
	require.NoError(t, err)
	beat := lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: 1}.Stamped()
	_, err = l.Beat(beat)
	require.NoError(t, err)

	require.NoError(t, s.Kill())
	_, err = l.Beat(beat)
	require.Error(t, err)
	_, err = l.ReadBeat("a")
	require.Error(t, err, "a server that is away says nothing about a host")
	_, err = l.Create(held, held.Next("v", leasetest.Identity("b")))
	require.ErrorContains(t, err, "ZooKeeper at zk://"+s.Address+"/away")

	require.NoError(t, s.Start())
	require.NoError(t, s.Await(t.Context()))
	beat.Sequence++
	require.NoError(t, eventually(func() error { _, err := l.Beat(beat); return err }))
	got, err := l.ReadBeat("a")
	require.NoError(t, err)
	assert.Equal(t, beat, got)
	current, err := l.Current("v")
	require.NoError(t, err)
	assert.Equal(t, held, current)
}

// Members of an ensemble are killed and frozen one after the other: leases and heartbeats go on. Without a
// majority nothing is answered.
func TestAnEnsembleLosesMembers(t *testing.T) {
	t.Parallel()
	members := server.RunEnsemble(t, 3)
	var addresses []string
	for _, m := range members {
		addresses = append(addresses, m.Address)
	}
	p := newPlace(t, "zk://"+strings.Join(addresses, ",")+"/mooring")
	l := p.leases()
	sequence := uint64(0)
	beat := func() error {
		sequence++
		_, err := l.Beat(lease.Heartbeat{Identity: leasetest.Identity("a"), Sequence: sequence})
		return err
	}
	var current lease.Lease
	take := func() error {
		found, err := l.Current("v")
		if err != nil {
			return err
		}
		current, err = l.Create(found, found.Next("v", leasetest.Identity("a")))
		return err
	}
	require.NoError(t, beat())
	require.NoError(t, take())
	for i, m := range members {
		before := current
		out, back := m.Kill, m.Start
		if i%2 == 1 {
			out, back = m.Freeze, m.Thaw
		}
		require.NoError(t, out())
		require.NoError(t, eventually(beat), "member %d is out", i)
		require.NoError(t, eventually(take))
		assert.Greater(t, current.Epoch, before.Epoch)
		other := p.leases() // which has yet to find a member that answers
		require.NoError(t, eventually(func() error {
			got, err := other.Current("v")
			if err == nil {
				assert.GreaterOrEqual(t, got.Epoch, before.Epoch)
			}
			return err
		}))
		require.NoError(t, back())
		require.NoError(t, m.Await(t.Context()))
	}
	lone := newPlaceIn(p, members[2]).leases()
	require.NoError(t, eventually(func() error { _, err := lone.ReadBeat("a"); return err }))
	require.NoError(t, members[0].Freeze())
	require.NoError(t, members[1].Freeze())
	_, err := lone.ReadBeat("a")
	require.Error(t, err, "the one that is left goes on answering for a while, but what it has may be old")
	require.Error(t, beat(), "two of three are out")
	require.Error(t, take())
}

// eventually tries again until it works.
func eventually(try func() error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
