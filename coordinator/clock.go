package coordinator

import "time"

// mendTimes takes back what lies ahead of the clock. That of this machine was set back, or it is behind that of a scheduler before:
// without this, nothing would be due until the clock is there again.
func (t *turn) mendTimes() {
	s := &t.state
	for _, at := range []*time.Time{&s.Subscribed, &s.Listed, &s.Revived, &s.Removing, &s.TornDown} {
		t.notAfter(at, 0)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for _, at := range []*time.Time{&n.Since, &n.Asked, &n.Killed, &n.HealthAt} {
			t.notAfter(at, 0)
		}
		t.notAfter(&n.NotBefore, max(backoff(n.Failures), backoffVolume))
	}
	for id, a := range s.Agents {
		t.notAfter(&a.NotBefore, a.backoff())
		s.Agents[id] = a
	}
	for host, silence := range s.Silent {
		t.notAfter(&silence.Since, 0)
		s.Silent[host] = silence
	}
	for agent, w := range s.Leaving {
		t.notAfter(&w.Heard, 0)
		s.Leaving[agent] = w
	}
}

// notAfter moves a time that is later than so long from now.
func (t *turn) notAfter(at *time.Time, ahead time.Duration) {
	if latest := t.now.Add(ahead); at.After(latest) {
		*at = latest
	}
}
