package election

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ErrOver is why a term's context ended, unless its holder ended it.
var ErrOver = errors.New("this scheduler leads no more")

// Term is the time in which one scheduler leads.
type Term struct {
	election *Election
	own      string // the candidate's node
	epoch    int32

	ctx     context.Context
	cancel  context.CancelCauseFunc
	keeping sync.WaitGroup
	expiry  *time.Timer

	mu        sync.Mutex
	confirmed time.Time // when the latest confirmation was asked for, on this process' own clock
}

func newTerm(e *Election, own string, epoch int32, begun time.Time) *Term {
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &Term{election: e, own: own, epoch: epoch, ctx: ctx, cancel: cancel, confirmed: begun}
	t.expiry = time.AfterFunc(time.Until(begun.Add(actFor)), func() { t.end(fmt.Errorf("no word from ZooKeeper for %s", actFor)) })
	t.keeping.Go(t.keep)
	return t
}

// Context ends with the term.
func (t *Term) Context() context.Context { return t.ctx }

func (t *Term) end(cause error) { t.cancel(fmt.Errorf("%w: %w", ErrOver, cause)) }

// Check makes a write conditional on this term. It fails when the term is over by this process' own clock, which may be noticed
// here first: a process that stood still knows nothing else.
func (t *Term) Check() (*zk.CheckVersionRequest, error) {
	if t.ctx.Err() != nil {
		return nil, context.Cause(t.ctx)
	}
	t.mu.Lock()
	silence := time.Since(t.confirmed)
	t.mu.Unlock()
	if silence > actFor {
		return nil, fmt.Errorf("%w: no word from ZooKeeper for %s", ErrOver, silence.Round(time.Millisecond))
	}
	return &zk.CheckVersionRequest{Path: t.election.leaderNode(), Version: t.epoch}, nil
}

// Confirm asks the servers whether the term goes on. It is a write, which they agree on: a read could be answered by one that
// knows nothing of the others.
func (t *Term) Confirm() error {
	check, err := t.Check()
	if err != nil {
		return err
	}
	begun := time.Now()
	err = t.election.transact(check, &zk.SetDataRequest{Path: t.own, Version: -1})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if begun.After(t.confirmed) && t.expiry.Stop() {
		t.confirmed = begun
		t.expiry.Reset(time.Until(begun.Add(actFor)))
	}
	return nil
}

// keep confirms the term again and again, until it is over.
func (t *Term) keep() {
	wait := confirmEvery
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = confirmEvery
		err := t.Confirm()
		if err != nil {
			wait = confirmRetry
		}
		if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrBadVersion) {
			t.end(err)
		}
	}
}

// Resign ends the term and lets the next one begin at once. Whoever leads must have stopped acting.
func (t *Term) Resign() {
	t.Stop()
	if err := t.election.sign(t.own, t.epoch, sign{}); err != nil {
		t.election.log.Warn("the next scheduler leads only when this one's session is over", "error", err)
	}
}

// Stop ends the term for this process alone: the next one begins when the servers notice, or the process does so by itself.
func (t *Term) Stop() {
	t.cancel(context.Canceled)
	t.expiry.Stop()
	t.keeping.Wait()
}
