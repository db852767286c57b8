package coordinator_test

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/histories"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "tell the story of this one history")
	modelCount = flag.Uint64("model.count", 100_000, "play so many histories")
)

// broken is what is broken on purpose.
type broken struct {
	sameEpoch        bool // a node is launched again under its epoch
	actFirst         bool // the scheduler acts, then saves
	acknowledgeFirst bool // the scheduler acknowledges, then saves
	believes         bool // a save that failed counts as done
	noFence          bool // the store does not ask who leads
	noVersions       bool // the store does not ask what was read
	oldState         bool // a term begins with what the scheduler knew in its last one
	anyEpoch         bool // a report of any epoch counts
	spares           bool // what is of an older epoch is not killed
	keepsOffers      bool // offers that no node needs are not answered
	crowded          bool // two nodes may share a host
	beyondTarget     bool // of each group one node more than wanted is launched
	regroups         bool // an ID that nothing runs under goes over to the group that is scaled
	alike            bool // all nodes get what the default group needs
	namesByGroup     bool // volumes are named by the group of their node, too
	anywhere         bool // what a host must have is not looked at
	together         bool // how many nodes may be in one place is not looked at
	forgetsPlaces    bool // what constraints count of a node's place is forgotten once it runs
	roams            bool // nodes go to other regions
	heedless         bool // nodes are launched where maintenance begins soon
	rushes           bool // all nodes of agents that go down are stopped at once
	keepsNotices     bool // notices of maintenance are not answered
	trusting         bool // volumes count as fencing that are not
	silenceIsDeath   bool // a node that is not heard of counts as over
	forgetsLoose     bool // what an agent has forgotten counts as over
	deaf             bool // what is known of silent hosts is not heeded
	neverAsks        bool // Mesos is not asked for what it knows
	takesForGranted  bool // executors are not asked whether their node has joined
	neverRevives     bool // Mesos is not asked for offers
	reckless         bool // the cluster counts as well, however it is
}

// find plays histories from a seed on until one fails, and returns the first that does.
func find(b broken, first, count uint64) (seed uint64, failure string, total counts) {
	return histories.Find(first, count, func(seed uint64) (counts, string) {
		h := newHistory(seed, b)
		h.play()
		return h.counts, h.failure
	}, (*counts).add)
}

// Agents and their hosts, executors, masters with and without a registry, schedulers, of which two may believe that they lead, the
// store, and messages between all of these fail at any time, while operators give orders. In every other history nodes are of groups that
// need different things, hosts differ, and operators change what is asked of them. A history is known by its seed alone. What is taken for
// granted: that an executor ends what an older launch left on its host; that volumes which fence refuse a second writer; that the store
// does a write as a whole; and that an operator says of a node or a host only what is so.
func TestTheInvariantsHoldInEveryHistory(t *testing.T) {
	if *modelSeed != 0 {
		h := newHistory(*modelSeed, broken{})
		h.story = t.Logf
		h.play()
		require.Empty(t, h.failure)
		return
	}
	count := *modelCount
	if raceDetector || testing.Short() {
		count = 1_000
	}
	began := time.Now()
	seed, failure, total := find(broken{}, 1, count)
	t.Logf("%.0f histories a second: %+v", float64(count)/time.Since(began).Seconds(), total)
	require.Empty(t, failure, "go test ./coordinator -run InvariantsHoldInEveryHistory -v -args -model.seed=%d", seed)
	assert.Greater(t, total.launches, 3*int(count))
	assert.Greater(t, total.grouped, int(count))
	assert.Greater(t, total.terms, 2*int(count))
	for what, n := range map[string]int{"failovers": total.failovers, "fenced writes": total.fenced, "writes that seemed to fail": total.unheard, "late writes": total.late, "removals": total.uninstalled, "moves": total.moves} {
		assert.Greater(t, n, int(count/100), what)
	}
}

// Each rule is needed: without it, some history breaks an invariant.
func TestABrokenRuleIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		broken broken
		says   string // pattern
	}{
		"launched again under its epoch":       {broken{sameEpoch: true}, "epochs only grow"},
		"acts, then saves":                     {broken{actFirst: true}, "nothing is launched that was not saved"},
		"acknowledges, then saves":             {broken{acknowledgeFirst: true}, "nothing is acknowledged that was not saved"},
		"a save that failed counts":            {broken{believes: true}, "that was not saved"},
		"the store does not ask who leads":     {broken{noFence: true}, "epoch"},
		"the store does not ask what was read": {broken{noVersions: true}, "epoch|the number of nodes"},
		"a term begins with what was known":    {broken{oldState: true}, "epoch"},
		"a report of any epoch counts":         {broken{anyEpoch: true}, "a report of an older epoch changes no node"},
		"what is of an older epoch lives":      {broken{spares: true}, "what is of an older epoch is killed"},
		"offers are kept":                      {broken{keepsOffers: true}, "every offer gets one answer"},
		"two nodes share a host":               {broken{crowded: true}, "on one host"},
		"more than the target":                 {broken{beyondTarget: true}, "no group has more nodes than its target"},
		"an ID goes over to another group":     {broken{regroups: true}, "an ID belongs to one group for ever"},
		"all nodes are alike":                  {broken{alike: true}, "a node gets what its group needs"},
		"volumes are named by group":           {broken{namesByGroup: true}, "volumes are named by framework and ID alone"},
		"what hosts must have counts nothing":  {broken{anywhere: true}, "no launch breaks what was asked for: .* constraint .* (is|has) "},
		"nodes are not counted by place":       {broken{together: true}, "no launch breaks what was asked for: .* constraint at most"},
		"places are forgotten":                 {broken{forgetsPlaces: true}, "where a node is stays known"},
		"nodes go to other regions":            {broken{roams: true}, "nodes stay in the master's region"},
		"maintenance is not heeded":            {broken{heedless: true}, "nothing is launched where maintenance begins soon"},
		"all leave at once":                    {broken{rushes: true}, "nodes leave"},
		"notices are not answered":             {broken{keepsNotices: true}, "every notice gets one answer"},
		"volumes count as fencing":             {broken{trusting: true}, "two writers"},
		"silence is death":                     {broken{silenceIsDeath: true}, "two writers|torn down"},
		"what an agent has forgotten is over":  {broken{forgetsLoose: true}, "two writers"},
		"launched on a silent host":            {broken{deaf: true}, "nothing is launched on a silent host"},
		"Mesos is not asked for what it knows": {broken{neverAsks: true}, "after all trouble"},
		"joining is not asked for":             {broken{takesForGranted: true}, "has joined, and the state does not say so"},
		"Mesos is not asked for offers":        {broken{neverRevives: true}, "after all trouble"},
		"the cluster counts as well":           {broken{reckless: true}, "no node is stopped without need"},
	} {
		t.Run(name, func(t *testing.T) {
			count := uint64(20_000)
			if raceDetector {
				count = 500
			}
			seed, failure, total := find(c.broken, 1, count)
			if raceDetector && failure == "" {
				return // rare ones are only found without it
			}
			require.NotEmpty(t, failure, "%+v", total)
			t.Logf("history %d of %d: %s", seed, total.histories, failure)
			assert.Regexp(t, c.says, failure)
		})
	}
}
