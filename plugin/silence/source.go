package silence

import (
	"errors"
	"fmt"
	"io/fs"

	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/store"
)

// Files is a store with its leases in it, in a directory. It need not be there at first, but once seen it must be the same.
type Files struct {
	dir   string
	store *store.Store
}

// InFiles is the store below a directory, which is what hosts have as store.source.
func InFiles(dir string) *Files { return &Files{dir: dir} }

// Leases are those of the store, if it is there.
func (f *Files) Leases() (Leases, error) {
	if f.store == nil {
		found, err := store.Existing(f.dir)
		if errors.Is(err, store.ErrElsewhere) {
			err = fmt.Errorf("%w: give their address, zk://…, instead of the directory", err)
		}
		if err != nil {
			return nil, err
		}
		f.store = found
	}
	return f.store.Leases(), f.store.Same()
}

// Policy is what the store says of a volume.
func (f *Files) Policy(l lease.Lease) (lease.Policy, error) {
	v, err := f.read(l.Volume)
	return lease.Policy(v.Takeover), err
}

// Size is what the store says of a volume, 0 if it has no limit of its own.
func (f *Files) Size(volume string) (int64, error) {
	v, err := f.read(volume)
	return int64(v.Size), err
}

// read is what the store says of a volume, nothing if there is none or its directory was only begun.
func (f *Files) read(volume string) (store.Volume, error) {
	v, err := f.store.Read(volume)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrBlank) {
		return store.Volume{}, nil
	}
	return v, err
}

// Ensemble is ZooKeeper with the leases of one store.
type Ensemble struct {
	ensemble *zookeeper.Ensemble
	policy   lease.Policy
	leases   *zookeeper.Leases
}

// InZooKeeper are the leases of the only store in an ensemble. Policy is that of volumes whose leases say nothing of it.
func InZooKeeper(e *zookeeper.Ensemble, policy lease.Policy) *Ensemble {
	return &Ensemble{ensemble: e, policy: policy}
}

// Leases are found once: a store's UUID stays.
func (e *Ensemble) Leases() (Leases, error) {
	if e.leases == nil {
		found, err := e.ensemble.Only()
		if err != nil {
			return nil, err
		}
		e.leases = found
	}
	return e.leases, nil
}

// Policy is what the lease itself says.
func (e *Ensemble) Policy(l lease.Lease) (lease.Policy, error) {
	if l.Takeover == "" {
		return e.policy, nil
	}
	policy, err := lease.ParsePolicy(l.Takeover)
	if err != nil {
		return policy, fmt.Errorf("lease of volume %s, epoch %d: %w", l.Volume, l.Epoch, err)
	}
	return policy, nil
}

// Size is not known there.
func (e *Ensemble) Size(string) (int64, error) { return 0, nil }
