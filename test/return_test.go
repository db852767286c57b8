package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/faultfs"
	"mooring/test/records"
)

// absence is a way in which an agent is away for so long that its node is replaced, and how it returns.
type absence struct {
	name        string
	host        int    // of the cell, by index
	said        string // by Mesos of the node's task when its agent was away
	leave, back func(*cell.Host, context.Context) error
}

// Only on a frozen host the node's container is still alive when it returns. The first host of the cell is the one that can lose its store.
var absences = []absence{
	{frozen, 1, unreachable, (*cell.Host).Freeze, (*cell.Host).Thaw},
	{"storeless", 0, unreachable, func(h *cell.Host, ctx context.Context) error {
		return errors.Join(h.Cut(ctx), h.Fault(ctx, faultfs.Fault{Kind: faultfs.Hang}))
	}, func(h *cell.Host, ctx context.Context) error { return errors.Join(h.Heal(ctx), h.Join(ctx)) }},
	{"stopped", 1, unreachable, stopAgent, (*cell.Host).StartAgent},
	{"dead", 1, unreachable, (*cell.Host).Kill, (*cell.Host).Return},
	{left, 1, "TASK_LOST", (*cell.Host).UnregisterAgent, (*cell.Host).StartAgent},
	{renewed, 1, unreachable, (*cell.Host).Kill, (*cell.Host).Renew},
}

const (
	unreachable = "TASK_UNREACHABLE"

	frozen  = "frozen"
	left    = "left"    // in order: Mesos says at once that the task is lost, and its container ends only then
	renewed = "renewed" // its host returns with an empty disk, and is another agent: Mesos says nothing of the old one's tasks, ever
)

// stopAgent ends the agent and its executors, as systemd does that stops a unit. The node's container goes on.
func stopAgent(h *cell.Host, ctx context.Context) error {
	kill, err := h.Command(ctx, "pkill", "--signal", "KILL", "--full", "mooring executor")
	if err != nil {
		return err
	}
	return errors.Join(h.KillAgent(ctx), kill.Run())
}

// absent is a node whose host is away or was, and a witness: writers of records in the node's containers, on its data volume.
type absent struct {
	single
	t       *testing.T
	cell    *cell.Cell
	records string   // program of the witness
	acks    []string // files of what its writers acknowledged, one per container
}

// An agent is away for so long that its node runs elsewhere, and then returns with what was left of it there: its host was frozen; it
// lived without network and store; the agent was stopped with its executor, while the container went on until it missed that; the host died; the
// agent left in order; or the host died and returned with an empty disk.
// What runs there is ended before it can write anything into the volumes that another host has by then, which a witness in the
// node's own container shows. Mesos has no task of the old launch any more, or will say nothing of it, the node stays where it is with its documents, and
// the host is clean: no process, no mount, no loop device, no lease; the last container goes when the host gets its next node.
func TestStoryAnAgentReturnsAfterItsNodeWasReplaced(t *testing.T) {
	c, program := imageCell(t), filepath.Join(t.TempDir(), "records")
	build := exec.Command("go", "build", "-o", program, "./cmd/records")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, away := range absences {
		t.Run(away.name, func(t *testing.T) {
			h, framework := c.Hosts[away.host], "back"+away.name
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
				defer cancel()
				require.NoError(t, admit(ctx, c, c.Hosts...))
			})
			require.NoError(t, admit(within(t), c, h))
			a := &absent{single: singleNodeIn(t, c, deploy.Options{Framework: framework}), t: t, cell: c, records: program}
			require.Same(t, h, a.host)
			a.witness(h)
			require.NoError(t, admit(within(t), c, c.Hosts[1:]...)) // whose store can clone, which the end of a freeze needs

			require.NoError(t, away.leave(h, within(t)))
			a.cameBack(t)
			node, taker := a.replaced(away)
			said, leases := a.said(), a.leases(0)
			counts := a.acknowledged()
			a.witness(taker)

			require.NoError(t, away.back(h, within(t)))
			tasks := []string{fmt.Sprintf("%s-1-%d TASK_RUNNING", framework, node.Epoch)}
			if away.name == renewed {
				tasks = append(tasks, fmt.Sprintf("%s-1-%d %s", framework, a.node.Epoch, unreachable))
			}
			await(t, "nothing of the old launch", func() error { return a.traces(tasks) })
			a.writes(1)
			a.wroteNoMore(away, len(counts))
			a.audit(counts)
			audit(t, a.ledger)
			after, _ := a.runs()
			assert.Equal(t, []any{node.Epoch, node.Place}, []any{after.Epoch, after.Place}, "the node stays where it is")
			assert.Equal(t, leases, a.leases(0))
			for volume, lease := range leases {
				assert.Equal(t, leaseFile{taker.Name, "held"}, lease, volume)
			}
			a.landsAt(h)
			if away.name == renewed {
				assert.Equal(t, said, a.said(), "Mesos said nothing more of what ran there")
			}
		})
	}
}

