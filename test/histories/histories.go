// Package histories plays the histories of a model, each known by its seed, on all processors.
package histories

import (
	"runtime"
	"sync"
)

// Find plays histories from a seed on until one fails, and returns the first that does, with what play counted in all of them. Play
// returns why a history failed, "" if it did not.
func Find[Counts any](first, count uint64, play func(seed uint64) (Counts, string), add func(total *Counts, one Counts)) (seed uint64, failure string, total Counts) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next, end := first, first+count
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var mine Counts
			for {
				mu.Lock()
				s, over := next, next >= end
				next++
				mu.Unlock()
				if over {
					break
				}
				counts, failed := play(s)
				add(&mine, counts)
				if failed != "" {
					mu.Lock()
					if failure == "" || s < seed {
						seed, failure = s, failed
					}
					end = min(end, s)
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			add(&total, mine)
		})
	}
	all.Wait()
	return seed, failure, total
}
