package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	keeper "mooring/plugin/lease/zookeeper"
	"mooring/plugin/store"
	"mooring/scheduler/client"
	"mooring/scheduler/mesostest"
	"mooring/test/ports"
	"mooring/test/zookeeper"
)

// drivers are the volume drivers of some hosts, as far as ZooKeeper sees them.
type drivers struct {
	t      *testing.T
	leases *keeper.Leases
	ends   map[string]func() // by host
}

func newDrivers(t *testing.T, where string) *drivers {
	address, err := ensemble.Parse(where)
	require.NoError(t, err)
	e := keeper.New(address, nil)
	t.Cleanup(e.Close)
	id := store.NewID()
	require.NoError(t, e.Prepare(id))
	return &drivers{t: t, leases: e.Leases(id), ends: map[string]func(){}}
}

func on(host string) lease.Identity {
	return lease.Identity{Host: host, Boot: "boot of " + host, Instance: "1"}
}

// beat has a host beat until it dies.
func (d *drivers) beat(host string) {
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	d.ends[host] = sync.OnceFunc(func() {
		cancel()
		beating.Wait()
	})
	d.t.Cleanup(d.ends[host])
	beating.Go(func() {
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for sequence := uint64(1); ; sequence++ {
			_, err := d.leases.Beat(lease.Heartbeat{Identity: on(host), Sequence: sequence})
			assert.NoError(d.t, err)
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// take has a host take the volumes of a node, which others take as a policy says.
func (d *drivers) take(host string, node coordinator.NodeID, policy lease.Policy) {
	d.t.Helper()
	for _, kind := range []coordinator.Kind{coordinator.Config, coordinator.Data} {
		next := lease.Lease{}.Next(coordinator.VolumeName("es", node, kind), on(host))
		next.Takeover = policy.String()
		_, err := d.leases.Create(lease.Lease{}, next)
		require.NoError(d.t, err)
	}
}

// The whole scheduler, as its command line says, watches heartbeats in a real ZooKeeper. Two hosts die while Mesos believes in both. One has
// yet to run its first node, which starts elsewhere; the volumes of the other one's node are taken by order only, so that it is left there.
func TestSilentHostsAreFoundByHeartbeatsInZooKeeper(t *testing.T) {
	t.Parallel() // most of it is the 20 s in which a heartbeat must stand still
	place := "zk://me:secret@" + zookeeper.Run(t).Address + "/mooring"
	d, master := newDrivers(t, place), mesostest.New(t)
	for i := range 2 {
		master.AddAgent(mesostest.Agent{ID: fmt.Sprintf("a%d", i+1), Host: fmt.Sprintf("10.0.0.%d", i+1), CPUs: 4, MemoryMB: 4096, FirstPort: 9200, LastPort: 9400})
	}
	for _, host := range []string{"h1", "h2", "h3"} {
		d.beat(host)
	}
	address := ports.Free(t)
	line, err := parse(t, "scheduler", "--master="+master.Address(), "--image=e", "--framework=es", "--nodes=2", "--memory=1024", "--role=test",
		"--executor-path=/mooring", "--state-dir="+t.TempDir(), "--listen="+address, "--heartbeats="+place)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- line.Scheduler.Run(ctx, hclog.NewNullLogger()) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })

	asked, err := client.New(address, nil)
	require.NoError(t, err)
	node := func(id int) string {
		n, err := asked.Node(t.Context(), id)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s in epoch %d on %s", n.Phase, n.Epoch, n.Place.Agent)
	}
	is := func(id int, want string) {
		t.Helper()
		require.Eventually(t, func() bool { return node(id) == want }, time.Minute, 20*time.Millisecond, want)
	}
	is(1, "claimed in epoch 1 on a1")
	is(2, "claimed in epoch 1 on a2")
	d.take("h2", 2, lease.Manual)
	master.Update("es-1-1", mesos.TASK_STARTING, []byte(`{"host":"h1"}`))
	master.Update("es-2-1", mesos.TASK_RUNNING, []byte(`{"host":"h2","ready":true,"cluster":"u"}`))
	is(2, "running in epoch 1 on a2")

	d.ends["h1"]()
	d.ends["h2"]()
	status := func() string {
		s, err := asked.Status(t.Context())
		return fmt.Sprintf("%+v %v", s, err)
	}
	require.Eventually(t, func() bool {
		told := status()
		return strings.Contains(told, "host h1 is silent") && strings.Contains(told, "volume es2data is not taken over by time (takeover=manual)")
	}, time.Minute, 100*time.Millisecond, "both are silent")
	master.AddAgent(mesostest.Agent{ID: "a3", Host: "10.0.0.3", CPUs: 4, MemoryMB: 4096, FirstPort: 9200, LastPort: 9400})
	is(1, "claimed in epoch 2 on a3")
	assert.Equal(t, "running in epoch 1 on a2", node(2))
}
