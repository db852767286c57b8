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

// Probes answers what may be asked of a driver by anybody: GET /metrics, /healthz and /readyz. It changes nothing and names no volume.
func Probes(d Driver) http.Handler {
	s := &server{driver: d}
	mux := http.NewServeMux()
	s.probes(mux)
	return mux
}

func (s *server) probes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /metrics", s.metrics)
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if err := s.driver.Health(); err != nil {
		http.Error(w, oneLine(err.Error()), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
	if s.driver.Counts().Drained {
		io.WriteString(w, "drained: new mounts are refused\n")
	}
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.driver.Ready(); err != nil {
		http.Error(w, oneLine(err.Error()), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// metrics are in the text format of Prometheus, version 0.0.4. docs/operating-volumes.md lists them, too.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := bufio.NewWriter(w)
	defer out.Flush()
	c := s.driver.Counts()
	write := func(name, kind, help string, series ...string) {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, one := range series {
			fmt.Fprintf(out, "%s%s\n", name, one)
		}
	}
	write("mooring_store_usable", "gauge", "Whether the store could be used when it was last looked at.", digit(c.StoreUsable))
	write("mooring_drained", "gauge", "Whether this host refuses new mounts by an operator's order.", digit(c.Drained))
	write("mooring_volumes", "gauge", "Volumes known to this host, by state.", phases(c.Phases)...)
	write("mooring_mounts", "gauge", "Mounts that the engine holds on this host.", fmt.Sprintf(" %d", c.Mounts))
	write("mooring_leases_held", "gauge", "Volumes that this host may write.", fmt.Sprintf(" %d", c.Leases))
	if c.Beaten {
		write("mooring_heartbeat_age_seconds", "gauge", "Time since this host's last heartbeat.", fmt.Sprintf(" %.3f", c.BeatAge.Seconds()))
	}
	write("mooring_guard_present", "gauge", "Whether the guard answered when it was last asked.", digit(c.GuardAnswers))
	write("mooring_guard_independent", "gauge", "Whether the guard outlives the driver; else nobody takes this host's volumes over by time.", digit(c.GuardStays))
	write("mooring_fences_total", "counter", "Volumes in use that the guard has fenced.", fmt.Sprintf(" %d", c.Fences))
	write("mooring_takeovers_total", "counter", "Volumes taken from hosts that had not given them back.",
		fmt.Sprintf(`{by="silence"} %d`, c.TakenFromSilent), fmt.Sprintf(`{by="order"} %d`, c.TakenByOrder))
	write("mooring_leases_lost_total", "counter", "Volumes that another host took while this one had them.", fmt.Sprintf(" %d", c.LeasesLost))
	write("mooring_calls_total", "counter", "Calls of the engine, by verb and outcome.", calls(c.Calls)...)
}

func phases(counts map[string]int) []string {
	var series []string
	for _, phase := range slices.Sorted(maps.Keys(counts)) {
		series = append(series, fmt.Sprintf("{state=%q} %d", phase, counts[phase]))
	}
	return series
}

func calls(counts map[Call]uint64) []string {
	var series []string
	for _, call := range slices.SortedFunc(maps.Keys(counts), compareCalls) {
		series = append(series, fmt.Sprintf("{verb=%q,outcome=%q} %d", call.Verb, outcome(call.OK), counts[call]))
	}
	return series
}

func digit(b bool) string {
	if b {
		return " 1"
	}
	return " 0"
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
