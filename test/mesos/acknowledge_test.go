package mesos_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
)

// Executors on three agents begin while no scheduler is there. The next one acknowledges that to all at once, each over an HTTP
// connection of its own: the master takes them for one subscription, and agents get them, since they do not tell before that a node runs.
func TestAMasterTakesAcknowledgementsSideBySide(t *testing.T) {
	inTurn(t)
	const nodes = 3
	c := newCluster(t)
	proxy := mesostest.NewProxy(t, c.Master)
	gate := filepath.Join(t.TempDir(), "gate")
	r := newRig(t, nodes, proxy.Address())
	for i := range nodes {
		c.agent(i+1, fmt.Sprintf(`--executor_environment_variables={%q:%q}`, gateVariable, gate)).registered()
	}
	r.start()
	r.eventually("three tasks are launched", func() error {
		if n := len(c.tasks()); n != nodes {
			return fmt.Errorf("the master knows %d", n)
		}
		return nil
	})
	r.stop()
	require.NoError(t, touch(gate))
	r.eventually("the executors have told that they begin", func() error {
		if tasks := strings.Join(c.tasks(), ", "); strings.Contains(tasks, "STAGING") {
			return fmt.Errorf("the master knows %s", tasks)
		}
		return nil
	})

	var came, alone atomic.Int32
	together := make(chan struct{})
	proxy.At(func(call *v1.Call, answer int) {
		if call.Type != v1.Call_ACKNOWLEDGE || answer != 0 {
			return
		}
		if came.Add(1) == nodes {
			close(together)
		}
		select {
		case <-together:
		case <-time.After(15 * time.Second): // less than the scheduler waits for an answer
			alone.Add(1)
		}
	})
	r.start()
	for id := range nodes {
		r.is(coordinator.NodeID(id+1), coordinator.Running, 1)
	}
	assert.Zero(t, alone.Load(), "none was passed on before all had come")
	assert.Zero(t, r.log.count("send ACKNOWLEDGE"), "no call was refused")
}
