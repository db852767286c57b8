package executor_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor"
)

// fakeDriver is a volume driver that remembers what it was told, and what had happened before.
type fakeDriver struct {
	host string
	err  error
	mu   sync.Mutex
	told []string
	seen func() []string // calls of the runtime
}

func (d *fakeDriver) About(context.Context) (string, map[string]int64, error) {
	return d.host, map[string]int64{"es2data": 100, "es3data": 1}, d.err
}

func (d *fakeDriver) Gone(_ context.Context, host, reason string, volumes []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(slices.Concat([]string{host, reason}, volumes), d.seen()...)
	return d.err
}

func (d *fakeDriver) calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told
}

func newDriverScene(t *testing.T) (*scene, *fakeDriver) {
	s := newScene(t)
	d := &fakeDriver{host: "h7", seen: s.runtime.Calls}
	s.driver = d
	return s, d
}

func TestTheHostsNameAndTheVolumesSizesAreToldWithEachRunningState(t *testing.T) {
	s, d := newDriverScene(t)
	s.start()
	s.launch()
	require.Equal(t, coordinator.RunReport{Host: "h7", Sizes: coordinator.Sizes{Data: 100}}, runReport(t, s.agent.untilStates("STARTING RUNNING")))
	s.cluster.Store("U1")
	status := s.agent.untilStates("STARTING RUNNING RUNNING")
	require.Equal(t, coordinator.RunReport{Host: "h7", Sizes: coordinator.Sizes{Data: 100}, Ready: true, Cluster: "U1", Version: "8.19.5"}, runReport(t, status))
	require.Empty(t, d.calls(), "nobody is gone")
	s.stop()
}

// held is a runtime that starts nothing before it is allowed to.
type held struct {
	executor.Runtime
	allowed chan struct{}
}

func (h *held) Start(ctx context.Context, spec executor.Spec) (executor.Container, error) {
	select {
	case <-h.allowed:
		return h.Runtime.Start(ctx, spec)
	case <-ctx.Done():
		return executor.Container{}, ctx.Err()
	}
}

// A host that dies while its first node starts is found by its heartbeat, too.
func TestTheHostsNameIsToldBeforeTheContainerIsThere(t *testing.T) {
	s, _ := newDriverScene(t)
	h := &held{s.runtime, make(chan struct{})}
	s.using = h
	s.start()
	s.launch()
	require.Equal(t, coordinator.RunReport{Host: "h7"}, runReport(t, s.agent.untilStates("STARTING")))
	close(h.allowed)
	s.agent.untilStates("STARTING RUNNING")
	s.stop()
}

// mute is a driver that does not answer.
type mute struct {
	fakeDriver
	asked chan struct{}
}

func (m *mute) About(ctx context.Context) (string, map[string]int64, error) {
	select {
	case m.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return "", nil, ctx.Err()
}

func TestADriverThatDoesNotAnswerHoldsUpNoOrder(t *testing.T) {
	s := newScene(t)
	m := &mute{asked: make(chan struct{}, 1)}
	s.driver = m
	s.start()
	s.launch()
	<-m.asked
	s.kill(0)
	s.agent.untilStates("STARTING KILLING KILLED")
	require.NoError(t, s.end())
	require.Empty(t, s.runtime.Calls())
}

func TestTheDriverHearsThatAHostIsGoneBeforeTheContainerStarts(t *testing.T) {
	s, d := newDriverScene(t)
	s.task.Gone = "h1"
	s.start()
	s.launch()
	s.agent.untilStates("STARTING RUNNING")
	require.Equal(t, []string{"h1", "Mesos says that its agent is gone for good (node 2 of es, launch 3)", "es2config", "es2data"}, d.calls())
	require.Equal(t, []string{"start " + name}, s.runtime.Calls())
	s.stop()
}

// The driver may refuse, or not be there: then it waits as for any dead host, or says at the mount who holds the volume.
func TestANodeStartsWhateverTheDriverSays(t *testing.T) {
	s, d := newDriverScene(t)
	s.task.Gone, d.err = "h1", errors.New("host h1 is alive")
	s.start()
	s.launch()
	require.Equal(t, coordinator.RunReport{}, runReport(t, s.agent.untilStates("STARTING RUNNING")))
	require.NotEmpty(t, d.calls())
	s.stop()
}
