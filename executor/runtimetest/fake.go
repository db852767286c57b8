package runtimetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"mooring/executor"
)

// Fake is a runtime in memory. It is ready for use.
type Fake struct {
	mu         sync.Mutex
	containers map[string]*container // by name
	fails      map[string]error      // by verb
	calls      []string
	made       int
}

type container struct {
	executor.Container
	spec  executor.Spec
	exit  executor.Exit
	ended chan struct{}
}

// Fail makes a verb ("find", "ended", "start", "wait", "stop", "remove") fail until it is given nil.
func (f *Fake) Fail(verb string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		f.fails = map[string]error{}
	}
	f.fails[verb] = err
}

// Calls are the effects so far: "start NAME", "stop NAME GRACE", "remove NAME".
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Put adds a container as an earlier executor may have left it.
func (f *Fake) Put(spec executor.Spec, running bool) executor.Container {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.putLocked(spec)
	if !running {
		c.endLocked(executor.Exit{})
	}
	return c.Container
}

// Spec is what the container of a name was started with.
func (f *Fake) Spec(name string) (executor.Spec, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.containers[name]
	if !ok {
		return executor.Spec{}, false
	}
	return c.spec, true
}

// End lets the container of a name end by itself.
func (f *Fake) End(name string, exit executor.Exit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[name].endLocked(exit)
}

func (f *Fake) putLocked(spec executor.Spec) *container {
	f.made++
	c := &container{
		Container: executor.Container{ID: "id-" + strconv.Itoa(f.made), Labels: spec.Labels, Running: true},
		spec:      spec, ended: make(chan struct{}),
	}
	if f.containers == nil {
		f.containers = map[string]*container{}
	}
	f.containers[spec.Name] = c
	return c
}

func (c *container) endLocked(exit executor.Exit) {
	if c.Running {
		c.Running, c.exit = false, exit
		close(c.ended)
	}
}

func (f *Fake) byIDLocked(id string) *container {
	for _, c := range f.containers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Find implements [executor.Runtime].
func (f *Fake) Find(_ context.Context, name string) (executor.Container, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails["find"]; err != nil {
		return executor.Container{}, false, err
	}
	c, ok := f.containers[name]
	if !ok {
		return executor.Container{}, false, nil
	}
	return c.Container, true, nil
}

// Ended implements [executor.Runtime].
func (f *Fake) Ended(_ context.Context, labels map[string]string) (found []executor.Container, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if !c.Running && executor.HasLabels(c.Container, labels) {
			found = append(found, c.Container)
		}
	}
	return found, f.fails["ended"]
}

// Start implements [executor.Runtime]. When it fails the container exists, as with an Engine that cannot mount a volume.
func (f *Fake) Start(_ context.Context, spec executor.Spec) (executor.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.containers[spec.Name]; taken {
		return executor.Container{}, fmt.Errorf("start %s: it exists already", spec.Name)
	}
	f.calls = append(f.calls, "start "+spec.Name)
	c := f.putLocked(spec)
	if err := f.fails["start"]; err != nil {
		c.endLocked(executor.Exit{})
		return executor.Container{}, err
	}
	if slices.Contains(spec.Env, Exit) {
		c.endLocked(executor.Exit{Code: 3})
		return executor.Container{ID: c.ID, Labels: c.Labels, Running: true}, nil
	}
	return c.Container, nil
}

// Wait implements [executor.Runtime].
func (f *Fake) Wait(ctx context.Context, id string) (executor.Exit, error) {
	f.mu.Lock()
	c, err := f.byIDLocked(id), f.fails["wait"]
	f.mu.Unlock()
	switch {
	case err != nil:
		return executor.Exit{}, err
	case c == nil:
		return executor.Exit{}, executor.ErrGone
	}
	select {
	case <-c.ended:
		f.mu.Lock()
		defer f.mu.Unlock()
		return c.exit, nil
	case <-ctx.Done():
		return executor.Exit{}, ctx.Err()
	}
}

// Stop implements [executor.Runtime]; no time passes.
func (f *Fake) Stop(_ context.Context, id string, grace time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails["stop"]; err != nil {
		return err
	}
	c := f.byIDLocked(id)
	if c == nil {
		return nil
	}
	f.calls = append(f.calls, fmt.Sprintf("stop %s %s", c.spec.Name, grace))
	code := 143
	if grace == 0 || slices.Contains(c.spec.Env, Stubborn) {
		code = 137
	}
	c.endLocked(executor.Exit{Code: code})
	return nil
}

// Remove implements [executor.Runtime].
func (f *Fake) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails["remove"]; err != nil {
		return err
	}
	c := f.byIDLocked(id)
	if c == nil {
		return nil
	}
	if c.Running {
		return fmt.Errorf("remove %s: it still runs", c.spec.Name)
	}
	f.calls = append(f.calls, "remove "+c.spec.Name)
	delete(f.containers, c.spec.Name)
	return nil
}
