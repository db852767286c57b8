package mesos_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/store/storetest"
)

// removed checks that Mesos has removed the framework with all that ran, and that it is registered anew only on request.
func (p pair) removed() {
	p.t().Helper()
	p.eventually("the executors end", func() error {
		if found := p.here.executors(); len(found) > 0 {
			return fmt.Errorf("%v run", found)
		}
		return nil
	})
	before := p.scheduler.View().State.FrameworkID
	for range 2 {
		p.rig.start()
		err := p.failure(p.result)
		require.ErrorContains(p.t(), err, "the framework is no longer known to Mesos")
		require.ErrorContains(p.t(), err, "start once with --new-framework")
	}
	p.options.NewFramework = true
	p.rig.start()
	p.is(1, coordinator.Running, 2)
	assert.NotEqual(p.t(), before, p.scheduler.View().State.FrameworkID)
}

func TestAFrameworkThatAnOperatorTearsDown(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, nil)
	require.Equal(t, http.StatusOK, p.order("/master/teardown", "frameworkId="+p.scheduler.View().State.FrameworkID))
	require.ErrorContains(t, p.failure(p.result), "start once with --new-framework")
	p.removed()
}

func TestASchedulerThatIsAwayForLongerThanItsFailoverTimeout(t *testing.T) {
	t.Parallel()
	p := newPair(t, quick, func(r *rig) { r.options.FailoverTimeout = time.Minute })
	p.rig.stop()
	assert.Len(t, p.here.executors(), 1, "nothing ends with the scheduler")
	p.eventually("Mesos removes the framework", func() error {
		var state struct {
			Completed []struct{ ID string } `json:"completed_frameworks"`
		}
		if err := ask("http://"+p.Master+"/master/state", &state); err != nil {
			return err
		}
		if len(state.Completed) == 0 {
			return errors.New("it has not")
		}
		return nil
	})
	p.removed()
}

func TestASecondSchedulerTakesTheSubscription(t *testing.T) {
	inTurn(t)
	p := newPair(t, quick, nil)
	first := p.result
	p.rig.start()
	require.ErrorContains(t, p.failure(first), "another scheduler of this framework took over")
	p.is(1, coordinator.Running, 1)
	p.onlyOne("es-1-1")
}

func TestAMasterThatAsksForCredentials(t *testing.T) {
	inTurn(t)
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte(`{"credentials":[{"principal":"mooring","secret":"right"}]}`), 0o600))
	c := newCluster(t, "--authenticate_http_frameworks=true", "--http_framework_authenticators=basic", "--credentials=file://"+file)
	c.agent(1)
	r := newRig(t, 1, c.Master)
	for _, secret := range []string{"", "wrong"} {
		before := r.log.count("401 Unauthorized")
		if secret != "" {
			r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, secret)
		}
		r.start()
		r.eventually("it is refused", func() error {
			if r.log.count("401 Unauthorized") == before {
				return errors.New("it is not")
			}
			return nil
		})
		r.stop()
	}
	r.options.SecretFile = secretFile(t, "right")
	r.start()
	r.is(1, coordinator.Running, 1)
}

// The offer is taken back between the decision to use it and the call that does.
func TestAnAcceptThatComesTooLate(t *testing.T) {
	inTurn(t)
	c := newCluster(t, quick...)
	a := c.agent(1)
	r := newRig(t, 1, c.Master)
	var once atomic.Bool
	r.store.Fail(nil, func(s coordinator.State) error {
		if len(s.Nodes) == 0 || s.Nodes[0].Phase != coordinator.Claimed || once.Swap(true) {
			return nil
		}
		a.kill()
		return c.noOffers()
	})
	r.start()
	r.says("status: node=1 epoch=1 state=TASK_DROPPED", "invalid offers")
	n := r.is(1, coordinator.Vacant, 1)
	assert.Zero(t, n.Failures, "nobody is to blame")
	assert.False(t, n.Loose, "nothing of it can run")
	a.start()
	r.is(1, coordinator.Running, 2)
}

// noOffers waits until the master has taken all offers back.
func (c *cluster) noOffers() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		var state struct {
			Frameworks []struct{ Offers []any }
		}
		if err := ask("http://"+c.Master+"/master/state", &state); err != nil {
			return err
		}
		if len(state.Frameworks) == 1 && len(state.Frameworks[0].Offers) == 0 {
			return nil
		}
	}
	return errors.New("the offers are not taken back")
}

func TestTwoFrameworksOnOneHostHavePortsOfTheirOwn(t *testing.T) {
	inTurn(t)
	c := newCluster(t, quick...)
	c.agent(1)
	ports := map[int]bool{}
	for _, framework := range []string{"es", "logs"} {
		r := newRig(t, 1, c.Master)
		r.store = storetest.NewMemory(coordinator.NewState(framework, 1))
		r.start()
		place := r.is(1, coordinator.Running, 1).Place
		ports[place.HTTPPort], ports[place.TransportPort] = true, true
	}
	assert.Len(t, ports, 4)
}
