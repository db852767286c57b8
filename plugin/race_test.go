package plugin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const (
	races = 1000
	lanes = 40 // races at the same time, each for a volume of its own
)

// Two hosts mount the same volume in the same moment, a thousand times, by their sockets: one gets it, and the other is told
// by whom it is held.
func TestTwoHostsRaceAThousandTimes(t *testing.T) {
	store := t.TempDir()
	hosts := map[string]*engine{}
	for _, name := range []string{"hostA", "hostB"} {
		cfg := configure(t, name, store)
		cfg.Shared, cfg.Heartbeat = "true", 200*time.Millisecond // the loser waits for a sign of life of the winner
		hosts[name], _ = serve(t, cfg)
	}
	var all sync.WaitGroup
	wins := make(chan string, races)
	for lane := range lanes {
		all.Go(func() {
			for n := lane; n < races && !t.Failed(); n += lanes {
				if winner := race(t, hosts, fmt.Sprintf("race%d", n)); winner != "" {
					wins <- winner
				}
			}
		})
	}
	all.Wait()
	close(wins)
	won := map[string]int{}
	for winner := range wins {
		won[winner]++
	}
	t.Log("won:", won)
	assert.Equal(t, races, won["hostA"]+won["hostB"])
	assert.Len(t, won, 2, "a race that always has the same winner is none")
}

// race lets both hosts make and mount a volume at once, and returns which one has it.
func race(t *testing.T, hosts map[string]*engine, volume string) (winner string) {
	var mu sync.Mutex
	refused := map[string]string{}
	var ready, done sync.WaitGroup
	ready.Add(len(hosts))
	for name, e := range hosts {
		done.Go(func() {
			e.post("/VolumeDriver.Create", fmt.Sprintf(`{"Name":%q}`, volume))
			ready.Done()
			ready.Wait()
			status, answer := e.post("/VolumeDriver.Mount", fmt.Sprintf(`{"Name":%q,"ID":"id"}`, volume))
			mu.Lock()
			defer mu.Unlock()
			if status == http.StatusOK {
				assert.Empty(t, winner, "%s: %s has it, and so has %s", volume, name, winner)
				winner = name
				return
			}
			var refusal struct{ Err string }
			assert.NoError(t, json.Unmarshal([]byte(answer), &refusal), answer)
			refused[name] = refusal.Err
		})
	}
	done.Wait()
	if !assert.NotEmpty(t, winner, "%s: nobody has it: %v", volume, refused) {
		return ""
	}
	for name, why := range refused {
		assert.Contains(t, why, "held by host "+winner, name)
	}
	status, answer := hosts[winner].post("/VolumeDriver.Unmount", fmt.Sprintf(`{"Name":%q,"ID":"id"}`, volume))
	assert.Equal(t, http.StatusOK, status, answer)
	return winner
}
