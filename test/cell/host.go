package cell

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed boot.sh
var bootScript string

// Host is one simulated host. Its methods may be called at the same time as those of other hosts.
type Host struct {
	N         int    `json:"number"`
	Name      string `json:"name"`
	Address   string `json:"address"`
	Namespace string `json:"network_namespace"` // file for nsenter --net
	Engine    string `json:"docker"`            // socket of its engine, as DOCKER_HOST wants it
	Agent     string `json:"agent"`             // address of its Mesos agent
	AgentPID  int    `json:"agent_pid"`         // 0 while it does not run
	BootID    string `json:"boot_id"`           // another after each boot
	Dir       string `json:"directory"`         // its disk: engine, agent, plugin state, logs
	Faulty    bool   `json:"faulty,omitempty"`  // reaches the store through a file system that can fail

	AgentOptions // of its agent

	Services map[string][]string `json:"services,omitempty"` // command lines of programs that are started at each boot, by their logs

	cell *Cell
}

func (c *Cell) planHost(n int) *Host {
	name := fmt.Sprintf("host%d", n)
	dir := filepath.Join(c.Dir, name)
	return &Host{
		N: n, Name: name, Address: fmt.Sprintf("127.0.1.%d", n), Namespace: namespacePath(c.Dir, name),
		Engine: "unix://" + filepath.Join(dir, "docker.sock"), Agent: fmt.Sprintf("127.0.1.%d:5051", n),
		Dir: dir, cell: c,
	}
}

// boot switches the host on: network, first process, Docker engine. Each boot has a boot ID of its own.
func (h *Host) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := h.plug(ctx); err != nil {
		return err
	}
	if err := h.renewBootID(); err != nil {
		return err
	}
	script := filepath.Join(h.Dir, "boot.sh")
	if err := os.WriteFile(script, []byte(bootScript), 0o644); err != nil {
		return fmt.Errorf("write boot script: %w", err)
	}
	groups, err := makeGroups(h.runGroup())
	if err != nil {
		return err
	}
	log := h.Log("boot")
	err = detach(ctx, groups, log, []string{"nsenter", "--net=" + h.Namespace}, "unshare",
		"--mount", "--propagation=slave", "--pid", "--fork", "--mount-proc", "--uts", "--ipc",
		"bash", script, h.Name, h.bootIDFile())
	if err != nil {
		return err
	}
	if err := await(ctx, h.Name+" to boot", h.booted); err != nil {
		return withLog(err, log)
	}
	if err := errors.Join(h.mountStore(ctx), h.bindPaths(ctx)); err != nil {
		return err
	}
	for log, command := range h.Services { // before the engine, which waits for drivers of volumes that it knows
		if err := h.start(ctx, log, command...); err != nil {
			return err
		}
	}
	return h.StartEngine(ctx)
}

// Serve starts a program on the host, in the background, now and at each boot; its output goes to the log of that name.
func (h *Host) Serve(ctx context.Context, log string, command ...string) error {
	if err := h.start(ctx, log, command...); err != nil {
		return err
	}
	return h.cell.change(func() {
		if h.Services == nil {
			h.Services = map[string][]string{}
		}
		h.Services[log] = command
	})
}

// renewBootID gives the host another boot ID, and lets its plugin know.
func (h *Host) renewBootID() error {
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return fmt.Errorf("make boot ID: %w", err)
	}
	if err := h.cell.change(func() { h.BootID = strings.TrimSpace(string(id)) }); err != nil {
		return err
	}
	if err := os.WriteFile(h.bootIDFile(), id, 0o644); err != nil {
		return fmt.Errorf("write boot ID: %w", err)
	}
	return h.setPluginBootID()
}

func (h *Host) bootIDFile() string { return filepath.Join(h.Dir, "boot_id") }

func (h *Host) booted(context.Context) error {
	pid, err := h.initPID()
	if err != nil {
		return err
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/booted", pid)); err != nil {
		return errors.New("its first process is not ready")
	}
	return nil
}

