package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"mooring/scheduler/client"
	"mooring/test/ports"
	"mooring/test/zookeeper"
)

// coordinationWith has a file with a text; none if it is "".
func coordinationWith(t *testing.T, master, text string) coordination {
	t.Helper()
	c := coordination{Master: master, File: filepath.Join(t.TempDir(), "scheduler.yaml"), LogLevel: "info"}
	if text != "" {
		require.NoError(t, os.WriteFile(c.File, []byte(text), 0o600))
	}
	return c
}

// scheduler is the command that the plugin would start.
func (c coordination) scheduler(t *testing.T) schedulerCommand {
	t.Helper()
	options, err := c.rereading()()
	require.NoError(t, err)
	file, _ := optionsIn(t, string(options))
	line, err := parse(t, "scheduler", file)
	require.NoError(t, err, "%s", options)
	return line.Scheduler
}

func TestAnImageIsAllThatACoordinatorNeeds(t *testing.T) {
	s := coordinationWith(t, "zk://me:hush@z1:2181,z2:2181/mesos", "image: elasticsearch:8.19.5\n").scheduler(t)
	assert.Equal(t, []string{"zk://me:hush@z1:2181,z2:2181/mesos"}, s.Master)
	assert.Equal(t, []string{"zk://me:hush@z1:2181,z2:2181/mooring", "auto", ":31100", "elasticsearch", "elasticsearch:8.19.5"},
		[]string{s.Zookeeper, s.Advertise, s.Listen, s.Framework, s.Image})
	assert.Equal(t, 3, s.Nodes)
}

func TestACoordinatorLooksAtTheHeartbeatsOfItsOwnDriver(t *testing.T) {
	for leases, place := range map[string]string{"files": "/store", "": "/store", "zk://me:hush@z1:2181/leases": "zk://me:hush@z1:2181/leases"} {
		for file, want := range map[string]string{
			"image: e\n":                                      place,
			"image: e\nheartbeats: /elsewhere\n":              "/elsewhere",
			"image: e\nexternal-volume-driver: rexray\n":      "",
			"image: e\nexternal-volume-driver: mooring:1.0\n": place,
			"image: e\nfencing: \"false\"\n":                  "",
		} {
			c := coordinationWith(t, "zk://z1:2181/mesos", file)
			c.Beats = (&pluginCommand{StoreDir: "/store", Leases: leases}).beats()
			assert.Equal(t, want, c.scheduler(t).Heartbeats, "%q, LEASES=%s", file, leases)
		}
	}
}

func TestTheFileOfACoordinatorCountsBeforeWhatItWouldGuess(t *testing.T) {
	t.Setenv("MOORING_NODES", "9")
	c := coordinationWith(t, "zk://z1:2181/mesos", `
image: e
nodes: 5
master: zk://me:hush@z1:2181/mesos   # with the password, which an inspection of the plugin would show
secret-file: principal.secret
advertise: es.example.org:80
java-option: ["-Da=\"b c\""]
setting: {a.b: "yes"}
`)
	s := c.scheduler(t)
	assert.Equal(t, []string{"zk://me:hush@z1:2181/mesos"}, s.Master)
	assert.Equal(t, []string{"zk://me:hush@z1:2181/mooring", "es.example.org:80"}, []string{s.Zookeeper, s.Advertise})
	assert.Equal(t, filepath.Join(filepath.Dir(c.File), "principal.secret"), s.SecretFile)
	assert.Equal(t, []string{`-Da="b c"`}, s.JavaOption)
	assert.Equal(t, map[string]string{"a.b": "yes"}, s.Setting)
	assert.Equal(t, 9, s.Nodes, "a scheduler started by hand heeds the environment")
	options, err := c.rereading()()
	require.NoError(t, err)
	var told map[string]any
	require.NoError(t, yaml.Unmarshal(options, &told))
	assert.Equal(t, "5", told["nodes"], "the plugin's does not: it is told all that counts")

	s = coordinationWith(t, "m1:5050,m2:5050", "image: e\nzookeeper: zk://z1/es\n").scheduler(t)
	assert.Equal(t, []any{[]string{"m1:5050,m2:5050"}, "zk://z1/es"}, []any{s.Master, s.Zookeeper})
}

