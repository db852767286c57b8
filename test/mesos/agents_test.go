package mesos_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// pair is a cluster of two agents with one node, which runs on the first of them.
type pair struct {
	*cluster
	*rig
	here, there *agent
}

func newPair(t *testing.T, masterFlags []string, change func(*rig), agentFlags ...string) pair {
	t.Helper()
	c := newCluster(t, masterFlags...)
	p := pair{cluster: c, here: c.agent(1, agentFlags...), rig: newRig(t, 1, c.Master)}
	if change != nil {
		change(p.rig)
	}
	p.rig.start()
	n := p.is(1, coordinator.Running, 1)
	require.Equal(t, p.here.Host, n.Place.Host)
	p.there = c.agent(2, agentFlags...)
	return p
}

func (p pair) t() *testing.T { return p.rig.t }

func withoutFencing(r *rig) { r.rules.Fencing = false }

// onlyOne checks that one task of the node is left, and one executor.
func (p pair) onlyOne(task string) {
	p.t().Helper()
	p.eventually("one task is left", func() error {
		if tasks := p.tasks(); !slices.Equal(tasks, []string{task + " RUNNING"}) {
			return fmt.Errorf("the master knows %v", tasks)
		}
		if running := len(p.here.executors()) + len(p.there.executors()); running != 1 {
			return fmt.Errorf("%d executors run", running)
		}
		return nil
	})
}

func TestALaunchOnARealAgent(t *testing.T) {
	inTurn(t)
	c := newCluster(t, quick...)
	a := c.agent(1)
	r := newRig(t, 1, c.Master)
	r.start()
	n := r.is(1, coordinator.Running, 1)
	assert.Equal(t, coordinator.Place{Agent: n.Place.Agent, Host: a.Host, HTTPPort: 9200, TransportPort: 9300}, n.Place)
	environment := a.environment("es-1-1")
	for name, want := range map[string]string{
		"MESOS_AGENT_ENDPOINT": a.endpoint(), "MESOS_FRAMEWORK_ID": r.scheduler.View().State.FrameworkID, "MESOS_EXECUTOR_ID": "es-1-1",
		"MESOS_SLAVE_ID": n.Place.Agent, "MESOS_CHECKPOINT": "1", "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "45secs", "ELASTICSEARCH_NODE_ID": "1",
	} {
		assert.Equal(t, want, environment[name], name)
	}
	assert.NotEmpty(t, environment["MESOS_SANDBOX"])
	assert.Equal(t, environment["MESOS_SANDBOX"], environment["MESOS_DIRECTORY"])
}

func TestAnAgentThatRestartsAtOnceTakesNothingWithIt(t *testing.T) {
	inTurn(t)
	p := newPair(t, nil, nil)
	executors := p.here.executors()
	p.here.kill()
	p.apply(coordinator.Order{At: time.Now(), Node: 1, Intent: coordinator.Restart}) // its kill waits for the agent, in the master or here
	p.here.start()
	p.here.registered()
	p.is(1, coordinator.Running, 2)
	assert.Equal(t, 1, p.log.count("status: node=1 epoch=1 state=TASK_KILLED"), "the executor heard of it and had its say")
	for state, n := range map[string]int{"TASK_UNREACHABLE": 0, "TASK_LOST": 0, "TASK_FAILED": 0} {
		assert.Equal(t, n, p.log.count("status: node=1 epoch=1 state="+state), state)
	}
	assert.NotEqual(t, executors, p.here.executors())
}

// away makes an agent be away until back, without harm to its executors.
var away = map[string]struct{ away, back func(*agent) }{
	"it is killed": {(*agent).kill, func(a *agent) { a.start() }},
	"it hangs": {
		func(a *agent) { a.signal(syscall.SIGSTOP) },
		func(a *agent) { a.signal(syscall.SIGCONT) },
	},
}

func TestAnAgentThatIsAwayForLongComesBackWithItsNode(t *testing.T) {
	t.Parallel()
	for name, agent := range away {
		t.Run(name, func(t *testing.T) {
			inTurn(t)
			p := newPair(t, quick, withoutFencing)
			agent.away(p.here)
			p.says("status: node=1 epoch=1 state=TASK_UNREACHABLE", "agent removed: health check timed out")
			assert.Len(t, p.here.executors(), 1, "it goes on")
			p.says("node waits: node=1", "waits for its last agent "+p.node(1).Place.Agent)
			agent.back(p.here)
			p.is(1, coordinator.Running, 1)
			p.says("status: node=1 epoch=1 state=TASK_RUNNING", "agent reregistered: Unreachable agent re-reregistered")
			p.says("status: node=1 epoch=1 state=TASK_RUNNING", "runs, as before") // its executor was asked: Mesos does not say how it is
			p.onlyOne("es-1-1")
			assert.Empty(t, p.there.executors())
		})
	}
}

