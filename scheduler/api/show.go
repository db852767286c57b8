package api

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"mooring/coordinator"
	"mooring/scheduler"
)

// Cluster is the answer to GET /v1/cluster.
type Cluster struct {
	Name          string         `json:"name"` // cluster.name of Elasticsearch
	Configuration map[string]any `json:"configuration"`
	Framework     string         `json:"framework"`
	FrameworkID   string         `json:"framework_id"`
	ClusterUUID   string         `json:"cluster_uuid"`
	Master        string         `json:"master"`            // leading Mesos master; empty: no subscription
	Leader        string         `json:"leader,omitempty"`  // address of the scheduler that leads, if there are several
	Standby       bool           `json:"standby,omitempty"` // the one that answers is another one
	Target        int            `json:"target"`
	Ready         int            `json:"ready"` // nodes that have joined the cluster
	Phases        map[string]int `json:"phases"`
}

func (a *server) cluster(*http.Request) (any, error) {
	v, err := a.view()
	c := Cluster{
		Name: v.Rules.Settings.Cluster, Configuration: configuration(v), Framework: v.State.Framework,
		FrameworkID: v.State.FrameworkID, ClusterUUID: v.State.ClusterUUID, Master: v.Subscribed, Leader: v.Leader, Standby: v.Standby, Target: v.State.Total(),
		Phases: map[string]int{},
	}
	for _, n := range v.State.Nodes {
		c.Phases[string(n.Phase)]++
		if n.Ready {
			c.Ready++
		}
	}
	return c, err
}

func configuration(v scheduler.View) map[string]any {
	s := v.Rules.Settings
	return map[string]any{
		"image": s.Image, "volume_driver": s.Driver, "volume_options": masked(s.DriverOptions),
		"config_path": s.ConfigPath, "data_path": s.DataPath, "heap_mb": s.HeapMB, "java_options": s.JavaOptions,
		"elasticsearch": masked(s.Elasticsearch), "stop_seconds": s.StopSeconds,
		"cpus": float64(v.Rules.CPUs) / 1000, "memory_mb": v.Rules.MemoryMB, "max_per_host": max(v.Rules.MaxPerHost, 1),
		"require": v.Rules.Require, "spread_by": v.Rules.SpreadBy, "constraints": constraintsOf(v.Rules.Constraints), "fencing": v.Rules.Fencing, "roles": v.Roles,
	}
}

// constraintsOf are constraints as an operator writes them.
func constraintsOf(all []coordinator.Constraint) []string {
	texts := []string{}
	for _, c := range all {
		texts = append(texts, c.String())
	}
	return texts
}

// masked hides values whose names tell that they are secret.
func masked(settings map[string]string) map[string]string {
	shown := maps.Clone(settings)
	for name := range shown {
		for _, secret := range []string{"password", "secret", "token", "key"} {
			if strings.Contains(strings.ToLower(name), secret) {
				shown[name] = "***"
			}
		}
	}
	return shown
}

// task is an element of the answer to GET /v1/tasks: the properties of the Java framework, then our own.
type task struct {
	ID               string             `json:"id"`
	State            string             `json:"state"`
	Name             string             `json:"name"`
	Version          string             `json:"version"` // of Elasticsearch; empty until the node tells
	StartedAt        time.Time          `json:"started_at"`
	HTTPAddress      string             `json:"http_address"`
	TransportAddress string             `json:"transport_address"`
	Hostname         string             `json:"hostname"`
	Node             coordinator.NodeID `json:"node"`
	Epoch            uint64             `json:"epoch"`
	Ready            bool               `json:"ready"`
	Waits            string             `json:"waits,omitempty"`
}

func (a *server) tasks(*http.Request) (any, error) {
	v, err := a.view()
	tasks := []task{}
	for _, n := range v.State.Nodes {
		if n.Phase != coordinator.Vacant {
			tasks = append(tasks, taskOf(v, n))
		}
	}
	return tasks, err
}

func taskOf(v scheduler.View, n coordinator.Node) task {
	id := coordinator.TaskID(v.State.Framework, n.ID, n.Epoch)
	t := task{
		ID: id, State: stateOf(n), Name: coordinator.NodeName(v.State.Framework, n.ID), StartedAt: n.Since,
		HTTPAddress:      coordinator.Address(n.Place.Host, n.Place.HTTPPort),
		TransportAddress: coordinator.Address(n.Place.Host, n.Place.TransportPort),
		Hostname:         n.Place.Host, Node: n.ID, Epoch: n.Epoch, Ready: n.Ready, Waits: waits(v, n).why,
	}
	if d := v.Details[n.ID]; d.Task == id {
		t.State, t.Version = d.State, d.Version
	}
	return t
}

