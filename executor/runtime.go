package executor

import (
	"context"
	"errors"
	"strconv"
	"time"

	"mooring/coordinator"
)

// Runtime starts and ends containers. Every call may be repeated; those without a deadline of their own in the comment end
// with their context at the latest.
type Runtime interface {
	// Find returns the container of a name, whether it runs or not; ok is false if there is none.
	Find(ctx context.Context, name string) (c Container, ok bool, err error)

	// Ended returns the containers with these labels that ran and run no more.
	Ended(ctx context.Context, labels map[string]string) ([]Container, error)

	// Start makes a container and starts `mooring node` in it. A name that is in use is an error. After an error the
	// container may exist or not.
	Start(ctx context.Context, spec Spec) (Container, error)

	// Wait returns when the container no longer runs. ErrGone means that it no longer exists.
	Wait(ctx context.Context, id string) (Exit, error)

	// Stop asks the container to end, kills it after grace, and returns when it no longer runs. No grace kills it at once.
	// A container that does not run or does not exist is no error.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Remove returns when a container that no longer runs is gone and its volumes are unmounted. One that does not exist is
	// no error.
	Remove(ctx context.Context, id string) error
}

// ErrGone says that a container does not exist.
var ErrGone = errors.New("the container does not exist")

// Spec is what to start.
type Spec struct {
	Name   string // one per node: the runtime itself refuses a second container of it
	Labels map[string]string
	Env    []string // NAME=value
	RunDir string   // on this host; the node finds it through its own environment
	Task   coordinator.Task
}

// Container is what a runtime knows of a container.
type Container struct {
	ID      string
	Labels  map[string]string
	Running bool
}

// HasLabels tells whether a container has all of some labels.
func HasLabels(c Container, labels map[string]string) bool {
	for name, value := range labels {
		if has, ok := c.Labels[name]; !ok || has != value {
			return false
		}
	}
	return true
}

// Exit is how a container ended.
type Exit struct {
	Code        int // 128 + signal if one ended it
	OutOfMemory bool
}

// Labels of a container.
const (
	labelFramework = "mooring.framework"
	labelNode      = "mooring.node"
	labelEpoch     = "mooring.epoch"
	labelRun       = "mooring.run" // path of the run directory on this host
)

// containerName is the same for every launch of a node. Agents kill unknown containers whose name begins with "mesos-"
// (Mesos 1.11, Docker containerizer), so it does not.
func containerName(task coordinator.Task) string {
	return "mooring-" + task.Framework + "-" + strconv.Itoa(int(task.Node))
}

// specOf says how to start a task.
func specOf(task coordinator.Task, runDir, agentEndpoint string) Spec {
	return Spec{
		Name: containerName(task),
		Labels: map[string]string{
			labelFramework: task.Framework,
			labelNode:      strconv.Itoa(int(task.Node)),
			labelEpoch:     strconv.FormatUint(task.Epoch, 10),
			labelRun:       runDir,
		},
		Env: []string{
			"ELASTICSEARCH_NODE_ID=" + strconv.Itoa(int(task.Node)),
			"MESOS_AGENT_ENDPOINT=" + agentEndpoint,
		},
		RunDir: runDir,
		Task:   task,
	}
}
