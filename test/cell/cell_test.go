package cell_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// scene is a cell of two hosts, each with a server on port 8000 in a container.
type scene struct {
	*cell.Cell
	client *http.Client
}

// TestCell plays with one cell from its beginning to its end, as bringing one up takes seconds.
func TestCell(t *testing.T) {
	needRoot(t)
	stub := buildStub(t)
	dir := filepath.Join(t.TempDir(), "cell")
	down := func() {
		require.NoError(t, cell.Down(context.WithoutCancel(t.Context()), dir))
	}
	t.Cleanup(down)
	c, err := cell.Up(t.Context(), dir, cell.Options{Hosts: 2, Fast: true, StoreFS: "xfs", OwnPaths: true, Plugin: stubPlugin(t, stub), Progress: func(s string) { t.Log(s) }})
	require.NoError(t, err)
	s := &scene{c, c.HTTPClient()}
	defer s.client.CloseIdleConnections()
	for _, h := range c.Hosts {
		importStub(t, h, stub)
		docker(t, h, "run", "--detach", "--name", "server", "--network", "host", "stub:1", "serve", h.Address+":8000")
		s.awaitServer(t, h)
	}
	stories := []struct {
		name string
		tell func(*testing.T)
	}{
		{"hosts reach each other", s.hostsReachEachOther},
		{"plugin gets its settings and shares the store", s.pluginSharesStore},
		{"files of the store can be cloned", s.storeClones},
		{"commands run where they are meant to", s.commandsRunInside},
		{"hosts have paths of their own", s.ownPaths},
		{"it can be loaded again", s.loadsAgain},
		{"freeze and thaw", s.freezeAndThaw},
		{"cut and join", s.cutAndJoin},
		{"kill and return", s.killAndReturn},
		{"agent and master restart", s.mesosRestarts},
		{"another disk", s.renews},
	}
	for _, story := range stories {
		if !t.Run(story.name, story.tell) {
			t.FailNow()
		}
	}
	plugins, err := filepath.Glob(filepath.Join(dir, "*", "docker", "plugins", strings.Repeat("?", 64)))
	require.NoError(t, err)
	require.Len(t, plugins, 2)
	down()
	assertNothingLeft(t, c)
	for _, plugin := range plugins {
		groups, err := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(plugin))
		require.NoError(t, err)
		assert.Empty(t, groups, "control groups of a plugin")
	}
}

func (s *scene) awaitServer(t *testing.T, h *cell.Host) {
	t.Helper()
	eventually(t, func() bool { return s.server(t, h) == h.Name }, "the server on "+h.Name+" must answer with the host's name")
}

// server asks the server on a host once.
func (s *scene) server(t *testing.T, h *cell.Host) string {
	return fetch(t, s.client, "http://"+h.Address+":8000", 2*time.Second)
}

func (s *scene) hostsReachEachOther(t *testing.T) {
	got := docker(t, s.Hosts[0], "run", "--rm", "--network", "host", "stub:1", "get", "http://"+s.Hosts[1].Address+":8000")
	assert.Equal(t, "host2", got)
	_, err := s.Dial(t.Context(), "tcp", "localhost:8000")
	assert.ErrorContains(t, err, "the form is IP:PORT")
}

func (s *scene) pluginSharesStore(t *testing.T) {
	for _, h := range s.Hosts {
		got := docker(t, h, "run", "--rm", "--volume-driver", cell.PluginName, "--volume", "shared:/data", "stub:1", "write", "/data/file", h.Name)
		assert.True(t, strings.HasSuffix(got, h.Name), "%q must end in the line written last", got)
		assert.Equal(t, []string{h.Name + " " + h.BootID + " true"}, readLines(t, filepath.Join(h.Dir, "state", "identity")))
	}
	assert.Equal(t, []string{"host1", "host2"}, readLines(t, filepath.Join(s.Store, "shared", "file")))
}

func (s *scene) storeClones(t *testing.T) {
	from := filepath.Join(s.Store, "original")
	require.NoError(t, os.WriteFile(from, []byte("text"), 0o600))
	out, err := exec.Command("cp", "--reflink=always", from, from+".clone").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func (s *scene) commandsRunInside(t *testing.T) {
	h := s.Hosts[1]
	cmd, err := h.Command(t.Context(), "cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/random/boot_id", "/proc/1/comm")
	require.NoError(t, err)
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "host2\n"+h.BootID+"\nbash\n", string(out))

	out, err = s.Command(t.Context(), "ip", "-br", "addr", "show", "br0").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "127.0.1.254/24")
}

func (s *scene) ownPaths(t *testing.T) {
	for _, h := range s.Hosts {
		cmd, err := h.Command(t.Context(), "bash", "-ec", "hostname >/var/lib/mooring-cell-test; cat /var/lib/mooring-cell-test "+cell.SharedStore+"/original")
		require.NoError(t, err)
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.Equal(t, h.Name+"\ntext", string(out))
		assert.FileExists(t, filepath.Join(h.Dir, "state", "mooring-cell-test"))
	}
	assert.NoFileExists(t, "/var/lib/mooring-cell-test")
}

func (s *scene) loadsAgain(t *testing.T) {
	again, err := cell.Load(s.Dir)
	require.NoError(t, err)
	require.Len(t, again.Hosts, 2)
	assert.Equal(t, s.Hosts[1].AgentPID, again.Hosts[1].AgentPID)
	assert.NotZero(t, again.Hosts[1].AgentPID)
	assert.Equal(t, "running", again.Hosts[1].Status(t.Context()))
}

