package mesos_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/test/ports"
)

// build builds a command.
func build(t *testing.T, folder string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "program")
	built, err := exec.Command("go", "build", "-o", program, folder).CombinedOutput()
	require.NoError(t, err, "%s", built)
	return program
}

// process is `mooring scheduler`, with two nodes of framework es whose executors are this program.
type process struct {
	*daemon
	address string // of its API
}

// newProcess prepares a scheduler that finds its master and its state where flags say.
func newProcess(t *testing.T, program, name string, flags ...string) *process {
	t.Helper()
	executor, err := os.Executable()
	require.NoError(t, err)
	p := &process{address: ports.Free(t)}
	p.daemon = newDaemon(t, name, append([]string{program, "scheduler", "--log-level=debug", "--framework=es", "--nodes=2", "--memory=512",
		"--image=elasticsearch:8.19.5", "--executor-path=" + executor, "--listen=" + p.address}, flags...)...)
	return p
}

// up starts the scheduler and waits until its API answers.
func (p *process) up() {
	p.t.Helper()
	p.start()
	eventually(p.t, p.name, func() error {
		p.supervise() // it ends when ZooKeeper does not answer in time
		return ask("http://"+p.address+"/v1/cluster", &said{})
	})
}

// nodes are what the scheduler knows of them.
func (p *process) nodes() (nodes []coordinator.Node, err error) {
	return nodes, ask("http://"+p.address+"/v1/nodes", &nodes)
}

// run waits until the scheduler has a subscription, and nodes 1 and 2 run in these epochs by what Mesos has said since.
func (p *process) run(epochs [2]uint64) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("nodes 1 and 2 run in epochs %d", epochs), func() error {
		var c said
		if err := ask("http://"+p.address+"/v1/cluster", &c); err != nil || c.Master == "" {
			return errors.Join(err, fmt.Errorf("it says %+v", c))
		}
		nodes, err := p.nodes()
		if err != nil {
			return err
		}
		for i, epoch := range epochs {
			if len(nodes) != len(epochs) || nodes[i].Phase != coordinator.Running || nodes[i].Epoch != epoch || !nodes[i].Settled {
				return fmt.Errorf("they are %+v", nodes)
			}
		}
		return nil
	})
}

// tasks are those of nodes 1 and 2 in these epochs.
func tasks(epochs [2]uint64) []string {
	return []string{coordinator.TaskID("es", 1, epochs[0]), coordinator.TaskID("es", 2, epochs[1])}
}

// frameworkOnAgent is what an agent says of one.
type frameworkOnAgent struct {
	Executors []executorOnAgent `json:"executors"`
	Over      []executorOnAgent `json:"completed_executors"`
}

type executorOnAgent struct {
	Queued []task `json:"queued_tasks"`
	Tasks  []task `json:"tasks"`
	Over   []task `json:"completed_tasks"`
}

// word is what agents themselves say of tasks.
type word struct {
	there []string // "ID STATE"
	over  []string // IDs
}

// askAgents has them say it.
func askAgents(agents []*agent) (w word, err error) {
	for _, a := range agents {
		var state struct {
			Frameworks []frameworkOnAgent `json:"frameworks"`
			Over       []frameworkOnAgent `json:"completed_frameworks"`
		}
		if err := ask("http://"+a.endpoint()+"/state", &state); err != nil {
			return w, err
		}
		for _, f := range slices.Concat(state.Frameworks, state.Over) {
			for _, e := range slices.Concat(f.Executors, f.Over) {
				for _, t := range e.Over {
					w.over = append(w.over, t.ID)
				}
				for _, t := range slices.Concat(e.Queued, e.Tasks) {
					w.there = append(w.there, t.ID+" "+t.State)
				}
			}
		}
	}
	slices.Sort(w.there)
	slices.Sort(w.over)
	return w, nil
}

// runOnce waits until these tasks run on the agents, those are over there, no other ever was there, and there is an executor for each.
func runOnce(t *testing.T, agents []*agent, run, over []string) {
	t.Helper()
	want := word{over: over}
	for _, id := range run {
		want.there = append(want.there, id+" TASK_RUNNING")
	}
	eventually(t, "each node runs once, on the agents' own word", func() error {
		found, err := askAgents(agents)
		if err != nil {
			return err
		}
		if !slices.Equal(found.there, want.there) || !slices.Equal(found.over, want.over) {
			return fmt.Errorf("they say %+v, not %+v", found, want)
		}
		count := 0
		for _, a := range agents {
			count += len(a.executors())
		}
		if count != len(run) {
			return fmt.Errorf("%d executors run", count)
		}
		return nil
	})
}