// Kill is a power cut: everything that runs on the host ends in the same moment, its mounts and connections with it, and
// nobody is told; its directory stays.
func (h *Host) Kill(ctx context.Context) error {
	if !h.Alive() {
		return fmt.Errorf("%s is dead already", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if err := h.unplug(ctx); err != nil {
		return err
	}
	// Frozen first: none of it may see another part die and do something about it.
	if err := h.freeze(ctx); err != nil {
		return err
	}
	if err := killAll(ctx, h.group(), h.Namespace); err != nil {
		return fmt.Errorf("kill %s: %w", h.Name, err)
	}
	if err := h.removeNetwork(ctx); err != nil {
		return err
	}
	if err := errors.Join(removeGroups(ctx, h.group()), removeStrays(h.Dir)); err != nil {
		return err
	}
	return h.cell.change(func() { h.AgentPID = 0 })
}

// Return switches a killed host on again, with what is on its disk and with another boot ID. It returns when the engine
// answers and the agent, if there is Mesos, is registered.
func (h *Host) Return(ctx context.Context) error {
	if h.Alive() {
		return fmt.Errorf("%s is alive; only a killed host can return", h.Name)
	}
	if err := h.boot(ctx); err != nil {
		return err
	}
	if h.cell.Bare {
		return nil
	}
	return h.StartAgent(ctx)
}

// Freeze stops everything that runs on the host where it stands, until Thaw.
func (h *Host) Freeze(ctx context.Context) error {
	if !h.Alive() {
		return fmt.Errorf("%s is dead; only a running host can be frozen", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return h.freeze(ctx)
}

// freeze also takes in processes that have left the host's control group. The host's store stands still last: a process in
// the middle of an operation can only be frozen after it got its answer. One that is held gets it now, and stands still
// before it sees it.
func (h *Host) freeze(ctx context.Context) error {
	group := freezerGroup(h.runGroup())
	if h.Faulty {
		if err := os.WriteFile(filepath.Join(group, "freezer.state"), []byte("FROZEN"), 0o644); err != nil {
			return err
		}
		if err := h.Release(ctx); err != nil {
			return err
		}
	}
	if err := freeze(ctx, group); err != nil {
		return err
	}
	inside, err := groupMembers(freezerGroup(h.group()))
	if err != nil {
		return err
	}
	all, err := inNamespaces([]string{h.Namespace})
	if err != nil {
		return err
	}
	for pid := range all {
		if inside[pid] {
			continue
		}
		err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("freeze process %d: %w", pid, err)
		}
	}
	if err := freeze(ctx, group); err != nil {
		return err
	}
	return freeze(ctx, freezerGroup(h.group()))
}

// Thaw lets a frozen host go on.
func (h *Host) Thaw(ctx context.Context) error {
	if !h.Alive() {
		return fmt.Errorf("%s is dead; return it first", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return errors.Join(thaw(ctx, freezerGroup(h.group())), thaw(ctx, freezerGroup(h.runGroup())))
}

// Alive reports whether anything runs on the host, frozen or not.
func (h *Host) Alive() bool {
	pids, err := groupMembers(freezerGroup(h.group()))
	return err == nil && len(pids) > 0
}

// Status says in a word or two how the host is: running, frozen, cut off, dead.
func (h *Host) Status(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if !h.Alive() {
		return "dead"
	}
	state := "running"
	if isFrozen(freezerGroup(h.group())) {
		state = "frozen"
	}
	if h.isCut(ctx) {
		state += ", cut off"
	}
	return state
}

// Command prepares a command that runs on the host, as if somebody had logged in there.
func (h *Host) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	enter, err := h.enter()
	if err != nil {
		return nil, err
	}
	args = slices.Concat(enter[1:], []string{name}, args)
	return exec.CommandContext(ctx, enter[0], args...), nil
}

// enter is the command line that brings another one into all namespaces of the host.
func (h *Host) enter() ([]string, error) {
	pid, err := h.initPID()
	if err != nil {
		return nil, err
	}
	return []string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/"}, nil
}

// initPID finds the host's first process: the one that is PID 1 one namespace below ours.
func (h *Host) initPID() (int, error) {
	pids, err := groupMembers(freezerGroup(h.group()))
	if err != nil {
		return 0, err
	}
	for pid := range pids {
		if ids := namespacePIDs(pid); len(ids) == 2 && ids[1] == "1" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s is not running", h.Name)
}

// PID finds the oldest process of this name on the host outside its containers, such as "dockerd"; 0 when there is none.
func (h *Host) PID(name string) int {
	pids, err := groupMembers(freezerGroup(h.group()))
	if err != nil {
		return 0
	}
	started := map[int]uint64{}
	for pid := range pids {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || strings.TrimSpace(string(comm)) != name || len(namespacePIDs(pid)) != 2 {
			continue
		}
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			started[pid] = startOf(string(stat))
		}
	}
	return oldest(started)
}

// startOf is when a process started, in ticks since the machine did: the 22nd field of /proc/PID/stat, counted from behind the
// name, which may hold blanks and brackets.
func startOf(stat string) uint64 {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}

// oldest is the process that started first, of those that started in the same tick the one with the lower number; 0 of none. The
// numbers alone do not tell, since the kernel begins again with low ones.
func oldest(started map[int]uint64) int {
	first := 0
	for pid, at := range started {
		if first == 0 || at < started[first] || at == started[first] && pid < first {
			first = pid
		}
	}
	return first
}

// PluginPID finds the plugin of the host; 0 when it does not run.
func (h *Host) PluginPID() int { return h.rolePID("plugin") }

// GuardPID finds the guard of the host's plugin, which may be older than it; 0 when there is none.
func (h *Host) GuardPID() int { return h.rolePID("guard") }

// SchedulerPID finds the scheduler that the host's plugin runs; 0 when there is none.
func (h *Host) SchedulerPID() int { return h.rolePID("scheduler") }

// rolePID finds the process of the mooring binary on the host that has a role.
func (h *Host) rolePID(role string) int {
	pids, err := inNamespaces([]string{h.Namespace})
	if err != nil {
		return 0
	}
	for pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		words := strings.Split(string(line), "\x00")
		if err == nil && filepath.Base(words[0]) == "mooring" && slices.Contains(words[1:min(len(words), 3)], role) {
			return pid
		}
	}
	return 0
}

// namespacePIDs returns the process IDs of a process from our PID namespace inwards; none when it is gone.
func namespacePIDs(pid int) []string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(ids)
		}
	}
	return nil
}

// Log is the file a program of the host writes to: boot, docker, agent.
func (h *Host) Log(program string) string { return filepath.Join(h.Dir, program+".log") }

// group holds all of the host.
func (h *Host) group() string { return prefix(h.cell.Dir) + "/" + h.Name }

// runGroup holds what runs on the host, without its store.
func (h *Host) runGroup() string { return h.group() + "/run" }
