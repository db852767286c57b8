package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/scheduler/store"
)

const processVariable = "MOORING_TEST_SCHEDULER" // has this program be a scheduler, so that it can be killed

// told is what a scheduler in a process of its own is told.
type told struct {
	Path, Master string
	Nodes        int
}

// schedule is the scheduler of such a process, until it is told to end.
func schedule(text string) error {
	var t told
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	file, s, err := open(t.Path, t.Master, t.Nodes)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), file.Close())
}

// inProcess starts a scheduler in a process of its own, which ends with the test at the latest.
func inProcess(t testing.TB, path, master string, nodes int) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(told{path, master, nodes})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended, and been waited for
		_ = cmd.Wait()
	})
	return cmd
}

// A scheduler is killed when Mesos is about to take a call, or has taken it, the first or the second of its kind: the next one knows of
// every launch, launches nothing twice and leaves no node out.
func TestASchedulerKilledAtACall(t *testing.T) {
	for _, kind := range []v1.Call_Type{v1.Call_SUBSCRIBE, v1.Call_RECONCILE, v1.Call_ACCEPT, v1.Call_ACKNOWLEDGE} {
		for delivered, name := range map[bool]string{false: "before it is taken", true: "after it was taken"} {
			for nth := range 2 {
				if nth > 0 && (kind == v1.Call_SUBSCRIBE || kind == v1.Call_RECONCILE) {
					continue // there is one, while nothing goes wrong
				}
				t.Run(fmt.Sprintf("%s %d, %s", kind, nth+1, name), func(t *testing.T) {
					t.Parallel()
					killedAt(t, kind, delivered, nth)
				})
			}
		}
	}
}

func killedAt(t *testing.T, kind v1.Call_Type, delivered bool, nth int) {
	const nodes = 2
	r := &rig{t: t, master: mesostest.New(t)}
	r.master.AutoRun = true
	r.agents(1, 3)
	proxy := mesostest.NewProxy(t, r.master.Address())
	path := filepath.Join(t.TempDir(), "mooring.db")
	dead := make(chan struct{})
	kill := make(chan struct{}, 1)
	var calls atomic.Int32 // acknowledgements come side by side
	proxy.At(func(call *v1.Call, answer int) {
		if call.Type != kind || (answer != 0) != delivered {
			return
		}
		if int(calls.Add(1)) == nth+1 { // the last one, too: it waits here until its sender is dead
			kill <- struct{}{}
			<-dead
		}
	})
	first := inProcess(t, path, proxy.Address(), nodes)
	select {
	case <-kill:
	case <-time.After(patience):
		close(dead)
		require.Fail(t, "there was no such call")
	}
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait(), "it was killed")
	close(dead)

	asked := make(chan struct{}, 1)
	again := mesostest.NewProxy(t, r.master.Address())
	again.At(func(call *v1.Call, answer int) {
		if call.Type == v1.Call_RECONCILE && answer != 0 && len(asked) == 0 {
			asked <- struct{}{}
		}
	})
	next := inProcess(t, path, again.Address(), nodes)
	r.eventually(func() bool { return len(asked) == 1 }, "the next one asks for what Mesos knows")
	r.eventually(func() bool { return len(r.runningTasks()) == nodes && r.master.Unacknowledged() == 0 }, "both nodes run")
	require.NoError(t, next.Process.Signal(syscall.SIGTERM))
	require.NoError(t, next.Wait())
	neverTwice(t, r.master, path)
}

// neverTwice checks that the file knows of all that was launched, and that nothing was under one name twice; what runs is of the
// current epochs.
func neverTwice(t *testing.T, master *mesostest.Master, path string) {
	t.Helper()
	file, err := store.Open(path, coordinator.NewState("es", 1))
	require.NoError(t, err)
	defer file.Close()
	state, err := file.Load(t.Context())
	require.NoError(t, err)
	var launched []string
	for _, call := range master.Calls(v1.Call_ACCEPT) {
		for _, o := range call.Accept.Operations {
			for _, task := range o.Launch.TaskInfos {
				launched = append(launched, task.TaskID.Value)
			}
		}
	}
	slices.Sort(launched)
	assert.Equal(t, slices.Compact(slices.Clone(launched)), launched, "nothing is launched twice")
	for _, task := range launched {
		id, epoch, ours := coordinator.ParseTaskID("es", task)
		require.True(t, ours && int(id) <= len(state.Nodes), task)
		assert.LessOrEqual(t, epoch, state.Nodes[id-1].Epoch, "%s was launched, and nobody knows of it", task)
	}
	var current []string
	for _, n := range state.Nodes {
		current = append(current, coordinator.TaskID("es", n.ID, n.Epoch))
	}
	r := rig{master: master}
	assert.ElementsMatch(t, current, r.runningTasks())
}
