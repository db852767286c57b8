package mesos_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/zookeeper"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

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

// Two real masters announce themselves in ZooKeeper, and two schedulers find them there and keep their state there. The leading
// master is killed, then the leading scheduler: it is one framework throughout, and has one subscription.
func TestStoryMastersAndSchedulersInZooKeeper(t *testing.T) {
	inTurn(t)
	program := build(t, "../..")
	keeper := "zk://mooring:secret@" + zookeeper.Run(t).Address
	killMaster := map[string]func(){}
	for range 2 {
		address := freeAddress(t)
		host, port, _ := strings.Cut(address, ":")
		killMaster[address] = run(t, "master", filepath.Join(programs, "mesos-master"), "--ip="+host, "--port="+port, "--hostname="+host, "--work_dir="+t.TempDir(), "--quorum=1",
			"--registry=in_memory", "--zk="+keeper+"/mesos")
	}
	var schedulers []string
	var kill []func()
	for range 2 {
		address := freeAddress(t)
		schedulers = append(schedulers, address)
		d := newDaemon(t, "scheduler", program, "scheduler", "--master="+keeper+"/mesos", "--zookeeper="+keeper+"/mooring", "--listen="+address,
			"--image=elasticsearch:8.19.5", "--executor-path=/usr/bin/mooring")
		d.start()
		kill = append(kill, d.kill)
		eventually(t, "a scheduler", func() error {
			d.supervise() // it ends when ZooKeeper does not answer in time
			return ask("http://"+address+"/v1/cluster", &said{})
		})
		awaitCluster(t, address, "a scheduler", func(c said) bool { return c.Standby || c.Master != "" })
	}
	before := awaitCluster(t, schedulers[0], "a subscription", func(c said) bool { return c.Master != "" })
	require.Contains(t, killMaster, before.Master)
	ids, err := connected(before.Master)
	require.NoError(t, err)
	assert.Equal(t, []string{before.FrameworkID}, ids)
	awaitCluster(t, schedulers[1], "one that stands by", func(c said) bool { return c.Standby && c.Leader == schedulers[0] })

	killMaster[before.Master]()
	after := awaitCluster(t, schedulers[0], "the other master", func(c said) bool { return c.Master != "" && c.Master != before.Master })
	assert.Equal(t, before.FrameworkID, after.FrameworkID)

	kill[0]()
	last := awaitCluster(t, schedulers[1], "the other scheduler", func(c said) bool { return !c.Standby && c.Master != "" })
	assert.Equal(t, after.Master, last.Master)
	assert.Equal(t, before.FrameworkID, last.FrameworkID)
	ids, err = connected(last.Master)
	require.NoError(t, err)
	assert.Equal(t, []string{before.FrameworkID}, ids)
}
