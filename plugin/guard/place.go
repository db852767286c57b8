package guard

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/store"
)

// place is where a host's leases are kept. Address is that of ZooKeeper with the password, which Host does
// not have, because it is shown.
func place(host Host, address string, log hclog.Logger) (Leases, error) {
	if host.Leases == "" {
		return &inStore{host: host}, nil
	}
	a, err := ensemble.Parse(address)
	if err != nil {
		return nil, err
	}
	if a.String() != host.Leases {
		return nil, fmt.Errorf("leases are in %s, but the address given is that of %s", host.Leases, a)
	}
	return zookeeper.New(a, log).Leases(host.StoreUUID), nil
}

// inStore is the leases kept in the host's store, which is looked for when it is first needed.
type inStore struct {
	host Host

	mu    sync.Mutex
	store *store.Store // nil until it was found
}

// Beat writes the heartbeat into the store that the host's leases are in, and no other.
func (i *inStore) Beat(beat lease.Heartbeat) (lease.Heartbeat, error) {
	s, err := i.find()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return lease.Heartbeat{}, err
	}
	return s.Leases().Beat(beat)
}

func (i *inStore) Current(volume string) (lease.Lease, error) {
	s, err := i.find()
	if err != nil {
		return lease.Lease{}, err
	}
	return s.Leases().Current(volume)
}

func (i *inStore) Rewrite(from, to lease.Lease) error {
	s, err := i.find()
	if err != nil {
		return err
	}
	return s.Leases().Rewrite(from, to)
}

func (i *inStore) find() (*store.Store, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.store != nil {
		return i.store, nil
	}
	s, err := store.Open(i.host.StoreDir, i.host.StoreUUID)
	if err == nil {
		i.store = s
	}
	return s, err
}
