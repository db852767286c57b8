// Package soak breaks one thing after the other under an Elasticsearch cluster that is written to all the while, mends it, and
// then looks for every document that was ever acknowledged.
package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const (
	Nodes      = 3 // of the cluster
	upLimit    = 5 * time.Minute
	roundLimit = 6 * time.Minute // a loaded machine needs several times what an idle one does
)

// Options say what is soaked.
type Options struct {
	Cell       *cell.Cell
	Deployment *deploy.Deployment // started, with a target of Nodes
	Say        func(format string, a ...any)
}

// Soak is a cluster that is written to.
type Soak struct {
	Options
	ledgers []*ledger.Ledger
	writers []*ledger.Writer
}

// LostError says that acknowledged documents are not found: the promise is broken.
type LostError struct {
	Index   string
	Account ledger.Account
}

func (e *LostError) Error() string {
	missing := e.Account.Missing
	return fmt.Sprintf("index %s lost %d of %d acknowledged documents, among them %s", e.Index, len(missing), e.Account.Acknowledged, missing[0])
}

// Begin waits for the cluster and begins to write: into an index with a copy of each shard, and into one with none, where what
// a single node loses is lost.
func Begin(ctx context.Context, o Options) (*Soak, error) {
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	s := &Soak{Options: o}
	if err := s.whole(ctx); err != nil {
		return nil, err
	}
	for _, index := range []struct {
		name     string
		replicas int
	}{{"copied", 1}, {"single", 0}} {
		l := ledger.New(o.Deployment.Client(), o.Deployment.HTTPAddresses, index.name)
		if err := l.Create(ctx, Nodes, index.replicas); err != nil {
			return nil, errors.Join(err, s.End())
		}
		s.ledgers = append(s.ledgers, l)
		s.writers = append(s.writers, ledger.StartWriter(ctx, l))
	}
	return s, nil
}

// End stops writing. The cluster is left running.
func (s *Soak) End() error {
	var errs error
	for _, w := range s.writers {
		errs = errors.Join(errs, w.Stop())
	}
	return errs
}

// Play plays one round. After an error what was broken may still be so, and the logs tell why.
func (s *Soak) Play(ctx context.Context, r Round) error {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	v, err := s.victim(ctx, r.Node)
	if err != nil {
		return err
	}
	s.Say("%s: node %d, %s", r.Fault.Name, r.Node, v.host.Name)
	began := time.Now()
	if err := r.Fault.strike(ctx, v); err != nil {
		return fmt.Errorf("%s: %w", r.Fault.Name, err)
	}
	if err := s.linger(ctx, r, v); err != nil {
		return fmt.Errorf("%s: %w", r.Fault.Name, err)
	}
	struck := time.Since(began)
	if err := r.Fault.mend(ctx, v); err != nil {
		return fmt.Errorf("mend after %s: %w", r.Fault.Name, err)
	}
	if r.Fault.ends {
		if err := s.Deployment.AwaitRelaunch(ctx, v.node); err != nil {
			return err
		}
	}
	if err := s.whole(ctx); err != nil {
		return fmt.Errorf("after %s: %w", r.Fault.Name, err)
	}
	s.Say("mended after %.1f s, whole after %.1f s", struck.Seconds(), time.Since(began).Seconds())
	return s.Audit(ctx)
}

// linger leaves a fault as it is: until the node is back on another host, or for the time that the round says.
func (s *Soak) linger(ctx context.Context, r Round, v victim) error {
	if !r.Fault.moves {
		return wait(ctx, r.Length)
	}
	began := time.Now()
	if err := s.Deployment.AwaitRelaunch(ctx, v.node); err != nil {
		return err
	}
	nodes, err := s.Deployment.Nodes(ctx)
	if err != nil {
		return err
	}
	now := nodes[v.node.ID-1]
	if now.Place.Host == v.node.Place.Host {
		return fmt.Errorf("node %d is said to run on %s, which is out of reach", now.ID, now.Place.Host)
	}
	s.Say("node %d is back on %s after %.1f s, launch %d", now.ID, now.Place.Host, time.Since(began).Seconds(), now.Epoch)
	return nil
}

// victim is a node with the host that it runs on.
type victim struct {
	*Soak
	node deploy.Node
	host *cell.Host
}

func (s *Soak) victim(ctx context.Context, id int) (victim, error) {
	nodes, err := s.Deployment.AwaitNodes(ctx, Nodes)
	if err != nil {
		return victim{}, err
	}
	return s.victimOf(nodes[id-1])
}

func (s *Soak) victimOf(n deploy.Node) (victim, error) {
	h, err := s.Cell.At(n.Place.Host)
	return victim{Soak: s, node: n, host: h}, err
}

// whole waits until every node runs exactly once, all are one cluster with all its shards, and documents are taken again.
func (s *Soak) whole(ctx context.Context) error {
	d := s.Deployment
	if _, err := d.AwaitNodes(ctx, Nodes); err != nil {
		return err
	}
	if err := d.AwaitCluster(ctx, Nodes, "green"); err != nil {
		return err
	}
	if err := d.Await(ctx, "one copy of each node", func(ctx context.Context) error { return d.OneCopyEach(ctx, Nodes) }); err != nil {
		return err
	}
	for _, l := range s.ledgers {
		before := l.Acknowledged()
		err := d.Await(ctx, "documents to be taken", func(context.Context) error {
			if l.Acknowledged() == before {
				return errors.New("none is")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Audit looks for every document that was acknowledged so far.
func (s *Soak) Audit(ctx context.Context) error {
	for i, index := range []string{"copied", "single"}[:len(s.ledgers)] {
		account, err := s.ledgers[i].Audit(ctx)
		if err != nil {
			return err
		}
		if len(account.Missing) > 0 || !account.ChecksumOK {
			return &LostError{Index: index, Account: account}
		}
		s.Say("index %s: %d documents acknowledged, %d found", index, account.Acknowledged, account.Found)
	}
	return nil
}

func wait(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
