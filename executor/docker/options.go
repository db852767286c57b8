package docker

import (
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"mooring/coordinator"
	"mooring/executor"
)

// Places in the container.
const (
	binaryPath = "/mooring"
	runPath    = "/run/mooring" // where `mooring node` looks by itself
)

// Container output is kept by the Engine, within bounds.
const (
	logSize  = "10m"
	logFiles = "3"
)

// options say how the container of a node looks.
func (r *Runtime) options(spec executor.Spec) client.ContainerCreateOptions {
	settings := spec.Task.Settings
	stopSeconds := settings.StopSeconds
	memory := spec.Task.MemoryMB << 20
	return client.ContainerCreateOptions{
		Name: spec.Name,
		Config: &container.Config{
			Image:      settings.Image,
			Labels:     spec.Labels,
			Env:        spec.Env,
			Entrypoint: []string{binaryPath, "node"},
			// The node checks and marks volumes and gives them to Elasticsearch's user before it starts that one without
			// root's rights.
			User:        "0:0",
			StopSignal:  "SIGTERM",
			StopTimeout: &stopSeconds,
		},
		HostConfig: &container.HostConfig{
			NetworkMode:   "host", // Elasticsearch binds the agent's own address and the ports that were offered
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": logFiles}},
			Resources:     container.Resources{Memory: memory, MemorySwap: memory}, // the same: no swap, it would stall the JVM
			Mounts: []mount.Mount{
				volume(spec.Task, coordinator.Config, settings.ConfigPath),
				volume(spec.Task, coordinator.Data, settings.DataPath),
				{Type: mount.TypeBind, Source: r.binary, Target: binaryPath, ReadOnly: true},
				{Type: mount.TypeBind, Source: spec.RunDir, Target: runPath},
			},
		},
	}
}

// volume requests a volume by name. The Engine has the driver create it, with the options, if it does not exist. It is
// never filled from the image: files of an old image would stay in it for good.
func volume(task coordinator.Task, kind coordinator.Kind, target string) mount.Mount {
	return mount.Mount{
		Type:   mount.TypeVolume,
		Source: coordinator.VolumeName(task.Framework, task.Node, kind),
		Target: target,
		VolumeOptions: &mount.VolumeOptions{
			NoCopy:       true,
			DriverConfig: &mount.Driver{Name: task.Settings.Driver, Options: task.Settings.VolumeOptions(kind)},
		},
	}
}
