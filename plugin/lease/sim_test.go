package lease_test

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/histories"
)

var (
	simSeed   = flag.Uint64("sim.seed", 0, "tell the story of this one history")
	simFreeze = flag.Bool("sim.freeze", false, "of a world whose hosts freeze")
)

// freezing is a world whose hosts may freeze for long, and whose store can clone.
func freezing() rules { return rules{freeze: time.Minute} }

// find runs histories from a seed on until one fails, and returns the first that does.
func find(r rules, first, count uint64) (seed uint64, failure string, total counts) {
	return histories.Find(first, count, func(seed uint64) (counts, string) {
		h := newHistory(seed, r)
		h.play()
		return h.counts, h.failure
	}, (*counts).add)
}

// Hosts with clocks that drift, and are put forward or stopped, share a store whose answers are late, lost
// or old; guards, plugins and hosts are paused and killed at any time; links break. A history is known by
// its seed alone. What is taken for granted: Drift, FenceTime and Stale; that a store makes one name once,
// and shows a host its own changes; that a guard doesn't die while its plugin doesn't run; that an operator
// orders takeovers from dead hosts only; and that the image is cloned where a host may freeze for longer.
func TestNeverTwoWritersInAnyHistory(t *testing.T) {
	if *simSeed != 0 {
		r := rules{}
		if *simFreeze {
			r = freezing()
		}
		h := newHistory(*simSeed, r)
		h.story = t.Logf
		h.play()
		require.Empty(t, h.failure)
		return
	}
	count := uint64(50_000)
	if raceDetector || testing.Short() {
		count = 1_000
	}
	for name, r := range map[string]rules{"": {}, " -sim.freeze": freezing()} {
		began := time.Now()
		seed, failure, total := find(r, 1, count)
		t.Logf("%.0f histories a second: %+v", float64(count)/time.Since(began).Seconds(), total)
		require.Empty(t, failure, "go test ./plugin/lease -run NeverTwoWriters -v -args -sim.seed=%d%s", seed, name)
		assert.Greater(t, total.takeovers, int(count/10))
	}
}

// Each rule and each assumption is needed: without it, some history has two writers. Rare ones are only
// found without the race detector.
func TestEveryRuleIsNeeded(t *testing.T) {
	for name, r := range map[string]rules{
		"taken before the holder has fenced itself": {take: 11 * time.Second},
		"heartbeat counted from its confirmation":   {fromConfirmation: true},
		"time stamps of another clock":              {wallClock: true},
		"unattended lease taken by time":            {unattendedByTime: true},
		"unguarded lease taken by time":             {unguardedByTime: true},
		"epoch created by rename":                   {renamedEpoch: true},
		"pruned epoch created again":                {noSecondLook: true},
		"time without a look counted":               {noGap: true, freeze: time.Minute},
		"time of the read counted":                  {readEnd: true, noGap: true},
		"fenced host goes on under its lease":       {keepAfterFence: true},
		"time before the lease counted":             {noAge: true},
		"lapse before admission forgotten":          {noLapses: true},
		"mount not confirmed":                       {noConfirm: true},
		"new guard counts from its start":           {freshGuard: true},
		"held lease rewritten as unattended":        {leftByRewrite: true},
		"lease held before it is guarded":           {heldFirst: true},
		"released before unmounted":                 {releaseFirst: true},
		"no clone of a frozen host's image":         {noClone: true, freeze: time.Minute},
		"owed clone forgotten":                      {debtForgotten: true, freeze: time.Minute},
		"takeover ordered from a living host":       {lyingOperator: true},
		"clocks that differ more":                   {drift: 40},
		"answers that are older":                    {stale: 15 * time.Second},
		"guard dies without a plugin":               {bothFail: true},
		"guard that is late":                        {stall: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			count := uint64(200_000)
			if raceDetector {
				count = 500
			}
			seed, failure, total := find(r, 1, count)
			if raceDetector && failure == "" {
				return
			}
			require.NotEmpty(t, failure, "%+v", total)
			t.Logf("history %d of %d: %s", seed, total.histories, failure)
		})
	}
}
