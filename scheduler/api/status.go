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

// joinTime is what a node may take to join its cluster before an operator should look at it.
const joinTime = 5 * time.Minute

// Status is the answer to GET /v1/status: what an operator must know, and what to do about it.
type Status struct {
	Framework   string    `json:"framework"`
	FrameworkID string    `json:"framework_id"`
	ClusterUUID string    `json:"cluster_uuid"`
	Master      string    `json:"master"`            // leading Mesos master; empty: no subscription
	Target      int       `json:"target"`            // of all groups together
	Ready       int       `json:"ready"`             // nodes that have joined the cluster
	Health      *Health   `json:"health,omitempty"`  // of the Elasticsearch cluster; absent: nobody tells it
	Removal     string    `json:"removal,omitempty"` // how far an order to uninstall has come
	Silent      []Silent  `json:"silent,omitempty"`  // hosts whose heartbeat stands still
	Groups      []Group   `json:"groups,omitempty"`  // if there are others than the default one
	Problems    []Problem `json:"problems"`
	Nodes       []Node    `json:"nodes"`
	VolumeList
}

// Silent is a host whose heartbeat stands still. Nothing is launched there.
type Silent struct {
	Host string `json:"host"` // in the words of its volume driver
	coordinator.Silence
}

// Problem is something that is wrong, and what an operator can do about it.
type Problem struct {
	Node coordinator.NodeID `json:"node,omitempty"` // 0: it is about no node in particular
	What string             `json:"what"`
	Do   string             `json:"do"`
}

func (a *server) status(r *http.Request) (any, error) {
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	s := Status{
		Framework: v.State.Framework, FrameworkID: v.State.FrameworkID, ClusterUUID: v.State.ClusterUUID, Master: v.Subscribed,
		Target: v.State.Total(), Health: healthOf(v), Removal: string(v.State.Removal), Problems: problems(v), Nodes: []Node{},
	}
	if groups := groupsOf(v); len(groups) > 1 {
		s.Groups = groups
	}
	for _, host := range slices.Sorted(maps.Keys(v.State.Silent)) {
		s.Silent = append(s.Silent, Silent{host, v.State.Silent[host]})
	}
	for _, n := range v.State.Nodes {
		s.Nodes = append(s.Nodes, nodeOf(v, n.ID))
		if n.Ready {
			s.Ready++
		}
	}
	s.VolumeList = a.volumesOf(r.Context(), v)
	return s, nil
}

// problems are all that there are.
func problems(v scheduler.View) []Problem {
	all := append([]Problem{}, problemsOfAll(v)...)
	for i, wanted := range v.State.Wanted() {
		n := v.State.Nodes[i]
		if what, do := problemOf(v, n, wanted); what != "" {
			all = append(all, Problem{Node: n.ID, What: what, Do: do})
		}
	}
	return all
}

// problemsOfAll are those of no node in particular.
func problemsOfAll(v scheduler.View) []Problem {
	var all []Problem
	if v.StoreError != "" {
		all = append(all, Problem{What: v.StoreError, Do: "mend the store: until then nothing is launched, and no order is taken"})
	}
	switch {
	case v.Standby && v.Leader == "":
		all = append(all, Problem{
			What: "no scheduler leads: nodes go on, but none is launched or ended",
			Do:   "wait some seconds; then see that schedulers run and reach ZooKeeper (--zookeeper)",
		})
	case v.Standby: // the leader has the subscription
	case v.Subscribed == "":
		all = append(all, Problem{
			What: "no subscription with a Mesos master: nodes go on, but none is launched or ended" + latestTry(v.Unsubscribed),
			Do:   "see that a master leads and that the scheduler reaches it (--master); its log says more",
		})
	}
	if v.State.Removal != coordinator.Installed {
		all = append(all, Problem{
			What: fmt.Sprintf("the framework is being uninstalled (%s), %d node(s) are not over yet", v.State.Removal, v.State.Launched()),
			Do:   "wait: the scheduler ends when Mesos has forgotten the framework; the volumes are kept",
		})
	}
	all = append(all, problemsOfHealth(v)...)
	all = append(all, problemsOfGroups(v)...)
	for _, id := range slices.Sorted(maps.Keys(v.State.Agents)) {
		if a := v.State.Agents[id]; time.Until(a.NotBefore) > 0 && len(a.Failed) > 1 {
			all = append(all, Problem{
				What: fmt.Sprintf("agent %s is left alone for %s: nodes %v failed there", id, time.Until(a.NotBefore).Round(time.Second), a.Failed),
				Do:   "look at its Docker engine and volume driver",
			})
		}
	}
	return append(all, problemsOfHosts(v)...)
}

