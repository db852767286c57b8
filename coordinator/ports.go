package coordinator

// The usual ports of Elasticsearch, taken where they are offered.
const (
	usualHTTP      = 9200
	usualTransport = 9300
)

// hasPorts tells whether two different ports are in the ranges.
func hasPorts(ranges []PortRange) bool { return pickPorts(ranges) != nil }

// pickPorts picks the HTTP and the transport port: the usual ones if they are there, else the lowest. It returns nil if the
// ranges hold less than two.
func pickPorts(ranges []PortRange) []int {
	http, transport := 0, 0
	if contains(ranges, usualHTTP) {
		http = usualHTTP
	}
	if contains(ranges, usualTransport) {
		transport = usualTransport
	}
	if http == 0 {
		http = lowest(ranges, transport)
	}
	if transport == 0 {
		transport = lowest(ranges, http)
	}
	if http == 0 || transport == 0 {
		return nil
	}
	return []int{http, transport}
}

func contains(ranges []PortRange, port int) bool {
	for _, r := range ranges {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// lowest is the lowest port in the ranges but one, 0 if there is none.
func lowest(ranges []PortRange, but int) int {
	best := 0
	for _, r := range ranges {
		port := r.First
		if port == but {
			port++
		}
		if port <= r.Last && (best == 0 || port < best) {
			best = port
		}
	}
	return best
}