// stateOf is the state of a task of which Mesos told nothing since the scheduler started.
func stateOf(n coordinator.Node) string {
	switch n.Phase {
	case coordinator.Running:
		return "TASK_RUNNING"
	case coordinator.Lost:
		return "TASK_LOST"
	}
	return "TASK_STAGING"
}

// Node is an element of the answer to GET /v1/nodes: the stored record, and what can be derived from it.
type Node struct {
	coordinator.Node
	Name    string   `json:"name"`
	Task    string   `json:"task,omitempty"` // of the latest launch
	Version string   `json:"version,omitempty"`
	Volumes []string `json:"volumes"`
	Waits   string   `json:"waits,omitempty"`
}

func (a *server) nodes(*http.Request) (any, error) {
	v, err := a.view()
	nodes := make([]Node, len(v.State.Nodes))
	for i, n := range v.State.Nodes {
		nodes[i] = nodeOf(v, n.ID)
	}
	return nodes, err
}

func (a *server) node(r *http.Request) (any, error) {
	v, id, err := a.viewOf(r)
	if err != nil {
		return nil, err
	}
	return nodeOf(v, id), nil
}

func nodeOf(v scheduler.View, id coordinator.NodeID) Node {
	framework := v.State.Framework
	n := Node{
		Node: v.State.Nodes[id-1], Name: coordinator.NodeName(framework, id), Waits: waits(v, v.State.Nodes[id-1]).why,
		Volumes: []string{
			coordinator.VolumeName(framework, id, coordinator.Config), coordinator.VolumeName(framework, id, coordinator.Data),
		},
	}
	if n.Epoch > 0 {
		n.Task = coordinator.TaskID(framework, id, n.Epoch)
	}
	if d := v.Details[id]; d.Task == n.Task {
		n.Version = d.Version
	}
	return n
}

// wait is why a node does not run, or still runs.
type wait struct {
	why     string // empty: it waits for nothing
	cluster bool   // it runs until other nodes or the cluster are well
}

// waits says why a node does not run. A volume that another host holds is a problem that says so, with the holder's name.
func waits(v scheduler.View, n coordinator.Node) wait {
	if n.Held == "" && n.Phase == coordinator.Running {
		return stays(v, n)
	}
	return wait{why: isAway(v, n)}
}

// isAway says why a node does not run.
func isAway(v scheduler.View, n coordinator.Node) string {
	left := time.Until(n.NotBefore).Round(time.Second)
	note := v.Notes[n.ID].Text
	switch {
	case n.Held != "":
		return fmt.Sprintf("held until an operator decides (forgive): %s", n.Held)
	case n.Phase == coordinator.Vacant && left > 0 && n.Failures > 0:
		return fmt.Sprintf("next try in %s after %d failure(s): %s", left, n.Failures, n.Problem)
	case n.Phase == coordinator.Vacant && left > 0:
		return fmt.Sprintf("next try in %s: %s", left, n.Problem)
	case n.Phase == coordinator.Vacant && note == "" && n.Problem != "":
		return "no offer since the latest launch ended: " + n.Problem
	case n.Phase == coordinator.Claimed && n.Problem != "":
		return "launched again after: " + n.Problem
	case n.Phase == coordinator.Lost && note == "":
		return "lost, and no offer so far: " + n.Problem
	}
	return note
}

// stays says why a node still runs that is to be restarted, or whose host goes down for maintenance; nothing if neither is so. One that
// is retired waits for nothing, whatever is missing already.
func stays(v scheduler.View, n coordinator.Node) wait {
	now := time.Now()
	if h, _, by := v.State.Health(); n.Intent == coordinator.Retire && by != 0 && h.Status != green {
		return wait{why: fmt.Sprintf("is stopped for good, although the cluster is %s", h)}
	}
	why, leaves := "", v.State.MustMove(n, now)
	if n.Due() || leaves {
		why = v.State.Waits(n, now)
	}
	switch {
	case n.Due() && why != "":
		return wait{"its restart waits: " + why, true}
	case n.Intent != coordinator.Move && !leaves:
		return wait{}
	}
	down := "its host goes down for maintenance at " + v.State.Leaving[n.Place.Agent].Start.Format(time.RFC3339)
	switch {
	case n.Intent == coordinator.Move:
		return wait{why: "is stopped to be launched elsewhere: " + down}
	case why != "":
		return wait{down + "; it is not moved yet: " + why, true}
	}
	return wait{why: down + "; no offer elsewhere fits so far"}
}
