package executor

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

func TestDecide(t *testing.T) {
	want := coordinator.Task{Framework: "es", Node: 2, Epoch: 3}
	found := func(framework, node, epoch string, running bool) *Container {
		return &Container{Running: running, Labels: map[string]string{labelFramework: framework, labelNode: node, labelEpoch: epoch}}
	}
	for _, c := range []struct {
		found *Container
		want  step
		err   string
		fault coordinator.Fault
	}{
		{nil, start, "", 0},
		{found("es", "2", "3", true), adopt, "", 0},
		{found("es", "2", "3", false), replace, "", 0},
		{found("es", "2", "2", true), replace, "", 0},
		{found("es", "2", "2", false), replace, "", 0},
		{found("es", "2", "4", true), 0, "launch 4 of node 2 runs on this agent, this is only launch 3", coordinator.FaultNone},
		{found("es", "2", "4", false), 0, "launch 4 of node 2 runs on this agent, this is only launch 3", coordinator.FaultNone},
		{found("es-", "2", "3", true), 0, "container mooring-es-2 on this agent is not of Mooring: rename or remove it", coordinator.FaultAgent},
		{found("es", "2", "x", true), 0, `container mooring-es-2 on this agent has label mooring.epoch="x", which is no number: remove it`, coordinator.FaultAgent},
		{&Container{}, 0, "container mooring-es-2 on this agent is not of Mooring: rename or remove it", coordinator.FaultAgent},
	} {
		got, err := decide(c.found, want)
		if c.err == "" {
			assert.NoError(t, err)
			assert.Equal(t, c.want, got)
			continue
		}
		assert.EqualError(t, err, c.err)
		f, ok := errors.AsType[*failure](err)
		assert.True(t, ok)
		assert.Equal(t, c.fault, f.fault)
	}
}

func TestStartFault(t *testing.T) {
	for text, want := range map[string]coordinator.Fault{
		"VolumeDriver.Mount: volume es2data is held by host b (epoch 3)": coordinator.FaultVolume,
		`error looking up volume plugin x: plugin "x" not found`:         coordinator.FaultAgent,
		"pull image y: no such host":                                     coordinator.FaultAgent,
		"no Docker Engine answers at unix:///var/run/docker.sock":        coordinator.FaultAgent,
	} {
		assert.Equal(t, want, startFault(errors.New(text)), text)
	}
}
