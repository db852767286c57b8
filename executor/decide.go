package executor

import (
	"fmt"
	"strconv"
	"strings"

	"mooring/coordinator"
	"mooring/executor/rundir"
)

// step is what to do before a task runs.
type step int

const (
	start   step = iota // nothing is in the way
	adopt               // it runs already: an earlier executor of the same launch started it
	replace             // an older launch, or what is left of this one, ends first
)

// failure is why a launch did not work or ended.
type failure struct {
	text  string
	fault coordinator.Fault
}

func (f *failure) Error() string { return f.text }

// decide says what a container that was found under the node's name means for a launch. A container of a newer launch means
// that this one is late: it must touch nothing. Found is nil if there was none.
func decide(found *Container, want coordinator.Task) (step, error) {
	if found == nil {
		return start, nil
	}
	name := containerName(want)
	if found.Labels[labelFramework] != want.Framework || found.Labels[labelNode] != strconv.Itoa(int(want.Node)) {
		return 0, &failure{fmt.Sprintf("container %s on this agent is not of Mooring: rename or remove it", name), coordinator.FaultAgent}
	}
	epoch, err := strconv.ParseUint(found.Labels[labelEpoch], 10, 64)
	switch {
	case err != nil:
		return 0, &failure{fmt.Sprintf("container %s on this agent has label %s=%q, which is no number: remove it", name, labelEpoch, found.Labels[labelEpoch]), coordinator.FaultAgent}
	case epoch > want.Epoch:
		return 0, &failure{fmt.Sprintf("launch %d of node %d runs on this agent, this is only launch %d", epoch, want.Node, want.Epoch), coordinator.FaultNone}
	case epoch == want.Epoch && found.Running:
		return adopt, nil
	}
	return replace, nil
}

// startFault says whose fault it is that a container did not start: the volume's if another host holds it (in the words of
// Mooring's own driver), else the agent's, where image, driver or engine is missing.
func startFault(err error) coordinator.Fault {
	if strings.Contains(err.Error(), "is held by") {
		return coordinator.FaultVolume
	}
	return coordinator.FaultAgent
}

// explain says in words why a container ended that nobody had asked to end. Status is nil if its node wrote none.
func explain(exit Exit, status *rundir.Status, task coordinator.Task) *failure {
	switch {
	case exit.OutOfMemory:
		return &failure{fmt.Sprintf("ran out of its %d MB of memory", task.MemoryMB), coordinator.FaultNode}
	case status == nil:
		return &failure{fmt.Sprintf("container ended with code %d before its node started", exit.Code), coordinator.FaultAgent}
	case status.Phase == rundir.Refused:
		return &failure{status.Text, status.Fault}
	case status.Phase != rundir.Ended:
		return &failure{fmt.Sprintf("container was ended from outside with code %d", exit.Code), coordinator.FaultHost}
	case status.Text == "":
		return &failure{fmt.Sprintf("Elasticsearch ended by itself with code %d", status.Code), status.Fault}
	}
	return &failure{fmt.Sprintf("Elasticsearch ended with code %d: %s", status.Code, status.Text), status.Fault}
}
