package scheduler

import (
	"maps"
	"sync"
)

// counters count what happened. Names are those of Prometheus, with labels.
type counters struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (c *counters) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int64{}
	}
	c.counts[name] += int64(n)
}

func (c *counters) values() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	values := make(map[string]int64, len(c.counts))
	maps.Copy(values, c.counts)
	return values
}