// replaced checks how the node came to run on another host, and returns it and that host.
func (a *absent) replaced(away absence) (deploy.Node, *cell.Host) {
	a.t.Helper()
	node, taker := a.runs()
	require.NotEqual(a.t, a.host.Name, taker.Name)
	a.t.Logf("launch %d of the node runs on %s", node.Epoch, taker.Name)
	assert.Equal(a.t, away.said, a.said()[0])
	if away.name == left {
		for volume, lease := range a.leases(1) {
			assert.Equal(a.t, leaseFile{a.host.Name, "released"}, lease, "the old container gave %s back before another host had it", volume)
		}
	}
	if away.name != frozen && a.host.Alive() {
		assert.False(a.t, runs(a.t, a.host, "records write"), "what wrote there ended before the volumes were another host's")
	}
	return node, taker
}

// wroteNoMore checks that the first writer, which had acknowledged so many bytes when its volumes were another host's, wrote nothing after that.
func (a *absent) wroteNoMore(away absence, before int) {
	a.t.Helper()
	switch now := len(a.acknowledgedBy(0)); away.name {
	case frozen:
		a.t.Logf("the witness wrote %d bytes into the old copy between its host's wake and its own end", now-before)
	case renewed:
		assert.Zero(a.t, now, "what it noted went with the disk")
	default:
		assert.Equal(a.t, before, now, "nothing was written there meanwhile")
	}
}

// admit has Mesos offer the agents of these hosts only.
func admit(ctx context.Context, c *cell.Cell, hosts ...*cell.Host) error {
	for _, h := range c.Hosts {
		agent, err := h.AgentID()
		if err != nil {
			return err
		}
		order := func(verb string) error {
			return orderMesos(ctx, c, "/api/v1", fmt.Sprintf(`{"type":"%s_AGENT","%s_agent":{"agent_id":{"value":%q}}}`, strings.ToUpper(verb), verb, agent))
		}
		if err := order("reactivate"); err != nil && !strings.Contains(err.Error(), "is not deactivated") {
			return err
		}
		if slices.Contains(hosts, h) {
			continue
		}
		if err := order("deactivate"); err != nil {
			return err
		}
	}
	return nil
}

// runs is the node as it runs now, and where.
func (a *absent) runs() (deploy.Node, *cell.Host) {
	a.t.Helper()
	nodes, err := a.Nodes(within(a.t))
	require.NoError(a.t, err)
	h, err := a.cell.At(nodes[0].Place.Host)
	require.NoError(a.t, err)
	return nodes[0], h
}

// container is the node's on a host.
func (a *absent) container(h *cell.Host) string {
	a.t.Helper()
	found, err := a.Containers(within(a.t), h, "--quiet", "--filter", "label=mooring.node=1")
	require.NoError(a.t, err)
	require.NotEmpty(a.t, found)
	return found
}

// witness starts a writer of records in the node's container. What it acknowledges is kept in the executor's directory, which
// outlives the container.
func (a *absent) witness(h *cell.Host) {
	a.t.Helper()
	container := a.container(h)
	dir := docker(a.t, h, "inspect", "--format", `{{index .Config.Labels "mooring.run"}}`, container)
	content, err := os.ReadFile(a.records)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(filepath.Join(dir, "records"), content, 0o700))
	docker(a.t, h, "exec", "--detach", container, "/run/mooring/records", "write", "/data/witness", "--host", h.Name, "--acks", "/run/mooring/acks")
	a.acks = append(a.acks, filepath.Join(dir, "acks"))
	a.writes(len(a.acks) - 1)
}

// acknowledgedBy is what one of the writers acknowledged so far.
func (a *absent) acknowledgedBy(writer int) []byte {
	a.t.Helper()
	content, err := os.ReadFile(a.acks[writer])
	if !errors.Is(err, os.ErrNotExist) { // it has only just begun
		require.NoError(a.t, err)
	}
	return content
}

// acknowledged is what the first writer acknowledged so far.
func (a *absent) acknowledged() []byte { return a.acknowledgedBy(0) }

// writes waits until a writer has acknowledged more than now.
func (a *absent) writes(writer int) {
	a.t.Helper()
	before := len(a.acknowledgedBy(writer))
	await(a.t, "more records", func() error {
		if len(a.acknowledgedBy(writer)) < before+10_000 {
			return errors.New("there are none")
		}
		return nil
	})
}

