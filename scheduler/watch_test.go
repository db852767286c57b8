package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
)

// pulse is a script of what is seen of hosts' heartbeats.
type pulse struct {
	mu     sync.Mutex
	begun  int
	asked  map[string][]string // by the latest look
	looks  int
	sights map[string]coordinator.Sight
	err    error
}

func (p *pulse) begin() scheduler.Heartbeats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	return p
}

func (p *pulse) Look(_ context.Context, volumes map[string][]string) (map[string]coordinator.Sight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks, p.asked = p.looks+1, maps.Clone(volumes)
	return maps.Clone(p.sights), p.err
}

// latest is what the latest look asked for.
func (p *pulse) latest() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// see changes what is seen, and waits until it was.
func (r *rig) see(p *pulse, sights map[string]coordinator.Sight, err error) {
	r.t.Helper()
	p.mu.Lock()
	p.sights, p.err = sights, err
	looks := p.looks
	p.mu.Unlock()
	r.eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.looks > looks+1 // the first one is taken in when the second one begins
	}, "two more looks")
}

func newWatchedRig(t *testing.T, nodes int) (*rig, *pulse) {
	r, p := newRig(t, nodes), &pulse{}
	r.options.Heartbeats = p.begin
	r.agents(1, nodes+1)
	r.start()
	for id := range nodes {
		r.running(coordinator.NodeID(id + 1))
		r.tells(coordinator.NodeID(id+1), 1)
	}
	return r, p
}

// tells has the executor of a node say on which host it is: h1 on agent-1, and so on.
func (r *rig) tells(id coordinator.NodeID, epoch uint64) {
	r.t.Helper()
	host := "h" + r.node(id).Place.Agent[len("agent-"):]
	r.master.Update(coordinator.TaskID("es", id, epoch), mesos.TASK_RUNNING, []byte(fmt.Sprintf(`{"ready":true,"cluster":"u","host":%q}`, host)))
	r.eventually(func() bool { n := r.node(id); return n.Ready && n.Host() == host }, "its host is known")
}

var silentNow = coordinator.Sight{Silent: true, Still: 20 * time.Second}

func TestANodeOfASilentHostRunsElsewhereWhileMesosStillBelievesInIt(t *testing.T) {
	r, p := newWatchedRig(t, 2)
	r.see(p, nil, nil)
	assert.Equal(t, map[string][]string{"h1": {"es1config", "es1data"}, "h2": {"es2config", "es2data"}}, p.latest())
	before := time.Now()
	r.see(p, map[string]coordinator.Sight{"h1": silentNow, "h2": {Beats: true}}, nil)
	r.eventually(func() bool { n := r.node(1); return n.Phase == coordinator.Running && n.Epoch == 2 }, "node 1 runs again")
	assert.Equal(t, "agent-3", r.node(1).Place.Agent)
	assert.EqualValues(t, 1, r.node(2).Epoch)
	assert.WithinRange(t, r.scheduler.View().State.Silent["h1"].Since, before.Add(-20*time.Second), time.Now().Add(-20*time.Second))
	assert.EqualValues(t, 1, r.scheduler.Counters()["mooring_silences_total"], "however often it is seen")

	r.see(p, map[string]coordinator.Sight{"h1": {Beats: true}, "h2": {Beats: true}}, nil)
	r.eventually(func() bool { return len(r.scheduler.View().State.Silent) == 0 }, "it beats")
	r.eventually(func() bool { tasks := r.runningTasks(); return len(tasks) == 2 && tasks[0] == "es-1-2" }, "the old launch is ended, the new one is not")
	assert.EqualValues(t, 2, r.node(1).Epoch)
}

// A host can die before the first node on it runs: its executor has said by then where it is.
func TestAHostThatFallsSilentDuringAFirstStartIsFound(t *testing.T) {
	r, p := newRig(t, 1), &pulse{}
	r.options.Heartbeats, r.master.AutoRun = p.begin, false
	r.agents(1, 1)
	r.start()
	r.eventually(func() bool { return r.node(1).Phase == coordinator.Claimed }, "it is launched")
	r.see(p, nil, nil)
	assert.Empty(t, p.latest())
	r.master.Update("es-1-1", mesos.TASK_STARTING, []byte(`{"host":"h1"}`))
	r.eventually(func() bool { return r.node(1).Host() == "h1" }, "its host is known")
	r.see(p, map[string]coordinator.Sight{"h1": silentNow}, nil)
	assert.Equal(t, map[string][]string{"h1": {"es1config", "es1data"}}, p.latest())
	r.agents(2, 2)
	r.eventually(func() bool { n := r.node(1); return n.Place.Agent == "agent-2" && n.Epoch == 2 }, "it is launched elsewhere")
}

func TestANodeWhoseVolumesNobodyTakesIsLeftAlone(t *testing.T) {
	r, p := newWatchedRig(t, 1)
	sight := silentNow
	sight.Kept = map[string]string{"es1data": "volume es1data is unguarded"}
	r.see(p, map[string]coordinator.Sight{"h1": sight}, nil)
	r.eventually(func() bool { return len(r.scheduler.View().State.Silent) == 1 }, "it is seen")
	assert.Equal(t, "volume es1data is unguarded", r.scheduler.View().State.Silent["h1"].Kept[1])
	assert.Equal(t, coordinator.Running, r.node(1).Phase)
	assert.EqualValues(t, 1, r.node(1).Epoch)
}

func TestWhoCannotLookSilencesNobody(t *testing.T) {
	r, p := newWatchedRig(t, 1)
	r.see(p, nil, errors.New("stale file handle"))
	r.eventually(func() bool { return r.scheduler.View().Watch.Error != "" }, "an operator can see it")
	w := r.scheduler.View().Watch
	assert.Equal(t, []any{true, 1, "stale file handle", false}, []any{w.On, w.Hosts, w.Error, w.Blind()})
	w.Seen = w.Seen.Add(-10 * time.Second)
	assert.True(t, w.Blind(), "when it lasts")
	assert.Equal(t, coordinator.Running, r.node(1).Phase)
	r.see(p, nil, nil)
	r.eventually(func() bool { return r.scheduler.View().Watch.Error == "" }, "it is over")
}

func TestASchedulerThatStartsWatchesAnewAndKnowsWhoWasSilent(t *testing.T) {
	r, p := newWatchedRig(t, 1)
	r.see(p, map[string]coordinator.Sight{"h1": silentNow}, nil)
	r.eventually(func() bool { n := r.node(1); return n.Phase == coordinator.Running && n.Epoch == 2 }, "node 1 runs again")
	r.stop()
	p.sights = nil
	r.start()
	r.running(1)
	require.Contains(t, r.scheduler.View().State.Silent, "h1", "nothing is launched there")
	r.see(p, nil, nil)
	assert.Equal(t, 2, p.begun)
	assert.Contains(t, p.latest(), "h1", "it is looked at until it beats")
}
