// Package demo tells the whole story of Mooring on one machine made to look like several hosts: a cluster comes up, a host
// dies while documents are written, its node comes back on another host with its volumes, and every acknowledged document is
// found.
package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const (
	Nodes      = 3   // of the cluster
	bulk       = 500 // documents per request
	upTimeout  = 5 * time.Minute
	stepLimit  = 4 * time.Minute // of any later step; a loaded machine needs several times what an idle one does
	whileAgent = 2 * time.Minute
)

// Options say what the story is played with.
type Options struct {
	Deployment *deploy.Deployment // with a target of three nodes
	Documents  []ledger.Document  // real text to index
	Say        func(format string, a ...any)
}

// story is a telling under way.
type story struct {
	Options
	cell    *cell.Cell
	deploy  *deploy.Deployment
	writers []*ledger.Writer
	ledgers []*ledger.Ledger
	report  Report
	died    time.Time
}

// Run plays the story in a cell that is up, with a scheduler that runs, and reports. Both are left running.
func Run(ctx context.Context, c *cell.Cell, o Options) (Report, error) {
	s := &story{Options: o, cell: c, deploy: o.Deployment}
	defer s.stopWriters()
	for _, chapter := range []struct {
		limit time.Duration
		tell  func(context.Context) error
	}{
		{upTimeout, s.clusterComesUp},
		{stepLimit, s.documentsAreIndexed},
		{stepLimit, s.hostDies},
		{stepLimit, s.nodeComesBack},
		{stepLimit, s.schedulerAndMasterCrash},
		{whileAgent, s.hostReturns},
		{stepLimit, s.documentsAreCounted},
	} {
		if err := s.bounded(ctx, chapter.limit, chapter.tell); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

func (s *story) bounded(ctx context.Context, limit time.Duration, tell func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return tell(ctx)
}

func (s *story) clusterComesUp(ctx context.Context) error {
	s.Say("waiting for %d nodes", Nodes)
	found, err := s.deploy.AwaitNodes(ctx, Nodes)
	if err != nil {
		return err
	}
	if err := s.deploy.AwaitCluster(ctx, Nodes, "green"); err != nil {
		return err
	}
	for _, n := range found {
		backends, err := s.deploy.Backends(ctx, n)
		if err != nil {
			return err
		}
		s.Say("node %d runs on %s with %s", n.ID, n.Place.Host, describe(n.Volumes, backends))
		s.report.Nodes = append(s.report.Nodes, Node{
			ID: n.ID, EpochBefore: n.Epoch, HostBefore: n.Place.Host, EpochAfter: n.Epoch, HostAfter: n.Place.Host, Volumes: n.Volumes, Backends: backends,
		})
	}
	return nil
}

func (s *story) documentsAreIndexed(ctx context.Context) error {
	for index, replicas := range map[string]int{"packages": 1, "single": 0} {
		l := ledger.New(s.deploy.Client(), s.deploy.HTTPAddresses, index)
		if err := l.Create(ctx, Nodes, replicas); err != nil {
			return err
		}
		s.Say("indexing %d package records into %q, %d replica(s)", len(s.Documents), index, replicas)
		if err := l.WriteAll(ctx, s.Documents, bulk); err != nil {
			return err
		}
		s.ledgers = append(s.ledgers, l)
		s.writers = append(s.writers, ledger.StartWriter(ctx, l))
	}
	return s.deploy.AwaitCluster(ctx, Nodes, "green")
}

// describe says what each volume is: "image volume elasticsearch1data".
func describe(volumes, backends []string) string {
	words := make([]string, len(volumes))
	for i, name := range volumes {
		kind := backends[i]
		if kind == "dir" {
			kind = "directory"
		}
		words[i] = kind + " volume " + name
	}
	return strings.Join(words, " and ")
}

// victim is the host that dies: that of the last node.
func (s *story) victim() (*cell.Host, error) {
	return s.cell.At(s.report.Nodes[Nodes-1].HostBefore)
}

func (s *story) hostDies(ctx context.Context) error {
	host, err := s.victim()
	if err != nil {
		return err
	}
	s.Say("killing %s outright, while documents are written", host.Name)
	s.died = time.Now()
	return host.Kill(ctx)
}

func (s *story) nodeComesBack(ctx context.Context) error {
	lost := &s.report.Nodes[Nodes-1]
	for _, moment := range []struct {
		name    string
		seconds *float64
		reached func(deploy.Node) bool
	}{
		{"lost its node", &s.report.Seconds.Detected, func(n deploy.Node) bool { return n.Phase != "running" || n.Epoch > lost.EpochBefore }},
		{"has its container elsewhere", &s.report.Seconds.Container, func(n deploy.Node) bool { return n.Phase == "running" && n.Epoch > lost.EpochBefore }},
		{"joined again", &s.report.Seconds.Joined, func(n deploy.Node) bool { return n.Ready && n.Epoch > lost.EpochBefore }},
	} {
		n, err := s.awaitNode(ctx, lost.ID, moment.name, moment.reached)
		if err != nil {
			return err
		}
		*moment.seconds = time.Since(s.died).Seconds()
		lost.EpochAfter, lost.HostAfter = n.Epoch, n.Place.Host
		s.Say("%5.1f s: ID %d %s (epoch %d, %s)", *moment.seconds, n.ID, moment.name, n.Epoch, n.Place.Host)
	}
	if err := s.deploy.AwaitCluster(ctx, Nodes, "green"); err != nil {
		return err
	}
	s.report.Seconds.Green = time.Since(s.died).Seconds()
	s.Say("%5.1f s: the cluster is green", s.report.Seconds.Green)
	if lost.HostAfter == lost.HostBefore {
		return fmt.Errorf("node %d is said to run on the dead host %s", lost.ID, lost.HostAfter)
	}
	return nil
}

func (s *story) awaitNode(ctx context.Context, id int, what string, reached func(deploy.Node) bool) (deploy.Node, error) {
	var node deploy.Node
	err := s.deploy.Await(ctx, fmt.Sprintf("node %d: %s", id, what), func(ctx context.Context) error {
		all, err := s.deploy.Nodes(ctx)
		if err != nil {
			return err
		}
		if node = all[id-1]; !reached(node) {
			return fmt.Errorf("the scheduler says %+v", node)
		}
		return nil
	})
	return node, err
}

func (s *story) schedulerAndMasterCrash(ctx context.Context) error {
	s.Say("killing the scheduler (SIGKILL) and starting it again")
	if err := errors.Join(s.deploy.Kill(), s.deploy.Start(ctx)); err != nil {
		return err
	}
	if err := s.nothingMoved(ctx); err != nil {
		return err
	}
	s.Say("killing the Mesos master and starting it again")
	if err := errors.Join(s.cell.KillMaster(ctx), s.cell.StartMaster(ctx)); err != nil {
		return err
	}
	return s.nothingMoved(ctx)
}

// nothingMoved waits until all nodes are known to run, and checks that they are the same launches as before.
func (s *story) nothingMoved(ctx context.Context) error {
	found, err := s.deploy.AwaitNodes(ctx, Nodes)
	if err != nil {
		return err
	}
	for i, n := range found {
		if want := s.report.Nodes[i]; n.Epoch != want.EpochAfter || n.Place.Host != want.HostAfter {
			return fmt.Errorf("node %d was relaunched: epoch %d on %s, was epoch %d on %s", n.ID, n.Epoch, n.Place.Host, want.EpochAfter, want.HostAfter)
		}
	}
	s.Say("nothing was relaunched, the IDs stayed")
	return nil
}

func (s *story) hostReturns(ctx context.Context) error {
	host, err := s.victim()
	if err != nil {
		return err
	}
	s.Say("%s comes back", host.Name)
	if err := host.Return(ctx); err != nil {
		return err
	}
	if err := s.nothingMoved(ctx); err != nil {
		return err
	}
	running, err := host.Docker(ctx, "ps", "--quiet", "--filter", "label=mooring.framework")
	if err != nil {
		return err
	}
	if running != "" {
		return fmt.Errorf("%s runs a second copy of a node: container %s", host.Name, running)
	}
	s.Say("%s is given no second copy of anything", host.Name)
	return nil
}

func (s *story) documentsAreCounted(ctx context.Context) error {
	if err := s.stopWriters(); err != nil {
		return err
	}
	s.report.Documents.ChecksumOK = true
	for _, l := range s.ledgers {
		account, err := l.Audit(ctx)
		if err != nil {
			return err
		}
		s.report.Documents.add(account)
		if len(account.Missing) > 0 {
			return fmt.Errorf("%d acknowledged documents are lost, among them %s", len(account.Missing), account.Missing[0])
		}
	}
	s.Say("%d documents were acknowledged (%d of them while things broke), %d are found",
		s.report.Documents.Acknowledged, s.report.Documents.Acknowledged-2*len(s.Documents), s.report.Documents.Found)
	return nil
}

// stopWriters may be called again.
func (s *story) stopWriters() error {
	var errs error
	for _, w := range s.writers {
		errs = errors.Join(errs, w.Stop())
	}
	return errs
}
