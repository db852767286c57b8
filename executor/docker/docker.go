// Package docker runs nodes in containers of a Docker Engine, for an executor that is a plain process on the agent (Mesos
// containerizer). Only the Engine's API carries a volume driver with its options, and its words when a mount fails.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"mooring/executor"
)

const (
	defaultHost = "unix:///var/run/docker.sock"

	askTimeout    = 15 * time.Second
	createTimeout = time.Minute     // creates volumes that do not exist yet
	startTimeout  = 3 * time.Minute // mounts two volumes; the Engine gives a driver up to two minutes
	pullTimeout   = 30 * time.Minute
	stopMargin    = 30 * time.Second // for the Engine itself to kill and to unmount
	removeTimeout = time.Minute
)

// Options say which Engine is used. The zero value is the machine's own.
type Options struct {
	Host   string // unix:///path or tcp://host:port; unix:///var/run/docker.sock if empty
	Binary string // of mooring, on the Engine's machine; this process's own if empty
}

// Runtime starts containers. It implements [executor.Runtime].
type Runtime struct {
	engine *client.Client
	host   string
	binary string
}

// New returns a Runtime; the Engine is not asked anything yet. Close it after use.
func New(o Options) (*Runtime, error) {
	if o.Host == "" {
		o.Host = defaultHost
	}
	if o.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program's own file: %w", err)
		}
		o.Binary = own
	}
	engine, err := client.New(client.WithHost(o.Host))
	if err != nil {
		return nil, fmt.Errorf("docker host %q: write it as unix:///path or tcp://host:port: %w", o.Host, err)
	}
	return &Runtime{engine: engine, host: o.Host, binary: o.Binary}, nil
}

// Close gives up connections to the Engine.
func (r *Runtime) Close() error { return r.engine.Close() }

// Find implements [executor.Runtime].
func (r *Runtime) Find(ctx context.Context, name string) (executor.Container, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := r.engine.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return executor.Container{}, false, nil
	}
	if err != nil {
		return executor.Container{}, false, r.words("look for container", name, err)
	}
	c := executor.Container{ID: found.Container.ID}
	if found.Container.Config != nil {
		c.Labels = found.Container.Config.Labels
	}
	if found.Container.State != nil {
		c.Running = found.Container.State.Running
	}
	return c, true, nil
}

// Ended implements [executor.Runtime]. One that was only created is on its way, or was when its host died.
func (r *Runtime) Ended(ctx context.Context, labels map[string]string) (found []executor.Container, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	want := make(client.Filters).Add("status", string(container.StateExited), string(container.StateDead))
	for name, value := range labels {
		want.Add("label", name+"="+value)
	}
	listed, err := r.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: want})
	if err != nil {
		return nil, r.words("look for", "ended containers", err)
	}
	for _, c := range listed.Items {
		found = append(found, executor.Container{ID: c.ID, Labels: c.Labels})
	}
	return found, nil
}

// Start implements [executor.Runtime]. An image that the Engine does not have is pulled. Only the pull ends with ctx: a
// creation or start that nobody waits for would go on in the Engine.
func (r *Runtime) Start(ctx context.Context, spec executor.Spec) (executor.Container, error) {
	id, err := r.create(ctx, spec)
	if cerrdefs.IsNotFound(err) && !r.hasImage(ctx, spec.Task.Settings.Image) {
		if err := r.pull(ctx, spec.Task.Settings.Image); err != nil {
			return executor.Container{}, err
		}
		id, err = r.create(ctx, spec)
	}
	if err != nil {
		return executor.Container{}, r.words("create container", spec.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if _, err := r.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return executor.Container{}, r.words("start container", spec.Name, err)
	}
	return executor.Container{ID: id, Labels: spec.Labels, Running: true}, nil
}

func (r *Runtime) create(ctx context.Context, spec executor.Spec) (id string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	created, err := r.engine.ContainerCreate(ctx, r.options(spec))
	return created.ID, err
}

// hasImage tells a missing image from a missing volume driver, which the Engine does not.
func (r *Runtime) hasImage(ctx context.Context, image string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := r.engine.ImageInspect(ctx, image)
	return !cerrdefs.IsNotFound(err)
}

func (r *Runtime) pull(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	progress, err := r.engine.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return r.words("pull image", image, err)
	}
	if err := errors.Join(progress.Wait(ctx), progress.Close()); err != nil {
		return r.words("pull image", image, err)
	}
	return nil
}

// Wait implements [executor.Runtime].
func (r *Runtime) Wait(ctx context.Context, id string) (executor.Exit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wait := r.engine.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case end := <-wait.Result:
		return executor.Exit{Code: int(end.StatusCode), OutOfMemory: r.outOfMemory(ctx, id)}, nil
	case err := <-wait.Error:
		if cerrdefs.IsNotFound(err) {
			return executor.Exit{}, executor.ErrGone
		}
		return executor.Exit{}, r.words("wait for container", id, err)
	}
}

// outOfMemory is asked after the end; when the Engine cannot say, the exit code has to do.
func (r *Runtime) outOfMemory(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := r.engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err == nil && found.Container.State != nil && found.Container.State.OOMKilled
}

// Stop implements [executor.Runtime].
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+stopMargin)
	defer cancel()
	seconds := int(grace.Round(time.Second) / time.Second)
	_, err := r.engine.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return r.words("stop container", id, err)
	}
	return nil
}

// Remove implements [executor.Runtime]. Anonymous volumes, which images may ask for, go with the container.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	_, err := r.engine.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return r.words("remove container", id, err)
	}
	return nil
}

// words makes an error of what the Engine said, without its own preamble.
func (r *Runtime) words(verb, what string, err error) error {
	if client.IsErrConnectionFailed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s %s: no Docker Engine answers at %s: %w", verb, what, r.host, err)
	}
	return fmt.Errorf("%s %s: %w", verb, what, &said{err})
}

// said is an error of the Engine as an operator reads it.
type said struct{ err error }

func (s *said) Error() string {
	return strings.TrimPrefix(s.err.Error(), "Error response from daemon: ")
}

func (s *said) Unwrap() error { return s.err }