// audit compares what the node's volume has with what the first writer acknowledged before it was replaced, and the second one so far.
func (a *absent) audit(first []byte) {
	a.t.Helper()
	acks := slices.Concat(first, []byte("\n"), a.acknowledgedBy(1))
	_, h := a.runs()
	file := docker(a.t, h, "exec", a.container(h), "cat", "/data/witness")
	report, err := records.Audit([]byte(file), acks)
	require.NoError(a.t, err)
	assert.Equal(a.t, 2, report.Runs)
	a.t.Log(report)
}

// said is how Mesos said that the first launch of the node was no longer well, and all that it said of it since.
func (a *absent) said() (states []string) {
	a.t.Helper()
	log, err := os.ReadFile(a.Log())
	require.NoError(a.t, err)
	for line := range bytes.Lines(log) {
		var status struct {
			Message     string `json:"@message"`
			Node, Epoch int
			State       string
		}
		if json.Unmarshal(line, &status) != nil || status.Message != "status" || status.Node != a.node.ID || status.Epoch != a.node.Epoch {
			continue
		}
		if well := status.State == "TASK_STARTING" || status.State == "TASK_RUNNING"; !well || len(states) > 0 {
			states = append(states, status.State)
		}
	}
	require.NotEmpty(a.t, states)
	return states
}

// leases says who may write the node's volumes, by their newest leases, or by those so many before.
func (a *absent) leases(before int) map[string]leaseFile {
	a.t.Helper()
	newest := map[string]leaseFile{}
	for _, volume := range a.node.Volumes {
		files, err := filepath.Glob(filepath.Join(filepath.Dir(leasePath(a.cell, volume, 1)), "lease.*"))
		require.NoError(a.t, err)
		last := 0
		for _, file := range files {
			epoch, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(file), "."))
			require.NoError(a.t, err, file)
			last = max(last, epoch)
		}
		newest[volume] = leaseIn(a.t, a.cell, volume, last-before)
	}
	return newest
}

// traces finds what is left of launches before the one that runs: a task that Mesos knows, but for these, and on the host that was away
// anything that could write. The engine may still have the container, which has ended.
func (a *absent) traces(want []string) error {
	tasks, err := a.tasks()
	if err == nil && !slices.Equal(tasks, want) {
		err = fmt.Errorf("mesos knows the tasks %v", tasks)
	}
	found := []error{err}
	for _, process := range []string{"records write", "org.elasticsearch", "mooring node", "mooring executor"} {
		if runs(a.t, a.host, process) {
			found = append(found, fmt.Errorf("%s runs on %s", process, a.host.Name))
		}
	}
	for _, volume := range a.node.Volumes {
		for _, pid := range []int{a.host.PID("dockerd"), a.host.PluginPID(), a.host.GuardPID()} {
			if table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid)); err == nil && strings.Contains(string(table), "/"+volume) {
				found = append(found, fmt.Errorf("%s is mounted in process %d on %s", volume, pid, a.host.Name))
			}
		}
	}
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	loops := slices.DeleteFunc(devices, func(file string) bool {
		backing, err := os.ReadFile(file)
		return err != nil || !strings.Contains(string(backing), "/"+a.node.Volumes[1]+"/")
	})
	if len(loops) != 1 {
		found = append(found, fmt.Errorf("loop devices with the image: %v, one is the new holder's", loops))
	}
	return errors.Join(append(found, err)...)
}

// tasks are those of the cell that are not over for the Mesos master.
func (a *absent) tasks() (found []string, err error) {
	client := a.cell.HTTPClient()
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(within(a.t), http.MethodGet, "http://"+a.cell.Master+"/master/state", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	type task struct{ ID, State string }
	var state struct {
		Frameworks []struct {
			Tasks       []task
			Unreachable []task `json:"unreachable_tasks"`
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		return nil, err
	}
	for _, f := range state.Frameworks {
		for _, t := range slices.Concat(f.Tasks, f.Unreachable) {
			found = append(found, t.ID+" "+t.State)
		}
	}
	return found, nil
}

// landsAt gives the host that was away its next node, which clears away the last that is there of the one before.
func (a *absent) landsAt(h *cell.Host) {
	a.t.Helper()
	require.NoError(a.t, admit(within(a.t), a.cell, h))
	require.NoError(a.t, a.Scale(within(a.t), 2))
	nodes, err := a.AwaitNodes(within(a.t), 2)
	require.NoError(a.t, err)
	assert.Equal(a.t, h.Address, nodes[1].Place.Host)
	await(a.t, "the container of the old launch to be removed", func() error {
		left, err := a.Containers(within(a.t), h, "--all", "--quiet", "--filter", "label=mooring.node=1")
		if err == nil && left != "" {
			err = fmt.Errorf("%s is there", left)
		}
		return err
	})
}
