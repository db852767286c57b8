package mesos_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/store/storetest"
)

const askTimeout = 10 * time.Second

// rig is a scheduler, its store, and what it logs.
type rig struct {
	t         *testing.T
	masters   []string
	store     *storetest.Memory
	rules     coordinator.Rules
	options   scheduler.Options
	scheduler *scheduler.Scheduler
	log       *buffer
	stop      func() // ends the scheduler; no error is expected of it
	result    chan error
}

func newRig(t *testing.T, nodes int, masters ...string) *rig {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	r := &rig{
		t: t, masters: masters, store: storetest.NewMemory(coordinator.NewState("es", nodes)), log: &buffer{t: t},
		rules: coordinator.Rules{CPUs: 1000, MemoryMB: 512, Fencing: true, Settings: coordinator.Settings{
			Cluster: "es", Image: "elasticsearch:8.19.5", Driver: "mooring", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 30,
		}},
	}
	r.options = scheduler.Options{ExecutorPath: program, Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: r.log})}
	return r
}

// start runs a scheduler on the rig's store.
func (r *rig) start() {
	r.t.Helper()
	var err error
	r.scheduler, err = scheduler.New(r.masters, r.rules, r.store, r.options)
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	r.result = result
	go func(s *scheduler.Scheduler) { result <- s.Run(ctx) }(r.scheduler)
	r.stop = func() {
		r.t.Helper()
		cancel()
		err := <-result
		result <- nil // for the cleanup
		require.NoError(r.t, err)
	}
	r.t.Cleanup(func() {
		cancel()
		<-result
	})
}

// failure waits for a scheduler to end by itself.
func (r *rig) failure(result chan error) error {
	r.t.Helper()
	select {
	case err := <-result:
		result <- nil // for the cleanup
		return err
	case <-time.After(patience):
		require.Fail(r.t, "the scheduler runs on")
		return nil
	}
}

// node is what the scheduler knows of a node, the zero Node if that is nothing yet.
func (r *rig) node(id coordinator.NodeID) coordinator.Node {
	nodes := r.scheduler.View().State.Nodes
	if int(id) > len(nodes) {
		return coordinator.Node{}
	}
	return nodes[id-1]
}

// is waits until a node is in a phase of an epoch.
func (r *rig) is(id coordinator.NodeID, phase coordinator.Phase, epoch uint64) coordinator.Node {
	r.t.Helper()
	r.eventually(fmt.Sprintf("node %d is %s in epoch %d", id, phase, epoch), func() error {
		if n := r.node(id); n.Phase != phase || n.Epoch != epoch {
			return fmt.Errorf("it is %s in epoch %d: %s", n.Phase, n.Epoch, n.Problem)
		}
		return nil
	})
	return r.node(id)
}

func (r *rig) eventually(what string, check func() error) {
	r.t.Helper()
	eventually(r.t, what, check)
}

// says waits for a line of the log that contains all of some texts.
func (r *rig) says(texts ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("the log says %q", texts), func() error {
		if r.log.count(texts...) == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}

// apply gives an order.
func (r *rig) apply(e coordinator.Event) {
	r.t.Helper()
	require.NoError(r.t, r.scheduler.Apply(r.t.Context(), e))
}

// buffer keeps what is logged.
type buffer struct {
	t    *testing.T
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Logf("%s", p)
	return b.text.Write(p)
}

// count is how many lines contain all of some texts.
func (b *buffer) count(texts ...string) (count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			count++
		}
	}
	return count
}
