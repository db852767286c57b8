package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"mooring/coordinator"
	"mooring/scheduler"
)

// families are all metrics there are, in order: docs/operating-nodes.md lists them, too.
var families = []struct{ name, kind, help string }{
	{"mooring_problems", "gauge", "Things that are wrong, as mooring status lists them."},
	{"mooring_nodes_wanted", "gauge", "Nodes wanted."},
	{"mooring_nodes_ready", "gauge", "Nodes that have joined the cluster."},
	{"mooring_group_wanted", "gauge", "Nodes wanted, by group."},
	{"mooring_group_ready", "gauge", "Nodes that have joined the cluster, by group."},
	{"mooring_cluster_health", "gauge", "1 for what the Elasticsearch cluster is, as its elected master told last; no series while nobody tells."},
	{"mooring_cluster_shards", "gauge", "Shards by what is wrong with them; those delayed are counted in those unassigned, too."},
	{"mooring_nodes_held", "gauge", "Nodes that wait for an operator's word."},
	{"mooring_nodes_moving", "gauge", "Nodes that must leave a host under maintenance, or are leaving it."},
	{"mooring_nodes", "gauge", "Nodes by phase."},
	{"mooring_node_epoch", "counter", "Launches of each node so far."},
	{"mooring_agents_waiting", "gauge", "Agents left alone after failures there."},
	{"mooring_hosts_watched", "gauge", "Hosts whose heartbeats are looked at."},
	{"mooring_hosts_silent", "gauge", "Hosts whose heartbeat stands still."},
	{"mooring_heartbeats_seen", "gauge", "0 while the heartbeats of hosts are to be looked at, but cannot be seen."},
	{"mooring_subscribed", "gauge", "1 while there is a subscription with a Mesos master."},
	{"mooring_leading", "gauge", "1 on the scheduler that leads, 0 on one that stands by."},
	{"mooring_store_ok", "gauge", "0 after a save that failed."},
	{"mooring_uninstalling", "gauge", "1 once the framework is to be uninstalled."},
	{"mooring_subscriptions_total", "counter", "Subscriptions with a Mesos master."},
	{"mooring_orders_total", "counter", "Orders of operators."},
	{"mooring_failed_saves_total", "counter", "Saves of the state that failed."},
	{"mooring_offers_total", "counter", "Offers received."},
	{"mooring_offers_declined_total", "counter", "Offers declined, by reason."},
	{"mooring_launches_total", "counter", "Launches."},
	{"mooring_kills_total", "counter", "Kills sent, repeated ones included."},
	{"mooring_updates_total", "counter", "Task states received, by state."},
	{"mooring_reconciliations_total", "counter", "Requests for task states."},
	{"mooring_silences_total", "counter", "How often a host fell silent."},
	{"mooring_maintenance_answers_total", "counter", "Answers to announced maintenance, by whether nodes could leave."},
}

// metrics writes counters and gauges in the text format of Prometheus.
func (a *server) metrics(w http.ResponseWriter, _ *http.Request) {
	v := a.scheduler.View()
	values := a.scheduler.Counters()
	gauges(v, values)
	byFamily := map[string][]string{}
	for _, series := range slices.Sorted(maps.Keys(values)) {
		name, _, _ := strings.Cut(series, "{")
		byFamily[name] = append(byFamily[name], fmt.Sprintf("%s %d\n", series, values[series]))
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, f := range families {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", f.name, f.help, f.name, f.kind, strings.Join(byFamily[f.name], ""))
	}
}

// gauges adds what is so now to what was counted. What never happened was counted 0 times, unless it has labels.
func gauges(v scheduler.View, values map[string]int64) {
	for _, f := range families {
		if _, known := values[f.name]; !known && !slices.Contains(labelled, f.name) {
			values[f.name] = 0
		}
	}
	values["mooring_problems"] = int64(len(problems(v)))
	values["mooring_nodes_wanted"] = int64(v.State.Total())
	for _, g := range groupsOf(v) {
		values[fmt.Sprintf("mooring_group_wanted{group=%q}", g.Name)], values[fmt.Sprintf("mooring_group_ready{group=%q}", g.Name)] = int64(g.Target), int64(g.Ready)
	}
	measureHealth(v, values)
	values["mooring_subscribed"], values["mooring_store_ok"] = flag(v.Subscribed != ""), flag(v.StoreError == "")
	values["mooring_leading"] = flag(v.Loaded && !v.Standby)
	values["mooring_uninstalling"] = flag(v.State.Removal != coordinator.Installed)
	values["mooring_hosts_watched"], values["mooring_hosts_silent"] = int64(v.Watch.Hosts), int64(len(v.State.Silent))
	values["mooring_heartbeats_seen"] = flag(!v.Watch.Blind())
	for _, agent := range v.State.Agents {
		values["mooring_agents_waiting"] += flag(time.Until(agent.NotBefore) > 0)
	}
	for _, phase := range []coordinator.Phase{coordinator.Vacant, coordinator.Claimed, coordinator.Running, coordinator.Lost} {
		values[fmt.Sprintf("mooring_nodes{phase=%q}", phase)] = 0
	}
	for _, n := range v.State.Nodes {
		values[fmt.Sprintf("mooring_nodes{phase=%q}", n.Phase)]++
		values["mooring_nodes_ready"] += flag(n.Ready)
		values["mooring_nodes_held"] += flag(n.Held != "")
		values["mooring_nodes_moving"] += flag(n.Intent == coordinator.Move || v.State.MustMove(n, time.Now()))
		values[fmt.Sprintf("mooring_node_epoch{node=\"%d\"}", n.ID)] = int64(n.Epoch)
	}
}

// labelled are the families whose values all have labels.
var labelled = []string{
	"mooring_nodes", "mooring_cluster_health", "mooring_cluster_shards", "mooring_node_epoch", "mooring_group_wanted", "mooring_group_ready", "mooring_offers_declined_total", "mooring_updates_total", "mooring_maintenance_answers_total",
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