func TestAllMistakesThatKeepAHostFromBeingACoordinatorAreTold(t *testing.T) {
	for name, row := range map[string]struct {
		master, file string
		says         []string
		not          string
	}{
		"no file": {"zk://z1/mesos", "", []string{"scheduler.yaml is missing: it says at least `image: elasticsearch:8.19.5`"}, "image is missing"},
		"no image": {"zk://z1/mesos", "nodes: 3\n",
			[]string{"scheduler.yaml: image is missing: add a line such as `image: elasticsearch:8.19.5`"}, ""},
		"masters without a meeting place": {"m1:5050,m2:5050", "image: e\n", []string{"MESOS_MASTER names masters, not their place in ZooKeeper, where the coordinators meet: " +
			"give zk://z1:2181,z2:2181/mesos, or add `zookeeper: zk://…` to "}, ""},
		"no masters": {"ftp://me:hush@z1/mesos,http://", "image: e\n", []string{
			`MESOS_MASTER: master at "z1/mesos": give credentials as principal and secret, not in the address, master "http://": use host:port`}, "hush"},
		"half an address": {"zk://me:hush@z1", "image: e\n", []string{`MESOS_MASTER: masters: address of ZooKeeper: its path "/" is not one such as /mooring`}, "hush"},
		"many": {"m1", "image: [e]\nimge: f\nnodes: x\nstate-dir: /a\nnew-framework: true\n", []string{
			"scheduler.yaml: line 1: image: it takes one value", "line 2: option \"imge\" is unknown", "line 3: nodes: expected",
			"option state-dir: leave it out: the plugins' schedulers keep their state in ZooKeeper", "option new-framework: leave it out: it would be said at each start",
			`MESOS_MASTER: master "m1": use host:port`}, "image is missing"},
		"what does not fit together": {"zk://z1/mesos", "image: e\nmemory: 1000\nheap: 600\ncpus: 0\n",
			[]string{"heap of 600 MB does not fit into 1000 MB of memory: ", "; cpus 0: use at least 0.2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := coordinationWith(t, row.master, row.file).rereading()()
			for _, says := range append(row.says, "this host is no coordinator: ") {
				require.ErrorContains(t, err, says)
			}
			if row.not != "" {
				assert.NotContains(t, err.Error(), row.not)
			}
		})
	}
}

func TestTheSettingsOfThePluginMakeItACoordinator(t *testing.T) {
	t.Setenv("MESOS_MASTER", "zk://z1/mesos")
	line, err := parse(t, "plugin")
	require.NoError(t, err)
	assert.Equal(t, "zk://z1/mesos", line.Plugin.Master)
	assert.Equal(t, "/config/mooring/scheduler.yaml", below(line.Plugin.ConfigDir, line.Plugin.Scheduler))
	manifest, err := os.ReadFile("config.json")
	require.NoError(t, err)
	assert.Contains(t, string(manifest), `"MESOS_MASTER"`)
}

// The real program runs beside a driver, here the test: it stands by or leads, answers, and tells in its own words what is wrong.
func TestTheSchedulerRunsBesideTheDriver(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "mooring")
	built, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)
	taken := ports.Listen(t)
	address := taken.Addr().String()
	c := coordinationWith(t, "127.0.0.1:1", "image: e\nadvertise: "+address+"\nlisten: "+address+"\nzookeeper: zk://me:hush@"+zookeeper.Run(t).Address+"/mooring\n")
	program := c.program(binary)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { program.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	eventually := func(what string, is func() bool) {
		t.Helper()
		require.Eventually(t, is, time.Minute, 20*time.Millisecond, what)
	}
	eventually("its trouble", func() bool {
		return strings.Contains(program.Trouble(), "the scheduler ended: exit status 1: mooring: listen for the API: listen tcp "+address+": bind: address already in use")
	})
	require.NoError(t, taken.Close())
	asked, err := client.New(address, nil)
	require.NoError(t, err)
	eventually("its answer", func() bool {
		cluster, err := asked.Cluster(t.Context())
		return err == nil && cluster.Leader == address
	})
	line, err := exec.Command("pgrep", "-a", "-f", "^"+binary).Output()
	require.NoError(t, err)
	assert.Equal(t, binary+" --log-level=info scheduler --options=-\n", strings.SplitN(string(line), " ", 2)[1], "no secret is on its command line")
	cancel()
	<-done
	_, err = net.Dial("tcp", address)
	require.Error(t, err, "it ended with the driver")
}
