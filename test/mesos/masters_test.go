package mesos_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/client"
	"mooring/test/zookeeper"
)

// said is what a scheduler says of its cluster.
type said struct {
	FrameworkID string `json:"framework_id"`
	Master      string `json:"master"`
	Standby     bool   `json:"standby"`
	Leader      string `json:"leader"`
}

func awaitCluster(t *testing.T, scheduler, what string, is func(said) bool) said {
	t.Helper()
	var c said
	eventually(t, what, func() error {
		c = said{}
		if err := ask("http://"+scheduler+"/v1/cluster", &c); err != nil {
			return err
		}
		if !is(c) {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	return c
}

// connected are the IDs of the frameworks that a master has a connection with.
func connected(master string) ([]string, error) {
	var state struct {
		Frameworks []struct {
			ID        string `json:"id"`
			Connected bool   `json:"connected"`
		} `json:"frameworks"`
	}
	err := ask("http://"+master+"/master/state", &state)
	var ids []string
	for _, f := range state.Frameworks {
		if f.Connected {
			ids = append(ids, f.ID)
		}
	}
	return ids, err
}

// inEnsemble is three real masters that announce themselves in an ensemble of three, two agents and two schedulers, which find the
// masters there and keep their state there.
type inEnsemble struct {
	*cluster
	servers    []*zookeeper.Server
	masters    map[string]*daemon
	agents     []*agent
	schedulers []*process
	framework  string
}

func newInEnsemble(t *testing.T) *inEnsemble {
	t.Helper()
	z := &inEnsemble{cluster: &cluster{t: t, network: network()}, servers: zookeeper.RunEnsemble(t, 3), masters: map[string]*daemon{}}
	var addresses []string
	for _, s := range z.servers {
		addresses = append(addresses, s.Address)
	}
	ensemble := "zk://mooring:secret@" + strings.Join(addresses, ",")
	masters, at := z.startMasters(ensemble + "/mesos")
	for n, m := range masters {
		z.masters[at[n]] = m
	}
	z.agents = []*agent{z.agentOf(1, ensemble+"/mesos"), z.agentOf(2, ensemble+"/mesos")}
	program := build(t, "../..")
	for _, name := range []string{"first", "second"} {
		p := newProcess(t, program, name, "--master="+ensemble+"/mesos", "--zookeeper="+ensemble+"/mooring")
		p.up()
		awaitCluster(t, p.address, name, func(c said) bool { return c.Standby || c.Master != "" })
		z.schedulers = append(z.schedulers, p)
	}
	return z
}

// leads waits until a scheduler leads with a subscription, and the nodes run in these epochs: on the agents' own word once each, and in
// one framework that is connected once. It returns the scheduler and its master.
func (z *inEnsemble) leads(epochs [2]uint64, over []string, but string) (leader *process, master string) {
	z.t.Helper()
	eventually(z.t, "a scheduler that leads, with a master other than "+but, func() error {
		for _, m := range z.masters {
			m.supervise() // it ends when it has lost ZooKeeper for long
		}
		var all error
		for _, p := range z.schedulers {
			p.supervise()
			var c said
			if err := ask("http://"+p.address+"/v1/cluster", &c); err != nil {
				all = errors.Join(all, err)
				continue
			}
			if !c.Standby && c.Master != "" && c.Master != but {
				leader, master = p, c.Master
				z.framework = cmp.Or(z.framework, c.FrameworkID)
				return nil
			}
			all = errors.Join(all, fmt.Errorf("%s says %+v", p.name, c))
		}
		return all
	})
	leader.run(epochs)
	runOnce(z.t, z.agents, tasks(epochs), over)
	ids, err := connected(master)
	require.NoError(z.t, err)
	assert.Equal(z.t, []string{z.framework}, ids)
	return leader, master
}

// killLeader ends the member of the ensemble that leads it.
func (z *inEnsemble) killLeader() {
	z.t.Helper()
	for _, s := range z.servers {
		if mode, err := s.Mode(); err == nil && mode == "leader" {
			require.NoError(z.t, s.Kill())
			return
		}
	}
	require.Fail(z.t, "no member leads")
}

// The leading master is killed, then the leading member of ZooKeeper, then the leading scheduler. It is one framework throughout, with
// one subscription; no node is touched but the one that an operator has restarted meanwhile, which is remembered.
func TestStoryMastersAndSchedulersInZooKeeper(t *testing.T) {
	inTurn(t)
	z := newInEnsemble(t)
	_, master := z.leads([2]uint64{1, 1}, nil, "")

	z.masters[master].kill()
	delete(z.masters, master)
	leader, _ := z.leads([2]uint64{1, 1}, nil, master)

	z.killLeader()
	operator, err := client.New(leader.address, nil)
	require.NoError(t, err)
	eventually(t, "a restart of node 1 that is saved", func() error {
		nodes, err := leader.nodes()
		if err != nil || nodes[0].Intent == coordinator.Restart || nodes[0].Epoch > 1 { // an answer may have been lost
			return err
		}
		_, err = operator.RestartNow(t.Context(), 1)
		return err
	})
	leader, _ = z.leads([2]uint64{2, 1}, []string{"es-1-1"}, "")

	leader.kill()
	z.schedulers = slices.DeleteFunc(z.schedulers, func(p *process) bool { return p == leader })
	z.leads([2]uint64{2, 1}, []string{"es-1-1"}, "")
}
