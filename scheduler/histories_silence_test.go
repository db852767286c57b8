package scheduler_test

import (
	"fmt"
	"maps"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// fallSilent has the heartbeat of a host stand still, after executors have told on which host they are: that of a node if one runs,
// or else of the given agent. Mesos goes on believing in the agent.
func (h *history) fallSilent(agent string) {
	quiet := h.master.Unacknowledged() == 0 // else an executor may have said that its node has ended
	for _, task := range h.master.Tasks(mesos.TASK_RUNNING) {
		if quiet {
			h.joined(task)
		}
		if h.rng.IntN(2) == 0 {
			agent = task.AgentID.Value
		}
	}
	h.happens("%s falls silent", hostOf(agent))
	h.beat(hostOf(agent))
}

// joined has an executor say that its node has joined the cluster, and on which host it is.
func (h *history) joined(task mesos.TaskInfo) {
	h.master.Update(task.TaskID.Value, mesos.TASK_RUNNING, fmt.Appendf(nil, `{"ready":true,"cluster":"u","host":%q}`, hostOf(task.AgentID.Value)))
}

// beat has all hosts beat but those that are silent, and one more that is so from now on. None means all.
func (h *history) beat(but string) {
	h.pulse.mu.Lock()
	defer h.pulse.mu.Unlock()
	sights := map[string]coordinator.Sight{}
	if but != "" {
		maps.Copy(sights, h.pulse.sights)
	}
	for i := range historyAgents {
		host := hostOf(agent(i + 1).ID)
		if !sights[host].Silent {
			sights[host] = coordinator.Sight{Beats: true}
		}
	}
	if but != "" {
		sights[but] = silentNow
	}
	h.pulse.sights = sights
}

func hostOf(agent string) string { return "h" + strings.TrimPrefix(agent, "agent-") }
