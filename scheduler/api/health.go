package api

import (
	"fmt"
	"time"

	"mooring/coordinator"
	"mooring/scheduler"
)

const green = "green" // the status of a cluster in which no copy of a document is missing

// Health is that of the Elasticsearch cluster, as the executor of its elected master told it last.
type Health struct {
	coordinator.Health
	Told time.Time          `json:"told"` // when it changed last
	By   coordinator.NodeID `json:"by"`   // the elected master
}

// healthOf is nil while nobody tells it.
func healthOf(v scheduler.View) *Health {
	h, at, by := v.State.Health()
	if by == 0 {
		return nil
	}
	return &Health{h, at, by}
}

// problemsOfHealth is that documents cannot be reached.
func problemsOfHealth(v scheduler.View) []Problem {
	h, _, by := v.State.Health()
	if by == 0 || !h.Red() {
		return nil
	}
	do := "bring the nodes back that are not ready: most likely their volumes have what is missing"
	switch {
	case len(v.State.Unwell()) > 0:
	case h.Initializing > 0:
		do = "wait: shards are being recovered"
	default:
		at := v.State.Nodes[by-1].Place
		do = fmt.Sprintf("ask Elasticsearch why: `curl http://%s/_cluster/allocation/explain`; shards that failed too often are tried again with `curl -X POST http://%s/_cluster/reroute?retry_failed=true`",
			coordinator.Address(at.Host, at.HTTPPort), coordinator.Address(at.Host, at.HTTPPort))
		if stopped := stoppedForGood(v); len(stopped) > 0 {
			do = fmt.Sprintf("nodes %v were retired or scaled down: if only their volumes have what is missing, run them again (`mooring keep N`, or a larger `mooring scale`). Otherwise ", stopped) + do
		}
	}
	return []Problem{{What: fmt.Sprintf("the cluster is %s: documents cannot be reached, and no node is moved or restarted", h), Do: do}}
}

// stoppedForGood are the nodes that were part of the cluster and are not wanted any more.
func stoppedForGood(v scheduler.View) []coordinator.NodeID {
	var stopped []coordinator.NodeID
	for i, wanted := range v.State.Wanted() {
		if n := v.State.Nodes[i]; !wanted && n.Joined {
			stopped = append(stopped, n.ID)
		}
	}
	return stopped
}

// measureHealth adds the cluster's health to the metrics; nothing while nobody tells it.
func measureHealth(v scheduler.View, values map[string]int64) {
	h, _, by := v.State.Health()
	if by == 0 {
		return
	}
	for _, status := range []string{green, "yellow", "red"} {
		values[fmt.Sprintf("mooring_cluster_health{status=%q}", status)] = flag(h.Status == status)
	}
	for state, shards := range map[string]int{"initializing": h.Initializing, "relocating": h.Relocating, "delayed": h.Delayed, "unassigned": h.Unassigned} {
		values[fmt.Sprintf("mooring_cluster_shards{state=%q}", state)] = int64(shards)
	}
}
