package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/mesostest"
	"mooring/scheduler/store"
)

const (
	largeCluster   = 1000 // nodes, and agents
	updatesPerTask = 10
	pause          = 5 * time.Millisecond
)

// large is a scheduler with its state in a file, and a scripted master with an agent for each node.
type large struct {
	b         *testing.B
	master    *mesostest.Master
	path      string // of the file
	store     *store.Bolt
	scheduler *scheduler.Scheduler
	stop      func()
}

func newLarge(b *testing.B, agents int) *large {
	l := &large{b: b, master: mesostest.New(b), path: filepath.Join(b.TempDir(), "mooring.db"), stop: func() {}}
	l.master.AutoRun = true
	for i := range agents {
		l.master.AddAgent(mesostest.Agent{
			ID: fmt.Sprintf("agent-%d", i), Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250), CPUs: 4, MemoryMB: 4096, FirstPort: 9200, LastPort: 9400,
		})
	}
	b.Cleanup(func() { l.stop() })
	return l
}

// open opens the store, and makes a scheduler with all that it logs by default.
func open(path, master string, nodes int) (*store.Bolt, *scheduler.Scheduler, error) {
	file, err := store.Open(path, coordinator.NewState("es", nodes))
	if err != nil {
		return nil, nil, err
	}
	s, err := scheduler.New([]string{master}, rules(), file, scheduler.Options{
		ExecutorPath: "/usr/bin/mooring", Log: hclog.New(&hclog.LoggerOptions{Output: io.Discard, JSONFormat: true}),
	})
	return file, s, err
}

// start runs a scheduler on the file.
func (l *large) start() {
	var err error
	l.store, l.scheduler, err = open(l.path, l.master.Address(), largeCluster)
	require.NoError(l.b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.scheduler.Run(ctx) }()
	l.stop = func() {
		cancel()
		require.NoError(l.b, <-ended)
		require.NoError(l.b, l.store.Close())
		l.stop = func() {}
	}
}

func (l *large) await(condition func() bool, what string) {
	l.b.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !condition(); time.Sleep(pause) {
		require.True(l.b, time.Now().Before(deadline), what)
	}
}

// allAcknowledged tells whether a task of every node runs, and the scheduler has acknowledged all that they said.
func (l *large) allAcknowledged() bool {
	return l.master.Unacknowledged() == 0 && len(l.master.Tasks(mesos.TASK_RUNNING)) == largeCluster
}

// launched tells whether that is so, and the scheduler takes the nodes for running.
func (l *large) launched() bool {
	if !l.allAcknowledged() {
		return false
	}
	for _, n := range l.scheduler.View().State.Nodes {
		if n.Phase != coordinator.Running {
			return false
		}
	}
	return true
}

// report has the executor of each task report sizes of its volumes, each time others.
func (l *large) report(round int) {
	for task := range largeCluster {
		for i := range updatesPerTask {
			l.master.Update(fmt.Sprintf("es-%d-1", task+1), mesos.TASK_RUNNING,
				fmt.Appendf(nil, `{"host":"h%d","sizes":{"data":%d}}`, task, round*updatesPerTask+i+1))
		}
	}
}

// BenchmarkUpdates has 1,000 executors report something that is to be saved, each as soon as its last word was acknowledged.
func BenchmarkUpdates(b *testing.B) {
	l := newLarge(b, largeCluster)
	l.start()
	l.await(l.launched, "all nodes run")
	round := 0
	for b.Loop() {
		l.report(round)
		l.await(func() bool { return l.master.Unacknowledged() == 0 }, "all is acknowledged")
		round++
	}
	b.ReportMetric(float64(round*largeCluster*updatesPerTask)/b.Elapsed().Seconds(), "updates/s")
	l.stop()
	saved, err := store.Open(l.path, coordinator.NewState("es", largeCluster))
	require.NoError(b, err)
	defer saved.Close()
	state, err := saved.Load(b.Context())
	require.NoError(b, err)
	for _, n := range state.Nodes {
		require.EqualValues(b, round*updatesPerTask, n.Sizes.Data, "the last word of node %d is saved", n.ID)
	}
}

// BenchmarkLaunch starts 1,000 nodes on 1,000 agents, until Mesos and the scheduler know that all of them run.
func BenchmarkLaunch(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := newLarge(b, largeCluster)
		b.StartTimer()
		l.start()
		l.await(l.launched, "all nodes run")
		l.stop()
	}
}

// BenchmarkReconcile starts a scheduler over 1,000 nodes that run, until it has heard of each.
func BenchmarkReconcile(b *testing.B) {
	l := newLarge(b, largeCluster)
	l.start()
	l.await(l.launched, "all nodes run")
	for b.Loop() {
		b.StopTimer()
		l.stop()
		b.StartTimer()
		l.start()
		l.await(l.reconciled, "all nodes are heard of")
	}
}

// reconciled tells whether a subscription is there, and every node was heard of since it began.
func (l *large) reconciled() bool {
	v := l.scheduler.View()
	for _, n := range v.State.Nodes {
		if !n.Settled {
			return false
		}
	}
	return v.Subscribed != ""
}

// BenchmarkResidentMemory is the most that a scheduler's process takes while it starts 1,000 nodes among 10,000 agents, and hears of
// all of them again.
func BenchmarkResidentMemory(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := newLarge(b, 10*largeCluster)
		b.StartTimer()
		cmd := inProcess(b, l.path, l.master.Address(), largeCluster)
		l.await(l.allAcknowledged, "all nodes run")
		l.master.Disconnect()
		l.await(func() bool { n, now := l.master.Subscribed(); return n == 2 && now }, "it is there again")
		l.report(0)
		l.await(l.allAcknowledged, "all is heard")
		b.ReportMetric(mostResident(b, cmd.Process.Pid), "MB")
		require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(b, cmd.Wait())
	}
}

// mostResident is in MB. What wait4 tells would be at least what this process takes, from before the other one's exec.
func mostResident(b *testing.B, pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	_, after, found := strings.Cut(string(status), "VmHWM:")
	require.True(b, found)
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	require.NoError(b, err)
	return float64(kib) * 1024 / 1e6
}
