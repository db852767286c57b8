// Package replica runs one of several schedulers of the same framework: while it leads it is the scheduler, while another one
// does it shows what is saved and stands by. State and election are in ZooKeeper.
package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/scheduler"
	"mooring/scheduler/election"
	"mooring/scheduler/store"
)

// freshFor is how long a state that was read is shown: reading it takes as many requests as there are nodes.
const freshFor = time.Second

// Settings are those of a Replica.
type Settings struct {
	Masters []string
	Rules   coordinator.Rules
	Initial coordinator.State // of a framework that ZooKeeper does not have yet
	Address string            // host:port under which the others reach the API
	Options scheduler.Options
}

// Replica is one of several schedulers.
type Replica struct {
	settings Settings
	log      hclog.Logger
	conn     *ensemble.Conn
	store    *store.ZooKeeper
	election *election.Election

	mu       sync.Mutex
	leading  *scheduler.Scheduler // nil: standing by
	counters map[string]int64     // of earlier terms

	reading sync.Mutex
	seen    scheduler.View // while standing by
	readAt  time.Time
}

// Open connects to ZooKeeper and returns a Replica that is yet to Run. It must be closed.
func Open(address ensemble.Address, s Settings) (*Replica, error) {
	if _, err := scheduler.New(s.Masters, s.Rules, nil, s.Options); err != nil {
		return nil, err
	}
	if s.Options.Log == nil {
		s.Options.Log = hclog.NewNullLogger()
	}
	conn := ensemble.New(address, ensemble.Options{
		Session: election.Session, Answer: election.Answer, Setting: "--zookeeper", Log: s.Options.Log.Named("zookeeper"),
	})
	kept, err := store.OpenZooKeeper(conn, s.Initial, election.Nodes()...)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Replica{
		settings: s, log: s.Options.Log, conn: conn, store: kept,
		election: election.New(conn, kept.Root(), s.Address, s.Options.Log.Named("election")),
		counters: map[string]int64{}, seen: scheduler.View{Rules: s.Rules, Roles: s.Options.Roles, Standby: true},
	}, nil
}

// Close takes back the candidacy and ends the connection.
func (r *Replica) Close() error {
	r.conn.Close()
	return nil
}

// Run takes part in the election, and schedules when it leads, until ctx ends. Tasks go on, and another replica leads. It returns
// an error if the state can't be read, or if Mesos refuses this framework for good.
func (r *Replica) Run(ctx context.Context) error {
	options := r.settings.Options
	for {
		term, waited, err := r.election.Lead(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		if waited && options.NewFramework { // said of the framework that there was when this one started
			r.log.Warn("another scheduler led meanwhile: --new-framework is not heeded any more")
			options.NewFramework = false
		}
		err = r.lead(ctx, term, options)
		if !errors.Is(err, election.ErrOver) {
			return err
		}
		r.log.Warn("standing by again", "reason", err)
		options.NewFramework = false
	}
}

// lead schedules until ctx or the term ends. The error is election.ErrOver if it was the term.
func (r *Replica) lead(ctx context.Context, term *election.Term, options scheduler.Options) error {
	s, err := scheduler.New(r.settings.Masters, r.settings.Rules, r.store.Fenced(term.Check), options)
	if err != nil {
		return err
	}
	acting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(term.Context(), cancel)()
	r.set(s)
	err = s.Run(acting)
	r.set(nil)
	if over := r.over(term, err); over != nil {
		term.Stop()
		return over
	}
	term.Resign()
	return err
}

// over tells whether a term is over that a scheduler ended in. One that Mesos sent away because another one subscribed may be the
// last to hear of that.
func (r *Replica) over(term *election.Term, failed error) error {
	if term.Context().Err() != nil {
		return context.Cause(term.Context())
	}
	if failed == nil {
		return nil
	}
	err := term.Confirm()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, election.ErrOver):
		return fmt.Errorf("%w; %w", err, failed)
	}
	return fmt.Errorf("%w: %w; %w", election.ErrOver, err, failed)
}

func (r *Replica) set(s *scheduler.Scheduler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s == nil {
		for name, n := range r.leading.Counters() {
			r.counters[name] += n
		}
	}
	r.leading = s
}

func (r *Replica) current() *scheduler.Scheduler {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leading
}

// View returns what is known now: all of it while this one leads, else what is saved.
func (r *Replica) View() scheduler.View {
	if s := r.current(); s != nil {
		v := s.View()
		v.Leader = r.settings.Address
		return v
	}
	return r.saved()
}

// saved is the view of one who stands by.
func (r *Replica) saved() scheduler.View {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.seen.Loaded && time.Since(r.readAt) < freshFor {
		return r.seen
	}
	leader, err := r.election.Leader()
	var state coordinator.State
	if err == nil {
		state, err = r.store.Load(context.Background())
	}
	if err != nil {
		r.seen.StoreError = fmt.Sprintf("read state: %s", err)
		return r.seen
	}
	r.seen.State, r.seen.Loaded, r.seen.StoreError, r.seen.Leader, r.readAt = state, true, "", leader, time.Now()
	return r.seen
}

// Counters returns how often what happened here since the start, by name.
func (r *Replica) Counters() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := maps.Clone(r.counters)
	if r.leading != nil {
		for name, n := range r.leading.Counters() {
			values[name] += n
		}
	}
	return values
}

// Apply has the rules take in an event that an operator caused, if this one leads.
func (r *Replica) Apply(ctx context.Context, event coordinator.Event) error {
	s := r.current()
	if s == nil {
		return errors.New("this scheduler stands by: give the order to the one that leads")
	}
	return s.Apply(ctx, event)
}
