package main

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
	"mooring/plugin"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/silence"
	"mooring/scheduler"
)

// heartbeatsIn is how heartbeats and leases are found, in a store's directory or in ZooKeeper. Takeover is what is believed there of volumes
// whose leases do not say how they may be taken over. What is returned makes one for each who looks.
func heartbeatsIn(where string, takeover lease.Policy, log hclog.Logger) (func() silence.Source, error) {
	if filepath.IsAbs(where) {
		return func() silence.Source { return silence.InFiles(where) }, nil
	}
	if !strings.Contains(where, "://") {
		return nil, errors.New("use an absolute path, the directory that the volume driver has as store.source, or zk://…, the address that it has as LEASES")
	}
	address, err := ensemble.Parse(where)
	if err != nil {
		return nil, err
	}
	e := &zookeeper.Ensemble{Conn: ensemble.New(address, ensemble.Options{Setting: "--heartbeats", Log: log})}
	return func() silence.Source { return silence.InZooKeeper(e, takeover) }, nil
}

// watching is how a scheduler begins to watch heartbeats in whatever place.
func watching(source func() silence.Source) func() scheduler.Heartbeats {
	return func() scheduler.Heartbeats { return silence.New(source(), plugin.DefaultTakeAfter, plugin.BootTime) }
}

// takeover is how volumes may be taken over, as far as this scheduler's own options say.
func (c *schedulerCommand) takeover() lease.Policy {
	policy, err := lease.ParsePolicy(c.volumeOptions()["takeover"])
	if err != nil {
		return lease.Auto // said or refused by the driver
	}
	return policy
}
