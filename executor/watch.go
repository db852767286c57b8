package executor

import (
	"context"
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
	"mooring/executor/rundir"
)

// look asks Elasticsearch which cluster it is in, and reports when that changes. A node in the wrong cluster is a failure:
// it would mix two clusters' documents.
func (l *life) look(ctx context.Context) error {
	now, err := l.membership(ctx)
	if err != nil || !now.Ready {
		l.misses++
		if !l.last.Ready || l.misses < maxMisses {
			return nil
		}
		now = l.last
		now.Ready = false
	} else {
		l.misses = 0
	}
	if want := l.task.ClusterUUID; want != "" && now.Cluster != want {
		return &failure{fmt.Sprintf("node %d joined cluster %s but belongs to %s", l.task.Node, now.Cluster, want), coordinator.FaultRefused}
	}
	if now == l.last {
		return nil
	}
	return l.tellMembership(now)
}

// membership asks Elasticsearch itself. The version is asked for once: it does not change in a life.
func (l *life) membership(ctx context.Context) (coordinator.RunReport, error) {
	m, err := l.client.Membership(ctx)
	if err != nil || !m.Joined {
		return coordinator.RunReport{}, err
	}
	now := coordinator.RunReport{Ready: true, Cluster: m.Cluster, Version: l.last.Version, Host: l.last.Host, Sizes: l.last.Sizes}
	if now.Version == "" {
		now.Version, err = l.client.Version(ctx)
	}
	return now, err
}

// tellMembership lets the node mark its volumes before the scheduler counts on what they hold: a node that the scheduler
// believes to have joined does not start on a volume without that mark.
func (l *life) tellMembership(now coordinator.RunReport) error {
	text := "outside of its cluster"
	if now.Ready {
		text = "joined cluster " + now.Cluster
		status, _, err := l.dir().Status()
		if err == nil && status.Marked != now.Cluster {
			err = l.dir().SetJoined(rundir.Joined{Cluster: now.Cluster, Version: now.Version})
		}
		if err != nil {
			l.log.Warn("node not told what it joined, trying again", "error", err)
		}
		if status.Marked != now.Cluster {
			return nil
		}
	}
	l.log.Info("membership changed", "ready", now.Ready, "cluster", now.Cluster)
	l.last = now
	l.tell(report{state: mesos.TASK_RUNNING, text: text, run: now})
	return nil
}
