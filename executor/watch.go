package executor

import (
	"context"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
	"mooring/executor/rundir"
)

// look asks Elasticsearch which cluster it is in and, if it is the elected master, how that is, and reports when either changes. A node
// in the wrong cluster is a failure: it would mix two clusters' documents.
func (l *life) look(ctx context.Context) error {
	now, err := l.membership(ctx)
	if err != nil || !now.Ready {
		l.misses++
		if !l.last.Ready || l.misses < maxMisses {
			return nil
		}
		now, l.health = l.last, coordinator.Health{}
		now.Ready, now.Health = false, l.health
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

// membership asks Elasticsearch itself. What the node is is asked for once: it does not change in a life.
func (l *life) membership(ctx context.Context) (coordinator.RunReport, error) {
	m, err := l.client.Membership(ctx)
	if err != nil || !m.Joined {
		return coordinator.RunReport{}, err
	}
	if l.self.ID == "" {
		if l.self, err = l.client.Self(ctx); err != nil {
			return coordinator.RunReport{}, err
		}
	}
	l.lookAtHealth(ctx, m.Master == l.self.ID)
	return coordinator.RunReport{Ready: true, Cluster: m.Cluster, Version: l.self.Version, Host: l.last.Host, Sizes: l.last.Sizes, Health: l.health}, nil
}

// lookAtHealth asks the elected master how the cluster is. It knows, and nobody else need tell it. Where it does not answer in time,
// what it said before stays: most likely it has much to do.
func (l *life) lookAtHealth(ctx context.Context, elected bool) {
	if !elected {
		l.health, l.looked = coordinator.Health{}, time.Time{}
		return
	}
	if time.Since(l.looked) < healthEvery {
		return
	}
	l.looked = time.Now()
	h, err := l.client.Health(ctx)
	if err != nil {
		l.log.Debug("the elected master does not tell the cluster's health", "error", err)
		return
	}
	l.health = coordinator.Health{
		Status: h.Status, Nodes: h.Nodes, Initializing: h.Initializing + h.Fetching, Relocating: h.Relocating, Delayed: h.Delayed, Unassigned: h.Unassigned,
	}
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
	if now.Ready && now.Health.Status != "" {
		text += ", which is " + now.Health.String()
	}
	l.log.Info("membership or health changed", "ready", now.Ready, "cluster", now.Cluster, "health", now.Health.Status)
	l.last = now
	l.tell(report{state: mesos.TASK_RUNNING, text: text, run: now})
	return nil
}
