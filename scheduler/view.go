package scheduler

import (
	"maps"
	"time"

	"mooring/coordinator"
)

// View is what a Scheduler knows at one moment. It is not to be changed.
type View struct {
	State        coordinator.State
	Rules        coordinator.Rules
	Roles        []string                                // of Mesos
	Loaded       bool                                    // the state was read
	Turned       time.Time                               // when the loop was last seen at work, which it is at least every second
	Subscribed   string                                  // host:port of the leading master; empty: no subscription
	Unsubscribed string                                  // why there was no subscription, when that failed last
	StoreError   string                                  // of the latest save; empty: it went well
	Watch        Watch                                   // over hosts' heartbeats
	Leader       string                                  // address of the API of the scheduler that leads; empty: not known, or there is one only
	Standby      bool                                    // another one leads: this is what is saved, and orders go to the leader
	Notes        map[coordinator.NodeID]coordinator.Note // the latest note on each node that waits
	Details      map[coordinator.NodeID]Detail           // of running tasks
}

// Watch is how the watching of hosts' heartbeats goes.
type Watch struct {
	On    bool      // there are heartbeats to look at
	Hosts int       // that are looked at
	Seen  time.Time // latest look at which all could be seen, at first when watching began
	Error string    // what was wrong with the latest look; empty: nothing
}

// Blind tells whether hosts could not be seen for so long that a dead one is found by Mesos only.
func (w Watch) Blind() bool { return w.On && w.Error != "" && time.Since(w.Seen) >= blindAfter }

// blindAfter is how long looks may fail before an operator should know.
const blindAfter = 10 * time.Second

// Detail is what is known of a task beyond the state, for display. It is lost with the scheduler and comes back bit by bit.
type Detail struct {
	Task    string // task ID, to tell details of an earlier launch
	State   string // as Mesos names it
	Version string // of Elasticsearch
}

// View returns what is known now.
func (s *Scheduler) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	v.Notes, v.Details = maps.Clone(v.Notes), maps.Clone(v.Details)
	return v
}

// Counters returns how often what happened since the start, by name.
func (s *Scheduler) Counters() map[string]int64 { return s.counters.values() }