func TestAnAgentThatIsBackTooLateIsRidOfItsNode(t *testing.T) {
	t.Parallel()
	for name, agent := range away {
		t.Run(name, func(t *testing.T) {
			inTurn(t)
			p := newPair(t, quick, nil)
			agent.away(p.here)
			assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
			assert.Len(t, p.here.executors(), 1, "two of them: the volumes decide who writes")
			agent.back(p.here)
			p.onlyOne("es-1-2")
			p.is(1, coordinator.Running, 2)
		})
	}
}

func TestAHostThatLosesItsPowerAndReturns(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, nil)
	first := p.node(1).Place.Agent
	p.here.powerCut()
	p.says("status: node=1 epoch=1 state=TASK_UNREACHABLE", "agent removed: health check timed out")
	assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
	p.here.start()
	p.here.registered()
	p.says("status: node=1 epoch=1 state=TASK_FAILED", "agent reregistered")
	p.says("status: node=1 epoch=1 state=TASK_FAILED", "executor terminated")
	p.onlyOne("es-1-2")
	p.is(1, coordinator.Running, 2)

	p.apply(coordinator.Scale{At: time.Now(), Target: 2})
	assert.Equal(t, first, p.is(2, coordinator.Running, 1).Place.Agent, "it is the same agent as before")
}

func TestSeveralHostsDieAtOnce(t *testing.T) {
	inTurn(t)
	c := newCluster(t, quick...)
	r := newRig(t, 3, c.Master)
	r.start()
	agents := map[string]*agent{}
	for n := range 6 {
		a := c.agent(n + 1)
		agents[a.Host] = a
	}
	nodes := []coordinator.NodeID{1, 2, 3}
	var dead []*agent
	for _, id := range nodes {
		dead = append(dead, agents[r.is(id, coordinator.Running, 1).Place.Host])
	}
	for _, a := range dead {
		a.powerCut()
	}
	hosts := map[string]bool{}
	for _, id := range nodes {
		hosts[r.is(id, coordinator.Running, 2).Place.Host] = true
	}
	for _, a := range dead {
		delete(hosts, a.Host)
	}
	assert.Len(t, hosts, 3, "each is on another of the hosts that live")
}

// A host that an operator has marked gone in Mesos is not waited for, whatever the volumes can do.
func TestAHostThatIsMarkedGoneFreesItsNode(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, withoutFencing)
	p.here.powerCut()
	p.is(1, coordinator.Lost, 1)
	require.Equal(t, http.StatusOK, p.order("/api/v1", fmt.Sprintf(`{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":%q}}}`, p.node(1).Place.Agent)))
	p.says("status: node=1 epoch=1 state=TASK_GONE_BY_OPERATOR")
	assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
}

// As a host that comes back with another disk: Mesos never says a word about what ran there, and doesn't list it when it is asked what
// there is. Only who asks after the very task is told.
func TestAHostThatReturnsAsNewIsNotTheOneThatIsAwaited(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, withoutFencing)
	p.here.powerCut()
	p.is(1, coordinator.Lost, 1)
	const word, answer = "status: node=1 epoch=1", `message="Reconciliation: Task is unreachable"`
	unasked := func() int { return p.log.count(word) - p.log.count(word, answer) }
	p.says(word+" state=TASK_UNREACHABLE", "agent removed: health check timed out")
	before := unasked()
	p.here.asNew()
	p.here.start()
	p.here.registered()
	p.says("node waits: node=1", "waits for its last agent "+p.node(1).Place.Agent)
	p.apply(coordinator.Tick{At: time.Now().Add(coordinatorsPatience)}) // it asks after the node again
	p.says(word+" state=TASK_UNREACHABLE", answer)
	assert.Equal(t, before, unasked(), "all else was said before it returned")
	assert.Equal(t, coordinator.Lost, p.node(1).Phase, "an operator knows, Mesos does not")
	old := coordinator.TaskRef{Task: "es-1-1", Agent: p.node(1).Place.Agent}
	p.apply(coordinator.Forgive{At: time.Now(), Node: 1})
	assert.NotEqual(t, old.Agent, p.is(1, coordinator.Running, 2).Place.Agent)

	mesos := p.askInstead()
	assert.Equal(t, []string{"es-1-2 RUNNING"}, slices.Compact(mesos.hears()), "what runs is listed, what ran there is not")
	assert.Contains(t, mesos.hears(old), "es-1-1 UNREACHABLE")
}

// coordinatorsPatience is more than the time between two questions after a node.
const coordinatorsPatience = 2 * time.Minute

// An agent that lost its disk under its executors knows them no more, but they run. They give up when their agent has been away for
// its recovery timeout.
func TestExecutorsOfAnAgentThatForgotThemEnd(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, withoutFencing, "--recovery_timeout=3secs")
	p.here.kill()
	orphans := p.here.executors()
	require.Len(t, orphans, 1)
	p.here.asNew()
	p.here.start()
	p.here.registered()
	p.eventually("the executor gives up", func() error {
		if found := p.here.executors(); len(found) > 0 {
			return fmt.Errorf("%v run", found)
		}
		return nil
	})
	assert.Equal(t, coordinator.Lost, p.is(1, coordinator.Lost, 1).Phase, "nobody could say so")
}

