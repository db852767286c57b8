package admin

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
)

// metrics are in the text format of Prometheus, version 0.0.4.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := bufio.NewWriter(w)
	defer out.Flush()
	c := s.driver.Counts()
	describe(out, "mooring_store_usable", "gauge", "Whether the store could be used when it was last looked at.")
	fmt.Fprintln(out, "mooring_store_usable", digit(c.StoreUsable))
	describe(out, "mooring_drained", "gauge", "Whether this host refuses new mounts by an operator's order.")
	fmt.Fprintln(out, "mooring_drained", digit(c.Drained))
	describe(out, "mooring_volumes", "gauge", "Volumes known to this host, by state.")
	for _, phase := range slices.Sorted(maps.Keys(c.Phases)) {
		fmt.Fprintf(out, "mooring_volumes{state=%q} %d\n", phase, c.Phases[phase])
	}
	describe(out, "mooring_mounts", "gauge", "Mounts that the engine holds on this host.")
	fmt.Fprintln(out, "mooring_mounts", c.Mounts)
	describe(out, "mooring_leases_held", "gauge", "Volumes that this host may write.")
	fmt.Fprintln(out, "mooring_leases_held", c.Leases)
	if c.Beaten {
		describe(out, "mooring_heartbeat_age_seconds", "gauge", "Time since this host's last heartbeat.")
		fmt.Fprintf(out, "mooring_heartbeat_age_seconds %.3f\n", c.BeatAge.Seconds())
	}
	describe(out, "mooring_calls_total", "counter", "Calls of the engine, by verb and outcome.")
	for _, call := range slices.SortedFunc(maps.Keys(c.Calls), compareCalls) {
		fmt.Fprintf(out, "mooring_calls_total{verb=%q,outcome=%q} %d\n", call.Verb, outcome(call.OK), c.Calls[call])
	}
}

func describe(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func outcome(ok bool) string {
	if ok {
		return "ok"
	}
	return "error"
}

func compareCalls(a, b Call) int {
	return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(outcome(b.OK), outcome(a.OK)))
}
