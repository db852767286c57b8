package scheduler

import (
	"fmt"
	"slices"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// pool is what is left of the resources of accepted offers. What is carved out of it keeps its reservation and allocation, as
// Mesos demands.
type pool []mesos.Resource

// newPool joins the usable resources of several offers, those first that the fewest others could use: what is reserved in the
// narrowest way, by most refinements.
func newPool(offers []*mesos.Offer) pool {
	var p pool
	for _, o := range offers {
		for _, r := range o.Resources {
			if usable(&r) {
				p = append(p, r)
			}
		}
	}
	slices.SortStableFunc(p, func(a, b mesos.Resource) int { return len(b.Reservations) - len(a.Reservations) })
	return p
}

// takeScalar carves an amount, in thousandths, out of the resources of a name.
func (p pool) takeScalar(name string, amount int64) ([]mesos.Resource, error) {
	var pieces []mesos.Resource
	for i := range p {
		left := thousandths(p[i].GetScalar().GetValue())
		if p[i].Name != name || left <= 0 || amount <= 0 {
			continue
		}
		part := min(left, amount)
		pieces = append(pieces, withScalar(p[i], part))
		p[i] = withScalar(p[i], left-part)
		amount -= part
	}
	if amount > 0 {
		return nil, fmt.Errorf("offers lack %g %s", float64(amount)/1000, name)
	}
	return pieces, nil
}

func withScalar(r mesos.Resource, thousandths int64) mesos.Resource {
	r.Scalar = &mesos.Value_Scalar{Value: float64(thousandths) / 1000}
	return r
}

// takePorts cuts single ports out of the ranges.
func (p pool) takePorts(ports []int) ([]mesos.Resource, error) {
	var pieces []mesos.Resource
	for _, port := range ports {
		piece, err := p.takePort(uint64(port))
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece)
	}
	return pieces, nil
}

func (p pool) takePort(port uint64) (mesos.Resource, error) {
	for i := range p {
		if p[i].Name != "ports" {
			continue
		}
		ranges := p[i].GetRanges().GetRange()
		for j, r := range ranges {
			if r.Begin <= port && port <= r.End {
				p[i] = withRanges(p[i], slices.Concat(ranges[:j], without(r, port), ranges[j+1:]))
				return withRanges(p[i], []mesos.Value_Range{{Begin: port, End: port}}), nil
			}
		}
	}
	return mesos.Resource{}, fmt.Errorf("port %d is not in the offers", port)
}

func withRanges(r mesos.Resource, ranges []mesos.Value_Range) mesos.Resource {
	r.Ranges = &mesos.Value_Ranges{Range: ranges}
	return r
}

func without(r mesos.Value_Range, port uint64) []mesos.Value_Range {
	var rest []mesos.Value_Range
	if r.Begin < port {
		rest = append(rest, mesos.Value_Range{Begin: r.Begin, End: port - 1})
	}
	if port < r.End {
		rest = append(rest, mesos.Value_Range{Begin: port + 1, End: r.End})
	}
	return rest
}
