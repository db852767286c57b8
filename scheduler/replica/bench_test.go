package replica_test

import (
	"fmt"
	"syscall"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/test/zookeeper"
)

// BenchmarkLeaderDeath is the time from the death of the scheduler that leads, which takes an agent with it, until the next one
// launches the lost node elsewhere.
func BenchmarkLeaderDeath(b *testing.B) {
	server, round := zookeeper.Run(b), 0
	for b.Loop() {
		b.StopTimer()
		round++
		p := newPair(b, server, fmt.Sprintf("/death%d", round))
		lost, launched := p.first.nodes()[0].Place.Agent, len(p.master.Calls(v1.Call_ACCEPT))
		b.StartTimer()
		p.first.signal(syscall.SIGKILL)
		p.master.LoseAgent(lost)
		eventually(b, func() bool { return len(p.master.Calls(v1.Call_ACCEPT)) > launched }, "the lost node is launched elsewhere")
		b.StopTimer()
		eventually(b, func() bool { return settled(p.master, 2) }, "two nodes run")
		neverTwice(b, p.master, p.next)
		p.next.signal(syscall.SIGKILL)
		b.StartTimer()
	}
}

// BenchmarkLeaderStop is the time from the order to the scheduler that leads to stop until the next one leads and is subscribed.
func BenchmarkLeaderStop(b *testing.B) {
	server, round := zookeeper.Run(b), 0
	for b.Loop() {
		b.StopTimer()
		round++
		p := newPair(b, server, fmt.Sprintf("/stop%d", round))
		before, _ := p.master.Subscribed()
		b.StartTimer()
		p.first.signal(syscall.SIGTERM)
		eventually(b, func() bool { n, now := p.master.Subscribed(); return now && n > before }, "the next one is subscribed")
		b.StopTimer()
		neverTwice(b, p.master, p.next)
		p.next.signal(syscall.SIGKILL)
		b.StartTimer()
	}
}