// problemsOfHosts are those of silent hosts, of which Mesos does not know yet or that keep a node, and of who cannot see any.
func problemsOfHosts(v scheduler.View) []Problem {
	var all []Problem
	if w := v.Watch; w.Blind() {
		all = append(all, Problem{
			What: fmt.Sprintf("hosts' heartbeats were not seen since %s: %s", w.Seen.UTC().Format(time.RFC3339), w.Error),
			Do:   "see that this scheduler reaches them (--heartbeats); until then a dead host is one that Mesos gives up",
		})
	}
	for _, host := range slices.Sorted(maps.Keys(v.State.Silent)) {
		s := v.State.Silent[host]
		silent := fmt.Sprintf("host %s is silent since %s", host, s.Since.Format(time.RFC3339))
		if !s.Lost {
			all = append(all, Problem{
				What: fmt.Sprintf("%s, and Mesos still counts on its agent %s: nothing is launched there", silent, strings.Join(s.Agents, ", ")),
				Do:   "see that it runs, and that its volume driver runs and reaches the store; launches go there again when it beats",
			})
		}
		for _, id := range slices.Sorted(maps.Keys(s.Kept)) {
			all = append(all, Problem{
				Node: id, What: fmt.Sprintf("%s, and the node stays there: %s", silent, s.Kept[id]),
				Do: "bring that host or its volume driver back; if nothing on it writes any more: `mooring volumes takeover` on another host",
			})
		}
	}
	return all
}

func latestTry(failed string) string {
	if failed == "" {
		return ""
	}
	return ". The latest try: " + strings.ReplaceAll(failed, "\n", "; ")
}

// problemOf says what is wrong with a node, and what to do; nothing if nothing is.
func problemOf(v scheduler.View, n coordinator.Node, wanted bool) (what, do string) {
	waits, since := waits(v, n), time.Since(n.Since).Round(time.Second)
	why := waits.why
	switch {
	case n.Held != "":
		return n.Held, fmt.Sprintf("find out where its documents are; `mooring forgive %d` lets it begin with an empty data volume", n.ID)
	case n.Phase == coordinator.Lost && v.State.SilentHost(n.Place.Agent) != "":
		return fmt.Sprintf("its host %s (%s) is silent: %s", v.State.SilentHost(n.Place.Agent), n.Place.Host, orText(why, "no offer so far")),
			"give Mesos agents that fit, or bring the host back"
	case n.Phase == coordinator.Lost && (n.AgentGone || !v.Rules.Fencing):
		return fmt.Sprintf("may still run on agent %s (%s), which Mesos lost: %s", n.Place.Agent, n.Place.Host, orText(why, "no offer so far")), comeBack(n)
	case wanted && n.Phase == coordinator.Vacant && n.Loose && !v.Rules.Fencing:
		return fmt.Sprintf("a container of it may still run on agent %s (%s): %s", n.Place.Agent, n.Place.Host, orText(why, "no offer so far")), comeBack(n)
	case wanted && n.Phase == coordinator.Vacant && n.Failures > 0:
		return why, fmt.Sprintf("it is tried again by itself; the sandbox of task %s in Mesos has its log", coordinator.TaskID(v.State.Framework, n.ID, n.Epoch))
	case wanted && n.Phase == coordinator.Vacant && n.Problem != "" && time.Until(n.NotBefore) > 0: // such as a volume that another host holds
		return why, "it is tried again by itself"
	case wanted && (n.Phase == coordinator.Vacant || n.Phase == coordinator.Lost):
		return orText(why, "waits for an offer"), "give Mesos agents that fit, or want fewer nodes (`mooring scale`)"
	case wanted && v.State.MustMove(n, time.Now()) && waits.cluster:
		return why, "wait, or mend what it waits for; otherwise the node goes down with its host, in order, and is launched elsewhere then"
	case wanted && v.State.MustMove(n, time.Now()):
		return why, "give Mesos an agent that fits; otherwise the node goes down with its host, in order, and waits"
	case wanted && n.Phase == coordinator.Claimed && since > joinTime:
		return fmt.Sprintf("was launched %s ago on agent %s (%s) and does not run yet", since, n.Place.Agent, n.Place.Host),
			fmt.Sprintf("look at the sandbox of task %s in Mesos; a first pull of the image may take its time", coordinator.TaskID(v.State.Framework, n.ID, n.Epoch))
	case wanted && n.Phase == coordinator.Running && !n.Ready && since > joinTime:
		return fmt.Sprintf("runs for %s but is in no cluster", since), "look at its log: `docker logs` on " + n.Place.Host
	}
	return "", ""
}

// comeBack is what frees a node whose agent is silent.
func comeBack(n coordinator.Node) string {
	return fmt.Sprintf("bring the agent back, or mark it gone in Mesos; if you know that the node does not run: `mooring forgive %d`", n.ID)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
