package mesos_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/test/zookeeper"
)

// The agent is back later than the scheduler, which hears nothing of the node until then, or that it is not known.
func TestTheOnlyMasterRestarts(t *testing.T) {
	t.Parallel()
	for registry, stranger := range map[string]bool{
		"replicated_log": false, // the master awaits the agent, and says nothing when it is back
		"in_memory":      true,  // the agent is a stranger, with a task
	} {
		t.Run(registry, func(t *testing.T) {
			inTurn(t)
			p := newPair(t, append([]string{"--registry=" + registry}, quick...), withoutFencing)
			id, executors := p.scheduler.View().State.FrameworkID, p.here.executors()
			p.here.signal(syscall.SIGSTOP)
			p.master.kill()
			p.says("no subscription")
			p.startMaster()
			p.there.registered()
			if stranger {
				p.says("status: node=1 epoch=1 state=TASK_UNKNOWN", "Reconciliation: Task is unknown")
			} else {
				p.eventually("a subscription without news", func() error {
					if p.scheduler.View().Subscribed == "" || p.node(1).Settled {
						return errors.New("there is none")
					}
					return nil
				})
			}
			p.here.signal(syscall.SIGCONT)
			p.is(1, coordinator.Running, 1)
			p.eventually("the node is known again", func() error {
				if !p.node(1).Settled {
					return errors.New("it is not")
				}
				return nil
			})
			p.onlyOne("es-1-1")
			assert.Equal(t, executors, p.here.executors())
			assert.Equal(t, id, p.scheduler.View().State.FrameworkID)
			told := p.log.count("status: node=1 epoch=1 state=TASK_RUNNING", "agent reregistered: Unknown agent reregistered")
			assert.Equal(t, stranger, told == 1)
		})
	}
}

// With its registry the master has forgotten the agent: it does not count its pings, it only does not know its task.
func TestAHostDiesWhileAMasterWithoutRegistryIsAway(t *testing.T) {
	inTurn(t)
	p := newPair(t, append([]string{"--registry=in_memory"}, quick...), nil)
	p.master.kill()
	p.here.powerCut()
	p.startMaster()
	p.says("status: node=1 epoch=1 state=TASK_UNKNOWN", "Reconciliation: Task is unknown")
	assert.Equal(t, p.there.Host, p.is(1, coordinator.Running, 2).Place.Host)
	p.onlyOne("es-1-2")
}

// election is three masters, found by a list of their addresses or in ZooKeeper, and an agent.
type election struct {
	*cluster
	*rig
	agent     *agent
	keeper    *zookeeper.Server
	masters   []*daemon
	addresses []string
}

func newElection(t *testing.T) *election {
	t.Helper()
	e := &election{cluster: &cluster{t: t, network: network()}, keeper: zookeeper.Run(t)}
	place := "zk://" + e.keeper.Address + "/mesos"
	e.masters, e.addresses = e.startMasters(place, "--zk_session_timeout=6secs")
	e.agent = e.agentOf(1, place)
	e.rig = newRig(t, 1, strings.Join(e.addresses, ","))
	e.rig.start()
	e.is(1, coordinator.Running, 1)
	return e
}

// leading is the number of the master that the scheduler has its subscription with; none is not waited for.
func (e *election) leading(but int) int {
	e.rig.t.Helper()
	var found int
	e.eventually("a subscription", func() error {
		found = slices.Index(e.addresses, e.scheduler.View().Subscribed)
		if found < 0 || found == but {
			return errors.New("there is none")
		}
		return nil
	})
	return found
}

// answers is what a master says to a SUBSCRIBE, and where it sends to.
func answers(address string) (status int, location string, err error) {
	client := http.Client{
		Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Post("http://"+address+"/api/v1/scheduler", "application/x-protobuf", strings.NewReader(""))
	if err != nil {
		return 0, "", err
	}
	return response.StatusCode, response.Header.Get("Location"), response.Body.Close()
}

// A standby names the dead leader until the next one is elected, without saying whether by HTTP or HTTPS.
func TestTheLeadingMasterDies(t *testing.T) {
	inTurn(t)
	e := newElection(t)
	id, executors, first := e.scheduler.View().State.FrameworkID, e.agent.executors(), e.leading(-1)
	e.masters[first].kill()
	status, location, err := answers(e.addresses[(first+1)%3])
	require.NoError(t, err)
	assert.Equal(t, http.StatusTemporaryRedirect, status)
	assert.Equal(t, "//"+e.addresses[first]+"/master/api/v1/scheduler", location)
	e.leading(first)
	e.settledAs(id, executors)
}

// settledAs checks that all is as it was.
func (e *election) settledAs(id string, executors []int) {
	e.rig.t.Helper()
	e.eventually("node 1 is known to run", func() error {
		if n := e.node(1); n.Phase != coordinator.Running || !n.Settled {
			return fmt.Errorf("it is %+v", n)
		}
		return nil
	})
	assert.EqualValues(e.rig.t, 1, e.node(1).Epoch)
	assert.Equal(e.rig.t, id, e.scheduler.View().State.FrameworkID)
	assert.Equal(e.rig.t, executors, e.agent.executors())
}

// Without ZooKeeper the leading master ends itself, and the others know no leader. Tasks go on.
func TestZooKeeperIsAwayForLongerThanItsSessions(t *testing.T) {
	inTurn(t)
	e := newElection(t)
	id, executors, first := e.scheduler.View().State.FrameworkID, e.agent.executors(), e.leading(-1)
	require.NoError(t, e.keeper.Kill())
	e.masters[first].end()
	e.eventually("no leader is known", func() error {
		status, _, err := answers(e.addresses[(first+1)%3])
		if status != http.StatusServiceUnavailable {
			err = errors.Join(err, fmt.Errorf("status %d", status))
		}
		return err
	})
	e.says("503 Service Unavailable: No leader elected")
	require.NoError(t, e.keeper.Start())
	require.NoError(t, e.keeper.Await(t.Context()))
	e.masters[first].start() // its supervisor does so
	e.leading(-1)
	e.settledAs(id, executors)
}
