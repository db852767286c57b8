package scheduler

import (
	"encoding/csv"
	"maps"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// container asks the agent's engine for the node's container with its two volumes by name. Mesos passes the user on as a
// parameter only. It does not pass driver options on: with options the volumes, too, are parameters, which `docker run` gets as
// they are (observed: Mesos 1.11).
func (o Options) container(t coordinator.Task) *mesos.ContainerInfo {
	program := containerSandbox + "/" + artifactFileName
	if o.ExecutorPath != "" {
		program = containerBinary
	}
	c := &mesos.ContainerInfo{
		Type: mesos.ContainerInfo_DOCKER.Enum(),
		Docker: &mesos.ContainerInfo_DockerInfo{
			Image:   t.Settings.Image,
			Network: mesos.ContainerInfo_DockerInfo_HOST.Enum(),
			Parameters: []mesos.Parameter{
				{Key: "entrypoint", Value: program},
				{Key: "user", Value: "0:0"}, // the node drops to Elasticsearch's user once the volumes are ready
			},
		},
	}
	for _, v := range []struct {
		kind coordinator.Kind
		path string
	}{{coordinator.Config, t.Settings.ConfigPath}, {coordinator.Data, t.Settings.DataPath}} {
		if len(t.Settings.VolumeOptions(v.kind)) > 0 {
			c.Docker.Parameters = append(c.Docker.Parameters, mesos.Parameter{Key: "mount", Value: mountParameter(t, v.kind, v.path)})
		} else {
			c.Volumes = append(c.Volumes, dockerVolume(t, v.kind, v.path))
		}
	}
	if o.ExecutorPath != "" {
		c.Volumes = append(c.Volumes, mesos.Volume{Mode: mesos.RO.Enum(), HostPath: ptr(o.ExecutorPath), ContainerPath: program})
	}
	return c
}

func dockerVolume(t coordinator.Task, kind coordinator.Kind, path string) mesos.Volume {
	return mesos.Volume{
		Mode:          mesos.RW.Enum(),
		ContainerPath: path,
		Source: &mesos.Volume_Source{
			Type: mesos.Volume_Source_DOCKER_VOLUME,
			DockerVolume: &mesos.Volume_Source_DockerVolume{
				Driver: ptr(t.Settings.Driver),
				Name:   coordinator.VolumeName(t.Framework, t.Node, kind),
			},
		},
	}
}

// mountParameter is the same volume as docker(1) takes it for --mount, a line of comma-separated values. It is never filled from
// the image: files of an old image would stay in it for good.
func mountParameter(t coordinator.Task, kind coordinator.Kind, path string) string {
	fields := []string{
		"type=volume", "source=" + coordinator.VolumeName(t.Framework, t.Node, kind), "target=" + path,
		"volume-driver=" + t.Settings.Driver, "volume-nocopy=true",
	}
	options := t.Settings.VolumeOptions(kind)
	for _, name := range slices.Sorted(maps.Keys(options)) {
		fields = append(fields, "volume-opt="+name+"="+options[name])
	}
	var line strings.Builder
	w := csv.NewWriter(&line)
	_ = w.Write(fields) // into memory
	w.Flush()
	return strings.TrimSuffix(line.String(), "\n")
}
