// Package process runs a node as a child of the executor, for an executor that lives in the container of the node itself
// (Docker containerizer). There a container is a process: nothing of it outlives the executor, so nothing is ever found.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mooring/executor"
)

// killTimeout is how long a node may take to end when it was told to kill Elasticsearch.
const killTimeout = 20 * time.Second

// RunDirVariable tells the node where its run directory is.
const RunDirVariable = "MOORING_RUN_DIR"

// Runtime starts nodes as children. It is ready for use with the path of the mooring binary.
type Runtime struct {
	Binary string

	mu       sync.Mutex
	children map[string]*child // by name, which is the ID too
}

type child struct {
	labels  map[string]string
	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended
}

// Find implements [executor.Runtime].
func (r *Runtime) Find(_ context.Context, name string) (executor.Container, bool, error) {
	c, ok := r.child(name)
	if !ok {
		return executor.Container{}, false, nil
	}
	return c.container(name), true, nil
}

func (r *Runtime) child(name string) (*child, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.children[name]
	return c, ok
}

func (c *child) container(name string) executor.Container {
	running := true
	select {
	case <-c.ended:
		running = false
	default:
	}
	return executor.Container{ID: name, Labels: c.labels, Running: running}
}

// Ended implements [executor.Runtime].
func (r *Runtime) Ended(_ context.Context, labels map[string]string) (found []executor.Container, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, child := range r.children {
		if c := child.container(name); !c.Running && executor.HasLabels(c, labels) {
			found = append(found, c)
		}
	}
	return found, nil
}

// Start implements [executor.Runtime].
func (r *Runtime) Start(_ context.Context, spec executor.Spec) (executor.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.children[spec.Name]; taken {
		return executor.Container{}, fmt.Errorf("start %s: it exists already", spec.Name)
	}
	process := exec.Command(r.Binary, "node")
	process.Env = append(append(environment(), spec.Env...), RunDirVariable+"="+spec.RunDir)
	process.Stdout, process.Stderr = os.Stdout, os.Stderr
	if err := process.Start(); err != nil {
		return executor.Container{}, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	c := &child{labels: spec.Labels, process: process, ended: make(chan struct{})}
	go func() { // ends with the process, which the executor never leaves behind
		defer close(c.ended)
		_ = process.Wait() // how it ended is in ProcessState
	}()
	if r.children == nil {
		r.children = map[string]*child{}
	}
	r.children[spec.Name] = c
	return c.container(spec.Name), nil
}

// environment is the executor's own without its secret.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, executor.TokenVariable+"=")
	})
}

// Wait implements [executor.Runtime].
func (r *Runtime) Wait(ctx context.Context, id string) (executor.Exit, error) {
	c, ok := r.child(id)
	if !ok {
		return executor.Exit{}, executor.ErrGone
	}
	select {
	case <-ctx.Done():
		return executor.Exit{}, ctx.Err()
	case <-c.ended:
		return executor.Exit{Code: exitCode(c.process.ProcessState)}, nil
	}
}

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Stop implements [executor.Runtime]. The node itself is never killed: it alone knows what it has started. It is told to
// kill that instead.
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) error {
	c, ok := r.child(id)
	if !ok {
		return nil
	}
	if grace > 0 && c.signal(ctx, syscall.SIGTERM, grace) {
		return nil
	}
	if c.signal(ctx, syscall.SIGQUIT, killTimeout) {
		return nil
	}
	return fmt.Errorf("stop %s: %w", id, errors.Join(errors.New("the node does not end"), ctx.Err()))
}

// signal says whether the process ended within the time.
func (c *child) signal(ctx context.Context, s os.Signal, within time.Duration) bool {
	_ = c.process.Process.Signal(s) // one that has ended already needs none
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.ended:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// Remove implements [executor.Runtime].
func (r *Runtime) Remove(_ context.Context, id string) error {
	c, ok := r.child(id)
	if !ok {
		return nil
	}
	if c.container(id).Running {
		return fmt.Errorf("remove %s: it still runs", id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.children, id)
	return nil
}
