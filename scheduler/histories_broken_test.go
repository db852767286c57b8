package scheduler_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
	"mooring/test/histories"
)

// broken is what is broken on purpose.
type broken struct {
	noFence    bool                                       // the store does not ask who leads
	noVersions bool                                       // the store does not ask what was read
	unwatched  bool                                       // only what comes of a write is looked at, not who writes
	forgets    func(before, after coordinator.State) bool // what the store says it saved, and did not
}

const untilNoticed = 1000 // histories

// The random histories are good for something only if they notice what is broken.
func TestRandomHistoriesNoticeABrokenStore(t *testing.T) {
	for name, b := range map[string]broken{
		"it does not ask who leads":      {noFence: true},
		"it does not ask what was read":  {noVersions: true},
		"it asks neither":                {noFence: true, noVersions: true},
		"what comes of that":             {noFence: true, noVersions: true, unwatched: true},
		"it forgets the number of nodes": {forgets: forgetsTarget},
		"it forgets launches":            {forgets: forgetsLaunch},
	} {
		t.Run(name, func(t *testing.T) {
			seed, failure, _ := histories.Find(1, untilNoticed, func(seed uint64) (counts, string) { return play(t, seed, b, nil) }, (*counts).add)
			assert.NotEmpty(t, failure, "nothing was noticed")
			t.Logf("%d: %s", seed, strings.SplitN(failure, "; ", 2)[0])
		})
	}
}

func forgetsTarget(before, after coordinator.State) bool { return before.Target != after.Target }

func forgetsLaunch(before, after coordinator.State) bool {
	for i, n := range before.Nodes {
		if after.Nodes[i].Epoch > n.Epoch {
			return true
		}
	}
	return false
}
