package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"mooring/coordinator"
)

const tickEvery = time.Second

// Scheduler runs one framework.
type Scheduler struct {
	masters  func(hclog.Logger) masters
	rules    coordinator.Rules
	store    Store
	options  Options
	orders   chan order
	ended    chan struct{} // closed when Run is over
	counters counters

	mu   sync.Mutex
	view View
}

// New checks the settings and returns a Scheduler that is yet to Run. Masters are given as host:port, http://host:port or
// https://host:port, any of them leads to the leader; or as one zk:// address, where all of them announce themselves.
func New(masters []string, rules coordinator.Rules, store Store, options Options) (*Scheduler, error) {
	options, errOptions := options.complete()
	find, errMasters := parseMasters(masters, options.MasterTLS)
	if err := errors.Join(errMasters, errOptions); err != nil {
		return nil, err
	}
	return &Scheduler{masters: find, rules: rules, store: store, options: options, orders: make(chan order), ended: make(chan struct{})}, nil
}

// ErrUninstalled says that an operator's order to uninstall the framework was carried out to its end.
var ErrUninstalled = errors.New("the framework is uninstalled; the volumes of its nodes are kept")

// Run schedules until ctx ends, then returns nil and leaves all tasks running: the next one takes them up again. It returns
// an error if the store can't be read, or if Mesos refuses this scheduler for good, and ErrUninstalled after the framework's end.
// It is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	defer close(s.ended)
	state, err := s.load(ctx)
	if err != nil {
		return err
	}
	deliveries, looks := make(chan delivery, mostAtOnce), make(chan look)
	l := newLoop(s, state)
	found := s.masters(s.options.Log.Named("masters"))
	sub := &subscriber{
		masters: found, options: s.options, failed: func(err error) { l.show(func(v *View) { v.Unsubscribed = err.Error() }) },
		log: s.options.Log.Named("subscription"), state: func() coordinator.State { return s.View().State }, delivery: deliveries,
	}
	watch := &watcher{state: sub.state, looks: looks}
	if s.options.Heartbeats != nil {
		watch.heartbeats = s.options.Heartbeats()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return found.run(ctx) })
	group.Go(func() error { return sub.run(ctx) })
	group.Go(func() error { return watch.run(ctx) })
	group.Go(func() error { return l.run(ctx, deliveries, looks) })
	if err := group.Wait(); !errors.Is(err, errRemoved) || l.state.Removal == coordinator.Installed {
		return err
	}
	if err := l.handle(ctx, nil, coordinator.Removed{At: wall(time.Now())}); err != nil {
		return err // the next Run hears from Mesos again that the framework is no more
	}
	return ErrUninstalled
}

func (s *Scheduler) load(ctx context.Context) (coordinator.State, error) {
	state, err := s.store.Load(ctx)
	if err != nil {
		return state, fmt.Errorf("load state: %w", err)
	}
	if !s.options.NewFramework && state.Removal == coordinator.Uninstalled {
		return state, fmt.Errorf("framework %s was uninstalled at %s: start once with --new-framework to install it again; nodes keep their IDs and volumes",
			state.Framework, state.Removing.Format(time.RFC3339))
	}
	if s.options.NewFramework && state.FrameworkID != "" {
		before := state
		state.FrameworkID = ""
		if state.Removal == coordinator.Uninstalled {
			state.Removal = coordinator.Installed
		}
		if err := s.store.Save(ctx, before, state); err != nil {
			return state, fmt.Errorf("forget framework ID %s: %w", before.FrameworkID, err)
		}
	}
	return state, nil
}

// order is an event that an operator caused.
type order struct {
	event coordinator.Event
	done  chan<- error
}

// Apply has the rules take in an event that an operator caused, and returns once that is durable.
func (s *Scheduler) Apply(ctx context.Context, event coordinator.Event) error {
	done := make(chan error, 1)
	select {
	case s.orders <- order{event: event, done: done}:
	case <-s.ended:
		return errors.New("this scheduler has ended: try again")
	case <-ctx.Done():
		return fmt.Errorf("wait for the scheduler: %w", ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the scheduler: %w", ctx.Err())
	}
}