func (s *scene) freezeAndThaw(t *testing.T) {
	h := s.Hosts[1]
	require.NoError(t, h.Freeze(t.Context()))
	assert.Equal(t, "frozen", h.Status(t.Context()))
	before := count(t, h)
	assert.Empty(t, s.server(t, h), "a frozen host must not answer")
	assert.Equal(t, before, count(t, h), "a process that left the host's control group must stand still, too")
	s.awaitServer(t, s.Hosts[0])
	require.NoError(t, h.Thaw(t.Context()))
	s.awaitServer(t, h)
	eventually(t, func() bool { return count(t, h) != before }, "the process must go on")
}

// count reads what the stub's lingering process counts to.
func count(t *testing.T, h *cell.Host) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(h.Dir, "state", "count"))
	require.NoError(t, err)
	return string(content)
}

func (s *scene) cutAndJoin(t *testing.T) {
	h := s.Hosts[1]
	require.NoError(t, h.Cut(t.Context()))
	assert.Equal(t, "running, cut off", h.Status(t.Context()))
	assert.Empty(t, s.server(t, h), "no packet may pass")
	docker(t, h, "version") // the host itself goes on
	require.NoError(t, h.Join(t.Context()))
	s.awaitServer(t, h)
}

func (s *scene) killAndReturn(t *testing.T) {
	h, boot := s.Hosts[1], s.Hosts[1].BootID
	docker(t, h, "run", "--detach", "--name", "holder", "--volume", "shared:/data", "stub:1", "serve", "127.0.0.1:8001")
	docker(t, h, "run", "--detach", "--network", "none", "stub:1", "serve", "127.0.0.1:8001")
	eventually(t, func() bool { return s.isActive(t, h) }, "the agent must be active")
	running := processesOf(t, h)
	calls := readLines(t, filepath.Join(h.Dir, "state", "calls"))

	require.NoError(t, h.Kill(t.Context()))
	assert.Equal(t, "dead", h.Status(t.Context()))
	assert.Empty(t, s.server(t, h))
	assert.Subset(t, running, []string{"dockerd", "containerd", "mesos-agent", "stub"})
	assert.Empty(t, processesOf(t, h), "nothing of a dead host runs")
	assert.Equal(t, calls, readLines(t, filepath.Join(h.Dir, "state", "calls")), "nobody tells the plugin")
	require.ErrorContains(t, h.Kill(t.Context()), "host2 is dead already")
	require.ErrorContains(t, h.Cut(t.Context()), "host2 is dead, so it has no network; return it first")
	eventually(t, func() bool { return !s.isActive(t, h) }, "the master must notice")
	removeStrayGroup(t, boot)

	require.NoError(t, h.Return(t.Context()))
	require.ErrorContains(t, h.Return(t.Context()), "host2 is alive; only a killed host can return")
	eventually(t, func() bool { return s.isActive(t, h) }, "the agent must register again")
	assert.NotEqual(t, boot, h.BootID)
	identities := readLines(t, filepath.Join(h.Dir, "state", "identity"))
	assert.Equal(t, "host2 "+h.BootID+" true", identities[len(identities)-1], "the plugin must learn the new boot ID")
	assert.Equal(t, "exited", docker(t, h, "inspect", "--format", "{{.State.Status}}", "server"))
	docker(t, h, "start", "server")
	s.awaitServer(t, h)
	s.ownPaths(t)
}

// isActive asks the master whether it takes the host's agent for alive.
func (s *scene) isActive(t *testing.T, h *cell.Host) bool {
	agents := fetch(t, s.client, "http://"+s.Master+"/slaves", 2*time.Second)
	return strings.Contains(agents, "slave(1)@"+h.Agent) && activeIn(t, agents, "slave(1)@"+h.Agent)
}

func (s *scene) mesosRestarts(t *testing.T) {
	h := s.Hosts[0]
	require.ErrorContains(t, h.StartAgent(t.Context()), "runs already")
	require.ErrorContains(t, s.StartMaster(t.Context()), "runs already")
	require.NoError(t, h.KillAgent(t.Context()))
	assert.Zero(t, h.AgentPID)
	require.ErrorContains(t, h.KillAgent(t.Context()), "the Mesos agent of host1 does not run")
	s.awaitServer(t, h) // containers go on without the agent
	require.NoError(t, h.StartAgent(t.Context()))
	require.NoError(t, h.UnregisterAgent(t.Context()))
	assert.False(t, s.isActive(t, h), "the master knows when the agent has ended")
	require.NoError(t, h.StartAgent(t.Context()))

	require.NoError(t, s.KillMaster(t.Context()))
	require.NoError(t, s.StartMaster(t.Context()))
	for _, h := range s.Hosts {
		eventually(t, func() bool { return s.isActive(t, h) }, "agents must find the master again")
	}
}

func (s *scene) renews(t *testing.T) {
	h := s.Hosts[1]
	require.ErrorContains(t, h.Renew(t.Context()), "host2 is alive; only a killed host can get another disk")
	before, err := h.AgentID()
	require.NoError(t, err)
	require.NoError(t, h.Kill(t.Context()))
	require.NoError(t, h.Renew(t.Context()))
	after, err := h.AgentID()
	require.NoError(t, err)
	assert.NotEqual(t, before, after, "Mesos takes it for another agent")
	assert.Empty(t, docker(t, h, "ps", "--all", "--quiet"))
	assert.Equal(t, []string{"host2 " + h.BootID + " true"}, readLines(t, filepath.Join(h.Dir, "state", "identity")), "the plugin begins anew")
}
