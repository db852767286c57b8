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
func (h *mishaps) fallSilent(agent string) {
	for _, task := range h.master.Tasks(mesos.TASK_RUNNING) {
		h.master.Update(task.TaskID.Value, mesos.TASK_RUNNING, fmt.Appendf(nil, `{"ready":true,"cluster":"u","host":%q}`, hostOf(task.AgentID.Value)))
		if h.rng.IntN(2) == 0 {
			agent = task.AgentID.Value
		}
	}
	h.pause()
	h.happens("%s falls silent", hostOf(agent))
	h.beat(hostOf(agent))
	looks := h.looks()
	h.eventually(func() bool { return h.looks() > looks+1 }, "the scheduler sees it") // a look is taken in when the next one begins
}

func (h *mishaps) looks() int {
	h.pulse.mu.Lock()
	defer h.pulse.mu.Unlock()
	return h.pulse.looks
}

// beat has all hosts beat but those that are silent, and one more that is so from now on. None means all.
func (h *mishaps) beat(but string) {
	h.pulse.mu.Lock()
	defer h.pulse.mu.Unlock()
	sights := map[string]coordinator.Sight{}
	if but != "" {
		maps.Copy(sights, h.pulse.sights)
	}
	for i := range historyAgents {
		host := hostOf(fmt.Sprintf("agent-%d", i+1))
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
