// Package election has one of several schedulers lead, by way of ZooKeeper. Each announces itself with a node that goes with its
// session, and the one with the lowest number leads. Before it does anything it raises the version of the node that names the
// leader, which is the epoch of its term: every write of a leader is made on condition that the epoch is still its own.
//
//	<root>/candidates/<instance>-<number>   who would lead
//	<root>/leader                           who leads, by the address of its API; the node's version is the epoch
//
// A leader that is cut off stops by its own clock before the servers give its session up; one whose clock or process stood still
// finds that its writes are refused.
package election

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
)

// Times. The servers notice a dead leader between Session and Session and one tick of theirs (usually 2 s) later.
const (
	// Session is the time-out to ask for on the connection that is given to New.
	Session = 6 * time.Second
	// Answer is how long a server may take on that connection: a hanging one does not cost a term.
	Answer = 2 * time.Second

	confirmEvery = time.Second
	confirmRetry = 100 * time.Millisecond // the next server is asked
	actFor       = 4 * time.Second        // after the last time that the term was confirmed; a follower tells of sessions up to a tick late
	lookAgain    = 5 * time.Second        // should a watch never fire
	lookRetry    = 500 * time.Millisecond
)

const (
	candidates = "candidates"
	leader     = "leader"
)

// Nodes are those that must exist below the root.
func Nodes() []string { return []string{candidates, leader} }

// Election is a scheduler's part in it.
type Election struct {
	conn     *ensemble.Conn
	root     string
	address  string
	instance string
	log      hclog.Logger

	// The client library keeps a watch until it tells, so the one on the candidate before this one stays for as long.
	before string // that candidate
	gone   <-chan zk.Event
}

// New takes part for the scheduler whose API is at address.
func New(conn *ensemble.Conn, root, address string, log hclog.Logger) *Election {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Election{conn: conn, root: root, address: address, instance: rand.Text(), log: log}
}

func (e *Election) leaderNode() string { return e.root + "/" + leader }
func (e *Election) candidates() string { return e.root + "/" + candidates }

// sign is what the leader's node holds.
type sign struct {
	Address string `json:"address,omitempty"` // empty: nobody leads
}

// Leader is the address of who leads or led last, empty if nobody does.
func (e *Election) Leader() (string, error) {
	found, err := e.get(e.leaderNode())
	if err != nil || len(found.data) == 0 {
		return "", err
	}
	var s sign
	if err := json.Unmarshal(found.data, &s); err != nil {
		return "", fmt.Errorf("read %s: %w", e.leaderNode(), err)
	}
	return s.Address, nil
}

// Lead waits until this one leads. It fails only when ctx ends; then the connection is to be closed, which takes back the
// candidacy. waited tells whether another one led meanwhile.
func (e *Election) Lead(ctx context.Context) (_ *Term, waited bool, _ error) {
	problem := ""
	for ctx.Err() == nil {
		term, turn, err := e.try()
		wait := lookAgain
		switch {
		case term != nil:
			e.log.Info("leading", "epoch", term.epoch, "address", e.address)
			return term, waited, nil
		case err != nil:
			wait = lookRetry
			if err.Error() != problem {
				e.log.Warn("no part in the election", "error", err)
			}
			problem = err.Error()
		default:
			if problem = ""; !waited {
				e.log.Info("standing by")
			}
			waited = true
		}
		select {
		case <-ctx.Done():
		case <-turn:
		case <-time.After(wait):
		}
	}
	return nil, waited, ctx.Err()
}

// try takes the lead if it is this one's turn. Otherwise turn tells when to try again.
func (e *Election) try() (term *Term, turn <-chan zk.Event, err error) {
	own, err := e.candidate()
	if err != nil {
		return nil, nil, err
	}
	names, err := e.all()
	if err != nil {
		return nil, nil, err
	}
	i := slices.Index(names, path.Base(own))
	switch {
	case i < 0:
		return nil, nil, errors.New("own candidacy is gone")
	case i == 0:
		term, err = e.take(own)
		return term, nil, err
	}
	turn, err = e.watch(names[i-1])
	return nil, turn, err
}

// watch tells when a candidate has left.
func (e *Election) watch(name string) (<-chan zk.Event, error) {
	if name == e.before {
		select {
		case <-e.gone: // it has told, of this or of the end of its session
		default:
			return e.gone, nil
		}
	}
	type watched struct {
		there bool
		gone  <-chan zk.Event
	}
	now, err := ensemble.Call(e.conn, func(c *zk.Conn) (watched, error) {
		there, _, gone, err := c.ExistsW(e.candidates() + "/" + name)
		return watched{there, gone}, err
	})
	if err != nil {
		return nil, err
	}
	if !now.there {
		left := make(chan zk.Event)
		close(left)
		return left, nil
	}
	e.before, e.gone = name, now.gone
	return now.gone, nil
}

// all are the candidates, the next leader first.
func (e *Election) all() ([]string, error) {
	names, err := ensemble.Call(e.conn, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(e.candidates())
		return names, err
	})
	number := func(name string) string { return name[strings.LastIndex(name, "-")+1:] } // of ten digits always
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(number(a), number(b)) })
	return names, err
}

// candidate is this one's node, made if it is not there: perhaps it was made by a request that seemed to fail.
func (e *Election) candidate() (string, error) {
	names, err := e.all()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		own := e.candidates() + "/" + name
		if !strings.HasPrefix(name, e.instance+"-") {
			continue
		}
		found, err := e.get(own)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return "", err
		}
		if err == nil && found.current {
			return own, nil
		}
		if err := e.remove(own); err != nil && !errors.Is(err, zk.ErrNoNode) { // of a session that is over
			return "", err
		}
	}
	return ensemble.Call(e.conn, func(c *zk.Conn) (string, error) {
		return c.Create(e.candidates()+"/"+e.instance+"-", nil, zk.FlagEphemeral|zk.FlagSequence, e.conn.ACL())
	})
}

func (e *Election) remove(node string) error {
	_, err := ensemble.Call(e.conn, func(c *zk.Conn) (struct{}, error) { return struct{}{}, c.Delete(node, -1) })
	return err
}

// take begins a term: from then on nobody of an earlier one can write.
func (e *Election) take(own string) (*Term, error) {
	before, err := e.get(e.leaderNode())
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := e.sign(own, before.version, sign{Address: e.address}); err != nil {
		return nil, err
	}
	return newTerm(e, own, before.version+1, begun), nil
}

// sign writes who leads, while the candidate's node is there, over a version of the leader's node. With nobody's sign the
// candidate leaves.
func (e *Election) sign(own string, version int32, s sign) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	ops := []any{&zk.CheckVersionRequest{Path: own, Version: -1}, &zk.SetDataRequest{Path: e.leaderNode(), Data: data, Version: version}}
	if s.Address == "" {
		ops[0] = &zk.DeleteRequest{Path: own, Version: -1}
	}
	return e.transact(ops...)
}

func (e *Election) transact(ops ...any) error {
	_, err := ensemble.Call(e.conn, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(ops...) })
	return err
}

// content is a node's.
type content struct {
	data    []byte
	version int32
	current bool // it goes with the session that is on
}

func (e *Election) get(node string) (content, error) {
	return ensemble.Call(e.conn, func(c *zk.Conn) (content, error) {
		data, stat, err := c.Get(node)
		if err != nil {
			return content{}, err
		}
		return content{data, stat.Version, stat.EphemeralOwner == c.SessionID()}, nil
	})
}
