package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/executor/rundir"
)

// watch follows Elasticsearch to its end and says how it came.
func (n *node) watch(ctx context.Context, kill <-chan os.Signal, c *child) rundir.Status {
	ticker := time.NewTicker(n.o.Tick)
	defer ticker.Stop()
	probing, stopProbing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopProbing()
	failed := watchVolume(probing, n.task.Settings.DataPath, n.o.Tick)

	end, stopping, deadline := rundir.Status{Phase: rundir.Ended}, ctx.Done(), (<-chan time.Time)(nil)
	stop := func(why string) {
		end.Text, stopping = cmp.Or(end.Text, why), nil
		deadline = time.After(time.Duration(n.task.Settings.StopSeconds) * time.Second)
		n.log.Info("stopping elasticsearch", "reason", why)
		n.say(rundir.Status{Phase: rundir.Stopping, Text: why})
		c.ask()
	}
	for {
		select {
		case end.Code = <-c.ended:
			return n.explain(end, c)
		case <-stopping:
			end.Fault = coordinator.FaultHost // unless it was our executor, which knows
			stop("asked to stop")
		case err := <-failed:
			end.Text, end.Fault = fmt.Sprintf("data volume failed: %v", err), coordinator.FaultAgent
			c.signal(syscall.SIGKILL)
		case <-kill:
			c.signal(syscall.SIGKILL)
		case <-deadline:
			n.log.Warn("elasticsearch did not end in time", "seconds", n.task.Settings.StopSeconds)
			c.signal(syscall.SIGKILL)
		case <-ticker.C:
			if !n.look() && stopping != nil {
				stop("the executor is gone")
			}
		}
	}
}

// explain adds what Elasticsearch complained of, if nothing else ended it.
func (n *node) explain(end rundir.Status, c *child) rundir.Status {
	if end.Text == "" {
		end.Text = c.said.String()
	}
	return end
}

// look takes over what the executor wrote, and says whether the executor still lives.
func (n *node) look() bool {
	beat, err := n.run.LastBeat()
	if err != nil || beat == n.beat {
		n.still++
	} else {
		n.beat, n.still = beat, 0
	}
	if err := errors.Join(n.takeSeeds(), n.takeJoined()); err != nil {
		n.log.Warn("news of the executor not taken over", "error", err)
	}
	return n.still < silentTicks
}

// takeSeeds hands new seeds to Elasticsearch, which reads the file again and again.
func (n *node) takeSeeds() error {
	seeds, ok, err := n.run.Seeds()
	if err != nil || !ok {
		return err
	}
	text := string(elasticsearch.Seeds(seeds))
	if text == n.seeds {
		return nil
	}
	if err := n.owner.write(filepath.Join(n.configPath(), elasticsearch.SeedsFile), []byte(text)); err != nil {
		return err
	}
	n.seeds = text
	return nil
}

// takeJoined marks the volumes as those of a node that has joined a cluster.
func (n *node) takeJoined() error {
	joined, ok, err := n.run.Joined()
	if err != nil || !ok {
		return err
	}
	if n.marked == joined.Cluster {
		return nil
	}
	n.marker.Joined, n.marker.Cluster, n.marker.Version = true, joined.Cluster, joined.Version
	if err := n.mark(); err != nil {
		return err
	}
	n.marked = joined.Cluster
	n.log.Info("volumes marked as joined", "cluster", joined.Cluster, "version", joined.Version)
	n.say(rundir.Status{Phase: rundir.Started})
	return nil
}
