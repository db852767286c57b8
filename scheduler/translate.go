package scheduler

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"mooring/coordinator"
)

// translate turns an event of the master into one of the rules; nil for events that mean nothing to them.
func translate(e *v1.Event, at time.Time) coordinator.Event {
	switch e.Type {
	case v1.Event_SUBSCRIBED:
		region, _, _ := domain(e.Subscribed.GetMasterInfo().GetDomain())
		return coordinator.Subscribed{At: at, FrameworkID: e.Subscribed.GetFrameworkID().GetValue(), Region: region}
	case v1.Event_OFFERS:
		return offers(e.GetOffers().GetOffers(), at)
	case v1.Event_RESCIND:
		return coordinator.Rescinded{Offer: e.Rescind.OfferID.Value}
	case v1.Event_UPDATE:
		return report(&e.Update.Status, at)
	case v1.Event_FAILURE:
		return failure(e.Failure, at)
	case v1.Event_INVERSE_OFFERS:
		return maintenance(e.GetInverseOffers().GetInverseOffers(), at)
	}
	return nil // HEARTBEAT, MESSAGE, rescinded inverse offers (none is kept open), operations; ERROR ends the subscription before it comes here
}

// failure passes over lost executors: an update of their task follows.
func failure(f *v1.Event_Failure, at time.Time) coordinator.Event {
	if f.ExecutorID != nil || f.AgentID == nil {
		return nil
	}
	return coordinator.AgentLost{At: at, Agent: f.AgentID.Value}
}

func offers(from []mesos.Offer, at time.Time) coordinator.Offers {
	all := make([]coordinator.Offer, len(from))
	for i := range from {
		all[i] = offer(&from[i], at)
	}
	return coordinator.Offers{At: at, Offers: all}
}

func offer(o *mesos.Offer, at time.Time) coordinator.Offer {
	sum := coordinator.Offer{
		ID:          o.ID.Value,
		Agent:       o.AgentID.Value,
		Host:        host(o),
		Role:        o.GetAllocationInfo().GetRole(),
		Attributes:  attributes(o),
		Unavailable: unavailable(o.Unavailability, at),
	}
	var memory, reservedMemory int64
	for i := range o.Resources {
		r := &o.Resources[i]
		if !usable(r) {
			continue
		}
		amount, reserved := thousandths(r.GetScalar().GetValue()), len(r.Reservations) > 0
		switch {
		case r.Name == "cpus" && reserved:
			sum.Reserved.CPUs += amount
			fallthrough
		case r.Name == "cpus":
			sum.CPUs += amount
		case r.Name == "mem" && reserved:
			reservedMemory += amount
			fallthrough
		case r.Name == "mem":
			memory += amount
		case r.Name == "ports":
			sum.Ports = append(sum.Ports, portRanges(r.GetRanges().GetRange())...)
		}
	}
	sum.MemoryMB, sum.Reserved.MemoryMB = memory/1000, reservedMemory/1000
	return sum
}

// host is the address that nodes on this agent bind to and publish. The host name that Mesos knows may resolve to nothing here.
func host(o *mesos.Offer) string {
	if o.URL != nil && o.URL.Address.IP != nil {
		return *o.URL.Address.IP
	}
	return o.Hostname
}

// usable leaves out what Mesos may take away again and what has another purpose than running one task.
func usable(r *mesos.Resource) bool {
	return r.Revocable == nil && r.Shared == nil && r.Disk == nil && r.ProviderID == nil
}

// thousandths is how Mesos itself compares scalars (Mesos 1.11: common/values.cpp, fixed point of three digits).
func thousandths(value float64) int64 { return int64(math.Round(value * 1000)) }

func portRanges(ranges []mesos.Value_Range) []coordinator.PortRange {
	ports := make([]coordinator.PortRange, len(ranges))
	for i, r := range ranges {
		ports[i] = coordinator.PortRange{First: int(r.Begin), Last: int(r.End)}
	}
	return ports
}

// attributes are those of the agent, and its fault domain.
func attributes(o *mesos.Offer) map[string]string {
	region, zone, there := domain(o.Domain)
	if len(o.Attributes) == 0 && !there {
		return nil
	}
	all := make(map[string]string, len(o.Attributes)+2)
	for _, a := range o.Attributes {
		all[a.Name] = attribute(a)
	}
	if there {
		all[coordinator.AtRegion], all[coordinator.AtZone] = region, zone
	}
	return all
}

// domain is where something is, as far as it has a fault domain.
func domain(d *mesos.DomainInfo) (region, zone string, there bool) {
	f := d.GetFaultDomain()
	if f == nil {
		return "", "", false
	}
	return f.Region.Name, f.Zone.Name, true
}

// attribute is written as in the --attributes flag of an agent.
func attribute(a mesos.Attribute) string {
	switch a.Type {
	case mesos.TEXT:
		return a.GetText().GetValue()
	case mesos.SCALAR:
		return strconv.FormatFloat(a.GetScalar().GetValue(), 'f', -1, 64)
	case mesos.SET:
		return "{" + strings.Join(a.GetSet().GetItem(), ",") + "}"
	}
	var ranges []string
	for _, r := range a.GetRanges().GetRange() {
		ranges = append(ranges, fmt.Sprintf("%d-%d", r.Begin, r.End))
	}
	return "[" + strings.Join(ranges, ",") + "]"
}

func unavailable(u *mesos.Unavailability, at time.Time) bool {
	return u != nil && window(*u).Near(at)
}

func window(u mesos.Unavailability) coordinator.Window {
	w := coordinator.Window{Start: wall(time.Unix(0, u.Start.Nanoseconds))}
	if u.Duration != nil {
		w.End = w.Start.Add(time.Duration(u.Duration.Nanoseconds))
	}
	return w
}

// maintenance is what inverse offers announce. One without an agent would ask for everything everywhere; Mesos 1.11 sends none.
func maintenance(offers []mesos.InverseOffer, at time.Time) coordinator.Maintenance {
	m := coordinator.Maintenance{At: at}
	for _, o := range offers {
		m.Notices = append(m.Notices, coordinator.Notice{ID: o.OfferID.Value, Agent: o.GetAgentID().GetValue(), Window: window(o.Unavailability)})
	}
	return m
}
