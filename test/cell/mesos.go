package cell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// StartMaster starts the Mesos master, with what an earlier one left in its registry, and waits until it answers.
func (c *Cell) StartMaster(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	groups, err := makeGroups(c.masterGroup())
	if err != nil {
		return err
	}
	if running, err := groupMembers(freezerGroup(c.masterGroup())); err != nil || len(running) > 0 {
		return errors.Join(errors.New("the Mesos master runs already"), err)
	}
	ip, port, err := net.SplitHostPort(c.Master)
	if err != nil {
		return fmt.Errorf("read address of the master: %w", err)
	}
	work := filepath.Join(c.Dir, "master", "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return fmt.Errorf("make directory of the master: %w", err)
	}
	args := []string{
		filepath.Join(c.Mesos, "mesos-master"), "--ip=" + ip, "--port=" + port, "--hostname=" + ip,
		"--work_dir=" + work, "--quorum=1",
	}
	if c.Announce != "" {
		args = append(args, "--zk="+c.Announce)
	}
	if c.Fast {
		args = append(args, "--agent_ping_timeout=1secs", "--max_agent_ping_timeouts=3")
	}
	if err := detach(ctx, groups, c.MasterLog(), []string{"nsenter", "--net=" + c.Switch}, args...); err != nil {
		return err
	}
	client := c.HTTPClient()
	defer client.CloseIdleConnections()
	err = await(ctx, "the Mesos master", func(ctx context.Context) error {
		return get(ctx, client, "http://"+c.Master+"/health", nil)
	})
	if err != nil {
		return withLog(err, c.MasterLog())
	}
	return nil
}

// KillMaster ends the Mesos master at once; its registry stays.
func (c *Cell) KillMaster(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return killAll(ctx, c.masterGroup())
}

// AnnounceMaster starts the Mesos master anew so that it announces itself in ZooKeeper, where schedulers find it. The agents go on.
func (c *Cell) AnnounceMaster(ctx context.Context, zookeeper string) error {
	if err := c.change(func() { c.Announce = zookeeper }); err != nil {
		return err
	}
	if err := c.KillMaster(ctx); err != nil {
		return err
	}
	return c.StartMaster(ctx)
}

// MasterLog is the file the Mesos master writes to.
func (c *Cell) MasterLog() string { return filepath.Join(c.Dir, "master", "log") }

func (c *Cell) masterGroup() string { return prefix(c.Dir) + "/master" }

// hideVersion2 runs the agent where it sees no control groups of version 2: Mesos 1.11 knows only version 1 and fails when it
// meets the other.
const hideVersion2 = `if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec "$@"`

// StartAgent starts the host's Mesos agent, with what its last run left, and waits until it is registered.
func (h *Host) StartAgent(ctx context.Context) error {
	if h.PID("mesos-agent") != 0 {
		return fmt.Errorf("the Mesos agent of %s runs already", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	docker, err := exec.LookPath("docker")
	if err != nil {
		return fmt.Errorf("find docker for the Mesos agent: %w", err)
	}
	mesos := h.cell.Mesos
	// The library that holds the agent wants a registry for the idle master beside it. See test/real-mesos.
	command := []string{"unshare", "--mount", "--propagation=slave", "bash", "-c", hideVersion2, "agent",
		filepath.Join(mesos, "mesos-agent"), "--ip=" + h.Address, "--port=5051",
		"--hostname=" + h.Address, "--master=" + h.cell.Master, "--work_dir=" + filepath.Join(h.Dir, "mesos"),
		"--launcher_dir=" + mesos, "--docker=" + docker, "--launcher=posix",
		"--isolation=posix/cpu,posix/mem,filesystem/posix", "--no-systemd_enable_support", "--registry=in_memory",
		fmt.Sprintf(`--executor_environment_variables={"PATH":%q,"MOORING_DRIVER_STATE_DIR":%q}`, os.Getenv("PATH"), filepath.Join(h.Dir, "state")),
	}
	if err := h.start(ctx, "agent", append(command, h.flags()...)...); err != nil {
		return err
	}
	client := h.cell.HTTPClient()
	defer client.CloseIdleConnections()
	err = await(ctx, "the Mesos agent of "+h.Name, func(ctx context.Context) error {
		var metrics struct {
			Registered float64 `json:"slave/registered"`
		}
		if err := get(ctx, client, "http://"+h.Agent+"/metrics/snapshot", &metrics); err != nil {
			return err
		}
		if metrics.Registered != 1 {
			return errors.New("it is not registered")
		}
		_, err := h.AgentID() // the metric says only that it has found a master
		return err
	})
	if err != nil {
		return withLog(err, h.Log("agent"))
	}
	return h.cell.change(func() { h.AgentPID = h.PID("mesos-agent") })
}

// MarkGone has an operator tell the Mesos master that a dead host's agent is gone for good. Should the host be switched on again,
// its agent has forgotten who it was: Mesos would not take back the old one.
func (h *Host) MarkGone(ctx context.Context) error {
	if h.Alive() {
		return fmt.Errorf("%s is alive; only a killed host can be marked gone", h.Name)
	}
	agent, err := h.AgentID()
	if err != nil {
		return err
	}
	client := h.cell.HTTPClient()
	defer client.CloseIdleConnections()
	order := fmt.Sprintf(`{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":%q}}}`, agent)
	if err := post(ctx, client, "http://"+h.cell.Master+"/api/v1", order); err != nil {
		return fmt.Errorf("mark the agent of %s gone: %w", h.Name, err)
	}
	return os.Remove(filepath.Join(h.agentMeta(), "slaves", "latest"))
}

// KillAgent ends the host's Mesos agent alone; its executors and containers go on.
func (h *Host) KillAgent(ctx context.Context) error { return h.endAgent(ctx, unix.SIGKILL) }

// UnregisterAgent has the host's Mesos agent leave in order: it tells the master, shuts its executors down, and ends when they have.
func (h *Host) UnregisterAgent(ctx context.Context) error { return h.endAgent(ctx, unix.SIGUSR1) }

func (h *Host) endAgent(ctx context.Context, signal unix.Signal) error {
	pid := h.PID("mesos-agent")
	if pid == 0 {
		return fmt.Errorf("the Mesos agent of %s does not run", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout) // executors have 45 s to end
	defer cancel()
	if err := unix.Kill(pid, signal); err != nil {
		return fmt.Errorf("end the Mesos agent of %s: %w", h.Name, err)
	}
	if err := awaitEnd(ctx, "the Mesos agent", pid); err != nil {
		return err
	}
	return h.cell.change(func() { h.AgentPID = 0 })
}
