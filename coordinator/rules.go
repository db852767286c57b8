package coordinator

import "time"

// Rules are what an operator chose. They may differ from one start of the scheduler to the next; the State may not.
type Rules struct {
	Settings    Settings
	CPUs        int64             // of one node, thousandths
	MemoryMB    int64             // of one node
	MaxPerHost  int               // nodes on one host; 0 means 1
	Require     map[string]string // attributes that an agent must have
	SpreadBy    string            // attribute over whose values nodes are spread; empty: none
	Constraints []Constraint      // further ones
	NeverMaster bool              // nodes of the default group can't be elected
	Groups      []Group           // beside the default one, which the fields above describe
	Roles       []string          // of Mesos, that offers come for; none: one only
	Fencing     bool              // the volumes themselves refuse a second writer
}

const (
	maxSeeds          = 10
	maxInitialMasters = 3 // as many as survive the loss of one, which is all that a first start needs

	stickFor = 30 * time.Second // an ID waits that long for its last agent, whose caches are warm

	backoffFirst  = time.Second
	backoffMost   = 5 * time.Minute
	backoffVolume = 2 * time.Second // a volume held elsewhere becomes free at a time that growing waits would miss
	longRun       = 10 * time.Minute

	setAsideAfter = 3 // different nodes that failed on one agent
	setAsideFor   = 30 * time.Minute

	askFirst   = 5 * time.Second // between explicit reconciliations of a node that nothing was heard of
	askMost    = time.Minute
	listEvery  = 15 * time.Minute // between implicit reconciliations, which find tasks that are not in the state
	killEvery  = 10 * time.Second // a kill may get lost
	reviveMost = 10 * time.Second // between requests for offers while some node lacks one

	refuseUnfit    = 30 * time.Second // while a node waits: the agent may get other free resources
	refuseUnwanted = time.Hour        // nobody waits, and a revive ends it
)

func (r Rules) maxPerHost() int { return max(r.MaxPerHost, 1) }

// backoff is the wait after so many failures in a row.
func backoff(failures int) time.Duration {
	wait := backoffFirst
	for i := 1; i < failures && wait < backoffMost; i++ {
		wait *= 2
	}
	return min(wait, backoffMost)
}
