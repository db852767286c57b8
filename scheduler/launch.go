package scheduler

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// The executor's share of a node's resources.
const (
	executorCPUs   = 100       // thousandths
	executorMemory = 32 * 1000 // thousandths of a MB
)

// driverStateVariable tells an executor where the volume driver keeps its state on the agent; see `mooring executor --help`.
const driverStateVariable = "MOORING_DRIVER_STATE_DIR"

// shutdownMargin is what an executor gets beyond the node's own time to stop. Mesos' default grace is 5 s in all.
const shutdownMargin = 15 * time.Second

// Places in the container of a node, under the Docker containerizer.
const (
	containerSandbox = "/mnt/mesos/sandbox" // where the agent mounts the sandbox (Mesos 1.11: --sandbox_directory)
	containerBinary  = "/mooring"           // where a mooring binary of the host is mounted
)

// taskInfo is the whole order for one launch, with resources carved out of the accepted offers.
func (o Options) taskInfo(l coordinator.Launch, offers []*mesos.Offer) (mesos.TaskInfo, error) {
	data, err := json.Marshal(l.Task)
	if err != nil {
		return mesos.TaskInfo{}, fmt.Errorf("encode task %s: %w", l.Task.ID(), err)
	}
	executor, task, err := shares(l, newPool(offers))
	if err != nil {
		return mesos.TaskInfo{}, fmt.Errorf("carve out resources for %s: %w", l.Task.ID(), err)
	}
	stop := time.Duration(l.Task.Settings.StopSeconds) * time.Second
	return mesos.TaskInfo{
		Name:       nodeName(l.Task),
		TaskID:     mesos.TaskID{Value: l.Task.ID()},
		AgentID:    mesos.AgentID{Value: l.Task.Place.Agent},
		Resources:  task,
		Executor:   o.executor(l.Task, executor),
		Data:       data,
		KillPolicy: &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: stop.Nanoseconds()}},
		Discovery:  discovery(l.Task),
		Labels:     labels(l.Task),
	}, nil
}

// shares carves out what the executor and the task get; together they are the share of the launch.
func shares(l coordinator.Launch, p pool) (executor, task []mesos.Resource, err error) {
	var amounts = []struct {
		name   string
		amount int64
		of     *[]mesos.Resource
	}{
		{"cpus", executorCPUs, &executor},
		{"mem", executorMemory, &executor},
		{"cpus", l.CPUs - executorCPUs, &task},
		{"mem", l.MemoryMB*1000 - executorMemory, &task},
	}
	for _, a := range amounts {
		pieces, err := p.takeScalar(a.name, a.amount)
		if err != nil {
			return nil, nil, err
		}
		*a.of = append(*a.of, pieces...)
	}
	ports, err := p.takePorts(l.Ports)
	return executor, append(task, ports...), err
}

// executor describes the executor of one launch. Its ID is the task's: Mesos refuses an executor that differs in anything
// from a running one with the same ID.
func (o Options) executor(t coordinator.Task, share []mesos.Resource) *mesos.ExecutorInfo {
	grace := time.Duration(t.Settings.StopSeconds)*time.Second + shutdownMargin
	e := &mesos.ExecutorInfo{
		Type:                mesos.ExecutorInfo_CUSTOM,
		ExecutorID:          mesos.ExecutorID{Value: t.ID()},
		Name:                ptr("mooring executor of " + nodeName(t)),
		Resources:           share,
		ShutdownGracePeriod: &mesos.DurationInfo{Nanoseconds: grace.Nanoseconds()},
		Labels:              labels(t),
	}
	if o.Containerizer == DockerContainerizer {
		e.Command, e.Container = o.commandInContainer(t), o.container(t)
	} else {
		e.Command = o.command(t)
	}
	return e
}

// command runs the executor as a process on the agent. Arguments begin with the program's own name there.
func (o Options) command(t coordinator.Task) *mesos.CommandInfo {
	program := o.ExecutorPath
	if program == "" {
		program = "./" + artifactFileName
	}
	return &mesos.CommandInfo{
		Shell:       ptr(false),
		Value:       ptr(program),
		Arguments:   []string{program, "executor"},
		URIs:        o.uris(),
		User:        ptr(o.User),
		Environment: o.environment(t),
	}
}

// commandInContainer is what follows the image in `docker run`: value, then arguments. The program is the entry point.
func (o Options) commandInContainer(t coordinator.Task) *mesos.CommandInfo {
	return &mesos.CommandInfo{
		Shell:       ptr(false),
		Value:       ptr("executor"),
		Arguments:   []string{"--in-container"},
		URIs:        o.uris(),
		Environment: o.environment(t),
	}
}

// uris has agents fetch the binary anew for each launch: after an upgrade another one is served at the same address.
func (o Options) uris() []mesos.CommandInfo_URI {
	if o.ExecutorPath != "" {
		return nil
	}
	return []mesos.CommandInfo_URI{{
		Value: o.ArtifactURL, OutputFile: ptr(artifactFileName),
		Executable: ptr(true), Extract: ptr(false), Cache: ptr(false),
	}}
}

func (o Options) environment(t coordinator.Task) *mesos.Environment {
	variables := []mesos.Environment_Variable{{Name: "ELASTICSEARCH_NODE_ID", Value: ptr(strconv.Itoa(int(t.Node)))}}
	for _, v := range []struct{ name, value string }{{"DOCKER_HOST", o.DockerHost}, {driverStateVariable, o.DriverState}} {
		if v.value != "" && o.Containerizer == MesosContainerizer {
			variables = append(variables, mesos.Environment_Variable{Name: v.name, Value: ptr(v.value)})
		}
	}
	return &mesos.Environment{Variables: variables}
}

// discovery makes the node's ports known to what reads Mesos' state, such as Mesos-DNS.
func discovery(t coordinator.Task) *mesos.DiscoveryInfo {
	port := func(name string, number int) mesos.Port {
		return mesos.Port{Number: uint32(number), Name: ptr(name), Protocol: ptr("tcp")}
	}
	return &mesos.DiscoveryInfo{
		Visibility: mesos.CLUSTER,
		Name:       ptr(t.Framework),
		Ports: &mesos.Ports{Ports: []mesos.Port{
			port("http", t.Place.HTTPPort), port("transport", t.Place.TransportPort),
		}},
	}
}

func labels(t coordinator.Task) *mesos.Labels {
	return &mesos.Labels{Labels: []mesos.Label{
		{Key: "mooring.framework", Value: ptr(t.Framework)},
		{Key: "mooring.node", Value: ptr(strconv.Itoa(int(t.Node)))},
		{Key: "mooring.epoch", Value: ptr(strconv.FormatUint(t.Epoch, 10))},
	}}
}

func nodeName(t coordinator.Task) string { return coordinator.NodeName(t.Framework, t.Node) }

func ptr[T any](value T) *T { return &value }