// Mesos says LOST, to a framework that knows UNREACHABLE, and says it before anything has ended.
func TestAnAgentThatLeavesInOrderLosesItsTasks(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, nil)
	first := p.node(1).Place.Agent
	p.here.signal(syscall.SIGUSR1)
	p.says("status: node=1 epoch=1 state=TASK_LOST", "agent removed: Agent ", "the agent unregistered")
	assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
	p.here.end()
	p.here.start()
	p.here.registered()
	p.onlyOne("es-1-2")
	p.apply(coordinator.Scale{At: time.Now(), Target: 2})
	n := p.is(2, coordinator.Running, 1)
	assert.Equal(t, p.here.Host, n.Place.Host)
	assert.Equal(t, first, n.Place.Agent, "it is the same agent as before")
}

func TestWithoutFencingANodeWaitsForAnAgentThatLeft(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, withoutFencing)
	p.here.signal(syscall.SIGUSR1)
	p.is(1, coordinator.Lost, 1)
	p.says("node waits: node=1", "waits for its last agent "+p.node(1).Place.Agent)
}

func TestAnExecutorThatDiesIsReplaced(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, nil)
	killAll(t, func() []int { return processes("MESOS_EXECUTOR_ID=es-1-1", "MESOS_AGENT_ENDPOINT="+p.here.endpoint()) })
	p.says("status: node=1 epoch=1 state=TASK_FAILED", "executor terminated")
	assert.Equal(t, p.here.Host, p.is(1, coordinator.Running, 2).Place.Host, "its container may be there still")
}

// gated starts a node on an agent whose executors wait for a file.
func gated(t *testing.T, flags ...string) (c *cluster, a *agent, r *rig, gate string) {
	t.Helper()
	gate = filepath.Join(t.TempDir(), "gate")
	c = newCluster(t, quick...)
	a = c.agent(1, append(flags, fmt.Sprintf(`--executor_environment_variables={%q:%q}`, gateVariable, gate))...)
	r = newRig(t, 1, c.Master)
	r.start()
	r.eventually("an executor waits", func() error {
		if len(processes(gateVariable+"="+gate)) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	return c, a, r, gate
}

func TestAnExecutorThatNeverRegisters(t *testing.T) {
	inTurn(t)
	_, _, r, _ := gated(t, "--executor_registration_timeout=1secs")
	r.says("status: node=1 epoch=1 state=TASK_FAILED", "executor registration timeout")
	r.says("launching: node=1 epoch=2")
	n := r.node(1)
	assert.Positive(t, n.Failures, "the next try comes later")
	assert.False(t, n.Loose, "nothing of it can run")
	assert.Positive(t, r.scheduler.View().State.Agents[n.Place.Agent].Failures, "and elsewhere, if there is a place")
}

func TestAKillThatComesBeforeTheExecutor(t *testing.T) {
	inTurn(t)
	_, _, r, _ := gated(t)
	r.apply(coordinator.Order{At: time.Now(), Node: 1, Intent: coordinator.Retire})
	r.says("status: node=1 epoch=1 state=TASK_KILLED", "task killed during launch")
	n := r.is(1, coordinator.Vacant, 1)
	assert.False(t, n.Loose)
	assert.Zero(t, n.Failures)
}

func TestAnAgentThatRestartsDuringALaunch(t *testing.T) {
	inTurn(t)
	_, a, r, gate := gated(t)
	a.kill()
	a.start()
	a.registered()
	r.eventually("the launch is over", func() error {
		if n := r.node(1); n.Epoch == 1 {
			return fmt.Errorf("it is %s", n.Phase)
		}
		return nil
	})
	require.NoError(t, touch(gate))
	r.eventually("node 1 runs", func() error {
		if n := r.node(1); n.Phase != coordinator.Running {
			return fmt.Errorf("it is %s in epoch %d: %s", n.Phase, n.Epoch, n.Problem)
		}
		return nil
	})
	assert.Len(t, a.executors(), 1)
}

// At its defaults Mesos gives up an agent after 5 pings in 75 s or more; until then it says nothing but that offers are void.
func TestMesosAtItsDefaultsGivesUpAnAgentAfterAWhile(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil, nil)
	var flags struct{ Flags map[string]string }
	require.NoError(t, ask("http://"+p.Master+"/master/flags", &flags))
	assert.Equal(t, "15secs", flags.Flags["agent_ping_timeout"])
	assert.Equal(t, "5", flags.Flags["max_agent_ping_timeouts"])
	p.here.powerCut()
	p.says("status: node=1 epoch=1 state=TASK_UNREACHABLE", "agent removed: health check timed out")
	assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
}
