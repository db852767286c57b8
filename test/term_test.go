package test

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/zookeeper"
)

// By how much the epoch grows from one leader to the next tells how the first one ended: each transaction that changes who leads
// counts. Who is stopped in order gives its place back, so that nobody leads, before the next one takes it. Who is killed does
// nothing more: its place is free once ZooKeeper has given up its session.
const (
	givenBack = 2
	expired   = 1
)

// term is who leads, by ZooKeeper's word.
type term struct {
	leader string // address of the host; empty: nobody leads
	epoch  int32
	since  time.Time
}

// votes is a connection to the ZooKeeper in which a cell's coordinators elect one of themselves.
type votes struct {
	t    *testing.T
	cell *cell.Cell
	conn *zk.Conn
}

func watchVotes(t *testing.T, c *cell.Cell) *votes {
	t.Helper()
	conn := zookeeper.Reach(t, coordinatorsKeeper, c.Dial)
	require.NoError(t, conn.AddAuth("digest", []byte(coordinatorsUser)))
	return &votes{t: t, cell: c, conn: conn}
}

func (v *votes) term() (term, error) {
	data, stat, err := v.conn.Get("/mooring/elasticsearch/leader")
	if err != nil {
		return term{}, err
	}
	var sign struct{ Address string }
	if err := json.Unmarshal(data, &sign); err != nil {
		return term{}, err
	}
	found := term{epoch: stat.Version, since: time.UnixMilli(stat.Mtime)}
	if sign.Address != "" {
		found.leader, _, err = net.SplitHostPort(sign.Address)
	}
	return found, err
}

// succession ends the one that leads, and returns the host of the next one, which operators are told of, too. ZooKeeper tells that
// the first one's place was left as it should be.
func (v *votes) succession(leads *cell.Host, left int32, end func()) *cell.Host {
	v.t.Helper()
	var before, after term
	await(v.t, "the leader in ZooKeeper", func() (err error) {
		if before, err = v.term(); err == nil && before.leader != leads.Address {
			err = fmt.Errorf("%q leads", before.leader)
		}
		return err
	})
	begin := time.Now()
	end()
	await(v.t, "another leader in ZooKeeper", func() (err error) {
		if after, err = v.term(); err == nil && (after.leader == "" || after.leader == before.leader) {
			err = fmt.Errorf("%q leads", after.leader)
		}
		return err
	})
	v.t.Logf("the next leader took the place %.2f s after the first one's end began", after.since.Sub(begin).Seconds())
	assert.Equal(v.t, before.epoch+left, after.epoch, "%d: the place was given back; %d: its session expired", givenBack, expired)
	var told *cell.Host
	await(v.t, "operators to be told", func() (err error) {
		if told, err = leader(v.t, v.cell, v.cell.Hosts[leads.N%len(v.cell.Hosts)]); err == nil && told == leads {
			err = fmt.Errorf("they are told that %s leads", told.Name)
		}
		return err
	})
	v.t.Logf("%s leads instead of %s", told.Name, leads.Name)
	return told
}
