package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/coordinator"
)

const (
	saveTimeout = 30 * time.Second
	mostAtOnce  = 512 // deliveries that are taken in before a tick or an order gets its turn
)

// loop owns the state. Everything that may change it passes through handle, one event after the other.
type loop struct {
	scheduler *Scheduler
	log       hclog.Logger
	state     coordinator.State
	saved     coordinator.State // what the store is known to hold; zero if a save failed half-way, for all we know
	conn      *connection       // nil while there is no subscription
}

func newLoop(s *Scheduler, state coordinator.State) *loop {
	l := &loop{scheduler: s, log: s.options.Log, state: state, saved: state}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = View{
		State: state, Rules: s.rules, Roles: s.options.Roles, Loaded: true, Turned: time.Now(),
		Watch: Watch{On: s.options.Heartbeats != nil, Seen: time.Now()},
		Notes: map[coordinator.NodeID]coordinator.Note{}, Details: map[coordinator.NodeID]Detail{},
	}
	return l
}

func (l *loop) run(ctx context.Context, deliveries <-chan delivery, looks <-chan look) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		l.show(func(v *View) { v.Turned = time.Now() })
		select {
		case <-ctx.Done():
			return nil
		case d := <-deliveries:
			l.take(ctx, d, deliveries)
		case k := <-looks:
			l.looked(ctx, k)
		case now := <-ticker.C:
			if l.conn != nil { // without a subscription nothing could be done about what is due
				l.handle(ctx, nil, coordinator.Tick{At: wall(now)})
			}
		case o := <-l.scheduler.orders:
			l.count("mooring_orders_total", 1)
			l.show(func(v *View) { clear(v.Notes) }) // what was true before may not be so now; the next offers tell
			o.done <- l.handle(ctx, nil, o.event)
		}
	}
}

// wall strips what does not survive storing, so that a state that was loaded equals the one that was saved.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }

// take takes in a delivery and what has come since. Status updates in a row are saved together, since a save takes the disk about
// as long for hundreds as for one; then all of them are acknowledged.
func (l *loop) take(ctx context.Context, d delivery, more <-chan delivery) {
	var updates []coordinator.Event
	for left := mostAtOnce; ; left-- {
		if d.conn == l.conn && d.event != nil && d.event.Type == v1.Event_UPDATE {
			l.noteStatus(&d.event.Update.Status)
			updates = append(updates, translate(d.event, wall(time.Now())))
		} else {
			l.updates(ctx, updates)
			updates = nil
			l.deliver(ctx, d)
		}
		var there bool
		if left > 1 {
			d, there = arrived(more)
		}
		if !there {
			l.updates(ctx, updates)
			return
		}
	}
}

// arrived is a delivery that has come already, if there is one.
func arrived(deliveries <-chan delivery) (delivery, bool) {
	select {
	case d := <-deliveries:
		return d, true
	default:
		return delivery{}, false
	}
}

func (l *loop) updates(ctx context.Context, updates []coordinator.Event) {
	if len(updates) > 0 {
		_ = l.handle(ctx, nil, updates...) // a failure to save has dropped the connection
	}
}

// deliver takes in an event of a connection. After a failure to save, the rest of that connection's events is passed over: they
// come again with the next subscription.
func (l *loop) deliver(ctx context.Context, d delivery) {
	switch {
	case d.event == nil:
		l.disconnected(d.conn)
		close(d.taken)
	case d.event.Type == v1.Event_SUBSCRIBED:
		l.subscribed(ctx, d)
	case d.conn == l.conn:
		l.event(ctx, d.event)
	}
}

func (l *loop) subscribed(ctx context.Context, d delivery) {
	if known := l.state.FrameworkID; known != "" && known != d.conn.frameworkID {
		d.conn.drop(fatal{fmt.Errorf("the master registered framework %s, the store says %s: two stores are mixed up", d.conn.frameworkID, known)})
		return
	}
	l.conn = d.conn
	if l.event(ctx, d.event) != nil {
		return
	}
	still := l.scheduler.options.suppressed(l.state)
	if slices.ContainsFunc(d.conn.suppressed, func(role string) bool { return !slices.Contains(still, role) }) {
		l.perform(coordinator.Revive{}, nil) // an operator wanted more while SUBSCRIBE was under way
	}
	d.conn.accepted.Store(true)
	l.count("mooring_subscriptions_total", 1)
	l.log.Info("subscribed", "framework_id", d.conn.frameworkID, "master", d.conn.endpoint.Host)
	l.show(func(v *View) { v.Subscribed, v.Unsubscribed = d.conn.endpoint.Host, "" })
}

func (l *loop) disconnected(conn *connection) {
	if l.conn == conn {
		l.conn = nil
		l.show(func(v *View) { v.Subscribed = "" })
	}
}

func (l *loop) event(ctx context.Context, e *v1.Event) error {
	event := translate(e, wall(time.Now()))
	if event == nil {
		return nil
	}
	l.count("mooring_offers_total", len(e.GetOffers().GetOffers()))
	return l.handle(ctx, offersByID(e), event)
}

// offersByID keeps the offers of an event at hand, for launches that must tell Mesos whose resources they use.
func offersByID(e *v1.Event) map[string]*mesos.Offer {
	all := e.GetOffers().GetOffers()
	byID := make(map[string]*mesos.Offer, len(all))
	for i := range all {
		byID[all[i].ID.Value] = &all[i]
	}
	return byID
}

// handle decides, makes durable, then acts. If saving fails nothing happened: the old state stays in force, and the connection
// is dropped, so that Mesos repeats what was not acknowledged and takes back its offers.
func (l *loop) handle(ctx context.Context, offers map[string]*mesos.Offer, events ...coordinator.Event) error {
	next, actions := l.scheduler.rules.Step(l.state, events...)
	if err := l.save(ctx, next); err != nil {
		l.dropConnection(err)
		return err
	}
	l.state = next
	l.show(func(v *View) { v.State = next })
	for _, a := range actions {
		if err := l.perform(a, offers); err != nil {
			l.dropConnection(err)
			break // what follows is due again after the next subscription
		}
	}
	return nil
}

func (l *loop) save(ctx context.Context, next coordinator.State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := l.scheduler.store.Save(ctx, l.saved, next)
	if err != nil {
		l.saved = coordinator.State{}
		err = fmt.Errorf("save state: %w", err)
		l.count("mooring_failed_saves_total", 1)
		l.log.Error("state not saved", "error", err)
		l.show(func(v *View) { v.StoreError = err.Error() })
		return err
	}
	l.saved = next
	l.show(func(v *View) { v.StoreError = "" })
	return nil
}

func (l *loop) dropConnection(cause error) {
	if l.conn != nil {
		l.conn.drop(cause)
		l.disconnected(l.conn)
	}
}

// perform carries out an action. While there is no subscription it can't be, and need not: the next one begins with all that
// Mesos and we must tell each other.
func (l *loop) perform(a coordinator.Action, offers map[string]*mesos.Offer) error {
	l.record(a)
	if l.conn == nil {
		return nil
	}
	call, err := l.scheduler.options.call(a, offers)
	if err != nil {
		return errors.Join(errors.New("carry out a decision"), err)
	}
	if call != nil {
		l.conn.enqueue(call)
	}
	return nil
}

func (l *loop) show(change func(*View)) {
	l.scheduler.mu.Lock()
	defer l.scheduler.mu.Unlock()
	change(&l.scheduler.view)
}
