package scheduler

import (
	"fmt"
	"runtime"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

const (
	manyAgents = 10000
	manyNodes  = 1000
)

// manyOffers is one event as a master with many idle agents sends it.
func manyOffers(b *testing.B) []byte {
	event := &v1.Event{Type: v1.Event_OFFERS, Offers: &v1.Event_Offers{}}
	role := &mesos.Resource_AllocationInfo{Role: ptr("es")}
	scalar := func(name string, value float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value}, Role: ptr("*"), AllocationInfo: role}
	}
	for i := range manyAgents {
		event.Offers.Offers = append(event.Offers.Offers, mesos.Offer{
			ID:          mesos.OfferID{Value: fmt.Sprintf("c9dda2dd-2f50-477b-bda9-223df131b223-O%d", i)},
			FrameworkID: mesos.FrameworkID{Value: "c9dda2dd-2f50-477b-bda9-223df131b223-0001"},
			AgentID:     mesos.AgentID{Value: fmt.Sprintf("c9dda2dd-2f50-477b-bda9-223df131b223-S%d", i)},
			Hostname:    fmt.Sprintf("agent%d.example.org", i),
			URL:         &mesos.URL{Scheme: "http", Address: mesos.Address{IP: ptr(fmt.Sprintf("10.0.%d.%d", i/250, i%250)), Port: 5051}},
			Resources: []mesos.Resource{
				scalar("cpus", 16), scalar("mem", 65536), scalar("disk", 1e6),
				{Name: "ports", Type: mesos.RANGES.Enum(), Role: ptr("*"), AllocationInfo: role,
					Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 31000, End: 32000}}}},
			},
			Attributes: []mesos.Attribute{
				{Name: "rack", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: fmt.Sprintf("r%d", i%40)}},
				{Name: "zone", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: fmt.Sprintf("z%d", i%3)}},
			},
			AllocationInfo: role,
		})
	}
	record, err := event.Marshal()
	require.NoError(b, err)
	return record
}

func manyRules() coordinator.Rules {
	return coordinator.Rules{CPUs: 4000, MemoryMB: 32768, SpreadBy: "zone", Fencing: true, Settings: coordinator.Settings{
		Cluster: "logs", Image: "elasticsearch:8.19.5", Driver: "mooring", ConfigPath: "/tmp/config", DataPath: "/data", StopSeconds: 120,
	}}
}

// BenchmarkTenThousandOffers decodes 10,000 offers of one event, decides, and encodes the answers. It decides about 1,000
// nodes: once all of them wait, once all run and nothing is wanted.
func BenchmarkTenThousandOffers(b *testing.B) {
	record := manyOffers(b)
	o := Options{Containerizer: MesosContainerizer, User: "root", ArtifactURL: "http://s:31100/v1/artifact/mooring"}
	for name, state := range map[string]coordinator.State{"all wait": waiting(), "all run": running(b, record)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			launches := 0
			for b.Loop() {
				launches = answerOffers(b, o, state, record)
			}
			b.ReportMetric(float64(launches), "launches")
			b.ReportMetric(float64(len(record))/1e6, "MB/event")
		})
	}
}

func waiting() coordinator.State {
	s, _ := manyRules().Step(coordinator.NewState("es", manyNodes), coordinator.Subscribed{At: at, FrameworkID: "f"})
	return s
}

// running is the state after all nodes were launched and answered.
func running(b *testing.B, record []byte) coordinator.State {
	var event v1.Event
	require.NoError(b, event.Unmarshal(record))
	s, _ := manyRules().Step(waiting(), translate(&event, at))
	for _, n := range s.Nodes {
		s, _ = manyRules().Step(s, coordinator.Report{
			At: at, Task: coordinator.TaskID("es", n.ID, n.Epoch), Agent: n.Place.Agent, Outcome: coordinator.Alive, Ready: true, Cluster: "uuid",
		})
	}
	return s
}

func answerOffers(b *testing.B, o Options, s coordinator.State, record []byte) (launches int) {
	var event v1.Event
	require.NoError(b, event.Unmarshal(record))
	offers := offersByID(&event)
	_, actions := manyRules().Step(s, translate(&event, at))
	for _, a := range actions {
		call, err := o.call(a, offers)
		require.NoError(b, err)
		if call == nil {
			continue
		}
		if call.Type == v1.Call_ACCEPT {
			launches++
		}
		call.FrameworkID = frameworkID("f")
		_, err = call.Marshal()
		require.NoError(b, err)
	}
	return launches
}

// BenchmarkMemory reports what the heap holds of 1,000 running nodes between events, and while 10,000 offers are answered.
func BenchmarkMemory(b *testing.B) {
	record := manyOffers(b)
	state := running(b, record)
	before := heap()
	for b.Loop() {
		var event v1.Event
		require.NoError(b, event.Unmarshal(record))
		translated := translate(&event, at)
		offers := offersByID(&event)
		next, actions := manyRules().Step(state, translated)
		b.ReportMetric(float64(heap()-before)/1e6, "MB_answering")
		runtime.KeepAlive([]any{&event, translated, offers, next, actions})
	}
	b.ReportMetric(float64(before)/1e6, "MB_between")
	runtime.KeepAlive(state)
}

// heap is what is in use, garbage excepted.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
