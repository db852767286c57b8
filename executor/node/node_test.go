package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/coordinator"
	"mooring/executor/node"
	"mooring/executor/rundir"
)

const (
	patience = time.Minute // no test waits that long unless it fails
	tick     = 20 * time.Millisecond
)

// TestMain makes this program a node when a test starts it as one: a node waits for all children of its process.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_NODE") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	code, err := node.Run(ctx, node.Options{RunDir: os.Getenv("TEST_RUN_DIR"), Home: os.Getenv("TEST_HOME"), Tick: tick})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// scene is a home of Elasticsearch with a script in its place, two mounted volumes and a run directory.
type scene struct {
	t            *testing.T
	home         string
	config, data string
	run          rundir.Dir
	task         coordinator.Task
}

// script stands for Elasticsearch: it says who it is in its data directory and lives until it is told to end.
const script = `#!/bin/bash
data=$(sed -n 's/^path.data: "\(.*\)"/\1/p' "$ES_PATH_CONF/elasticsearch.yml")
echo "$(id -u):$(id -g) $ES_PATH_CONF $PWD" >"$data/who"
trap 'echo ended >>"$data/who"; exit 143' TERM
echo up >"$data/up"
while :; do sleep 0.05; done
`

func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: mounting volumes needs root")
	}
	root := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o755)) // user 1000 comes through here
	s := &scene{
		t: t, home: filepath.Join(root, "home"), config: filepath.Join(root, "config"), data: filepath.Join(root, "data"),
		run: rundir.Dir(filepath.Join(root, "run")),
	}
	for _, dir := range []string{s.home + "/bin", s.home + "/lib", s.home + "/config/jvm.options.d", s.config, s.data} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	s.mount(s.config)
	s.mount(s.data)
	s.put("bin/elasticsearch", script)
	s.put("lib/elasticsearch-8.19.5.jar", "")
	s.put("config/log4j2.properties", "level = info\n")
	s.put("config/jvm.options", "-Xlog\n")
	s.put("config/users", "admin\n")
	s.put("config/elasticsearch.yml", "cluster.name: docker-cluster\n")
	s.task = coordinator.Task{
		Framework: "es", Node: 2, Epoch: 3, MemoryMB: 512, Seeds: []string{"127.0.0.1:9301"}, InitialMasters: []string{"es1", "es2"},
		Place: coordinator.Place{Host: "127.0.0.2", HTTPPort: 9200, TransportPort: 9300},
		Settings: coordinator.Settings{
			Cluster: "test", Image: "elasticsearch:8.19.5", ConfigPath: s.config, DataPath: s.data, HeapMB: 128, StopSeconds: 20,
		},
	}
	return s
}

func (s *scene) mount(path string) {
	s.t.Helper()
	require.NoError(s.t, unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"))
	s.t.Cleanup(func() { require.NoError(s.t, unix.Unmount(path, unix.MNT_DETACH)) })
}

func (s *scene) put(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.home, name), []byte(text), 0o755))
}

// life is one running node.
type life struct {
	*scene
	process *exec.Cmd
	output  *strings.Builder
	ended   chan struct{}
	alone   func() // ends the executor's signs of life
}

// beat shows that the node's executor lives, until ctx ends.
func (s *scene) beat(ctx context.Context) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for count := uint64(1); ; count++ {
		assert.NoError(s.t, s.run.Beat(count))
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *scene) start() *life {
	s.t.Helper()
	require.NoError(s.t, s.run.SetTask(s.task))
	l := &life{scene: s, process: exec.Command(os.Args[0]), output: &strings.Builder{}, ended: make(chan struct{})}
	l.process.Env = append(os.Environ(), "TEST_AS_NODE=1", "TEST_RUN_DIR="+string(s.run), "TEST_HOME="+s.home)
	l.process.Stdout, l.process.Stderr = l.output, l.output
	require.NoError(s.t, l.process.Start())
	go func() { defer close(l.ended); _ = l.process.Wait() }()
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	beating.Go(func() { s.beat(ctx) })
	l.alone = func() { cancel(); beating.Wait() }
	s.t.Cleanup(func() {
		_ = l.process.Process.Signal(syscall.SIGQUIT)
		<-l.ended
		l.alone()
	})
	return l
}

// up waits until Elasticsearch runs.
func (l *life) up() {
	l.t.Helper()
	l.until(func() bool { _, err := os.Stat(l.data + "/elasticsearch/up"); return err == nil })
}

func (l *life) until(done func() bool) {
	l.t.Helper()
	require.Eventually(l.t, done, patience, tick)
}

// end waits for the end of the node.
func (l *life) end() (code int, status rundir.Status) {
	l.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(patience):
		require.FailNow(l.t, "the node does not end")
	}
	status, ok, err := l.run.Status()
	require.NoError(l.t, err)
	require.True(l.t, ok)
	return l.process.ProcessState.ExitCode(), status
}

func (s *scene) read(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(s.t, err)
	return string(text)
}

// mark writes a marker as a node does that has joined a cluster.
func (s *scene) mark(volume string, change map[string]any) {
	s.t.Helper()
	m := map[string]any{"format": 1, "framework": "es", "node": 2, "epoch": 2, "joined": true, "cluster_uuid": "U1", "version": "8.19.5"}
	for key, value := range change {
		m[key] = value
	}
	text, err := json.Marshal(m)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(volume+"/.mooring.json", text, 0o644))
}

func TestALossOfPowerLeavesNoEmptyFiles(t *testing.T) {
	for content, kept := range map[string]bool{"": false, "secrets": true} {
		s := newScene(t)
		keystore := s.config + "/elasticsearch/elasticsearch.keystore"
		require.NoError(t, os.MkdirAll(filepath.Dir(keystore), 0o755))
		require.NoError(t, os.WriteFile(keystore, []byte(content), 0o660))
		l := s.start()
		l.up()
		_, err := os.Stat(keystore)
		require.Equal(t, kept, err == nil, "a keystore of %q is left as it was: %v", content, err)
		require.NoError(t, l.process.Process.Signal(syscall.SIGTERM))
		l.end()
	}
}

func TestStartRunStop(t *testing.T) {
	s := newScene(t)
	l := s.start()
	l.up()
	require.Equal(t, fmt.Sprintf("1000:0 %s/elasticsearch %s\n", s.config, s.home), s.read(s.data+"/elasticsearch/who"))
	settings := s.read(s.config + "/elasticsearch/elasticsearch.yml")
	require.Contains(t, settings, `path.data: "`+s.data+`/elasticsearch"`)
	require.Contains(t, settings, `cluster.initial_master_nodes: ["es1","es2"]`)
	require.Contains(t, s.read(s.config+"/elasticsearch/jvm.options.d/mooring.options"), "-Xmx128m")
	require.Contains(t, s.read(s.config+"/elasticsearch/unicast_hosts.txt"), "127.0.0.1:9301")
	require.Contains(t, s.read(s.config+"/elasticsearch/log4j2.properties"), "level = info")
	require.JSONEq(t, `{"format":1,"framework":"es","node":2,"epoch":3}`, s.read(s.data+"/.mooring.json"))

	require.NoError(t, s.run.SetSeeds([]string{"127.0.0.9:9300"}))
	l.until(func() bool {
		return strings.Contains(s.read(s.config+"/elasticsearch/unicast_hosts.txt"), "127.0.0.9:9300")
	})

	require.NoError(t, s.run.SetJoined(rundir.Joined{Cluster: "U1", Version: "8.19.5"}))
	l.until(func() bool { return strings.Contains(s.read(s.config+"/.mooring.json"), `"joined":true`) })
	require.JSONEq(t, `{"format":1,"framework":"es","node":2,"epoch":3,"joined":true,"cluster_uuid":"U1","version":"8.19.5"}`, s.read(s.data+"/.mooring.json"))

	l.until(func() bool { status, _, err := s.run.Status(); return err == nil && status.Marked == "U1" })
	require.NoError(t, l.process.Process.Signal(syscall.SIGTERM))
	code, status := l.end()
	require.Equal(t, 143, code)
	require.Equal(t, rundir.Status{Phase: rundir.Ended, Text: "asked to stop", Fault: coordinator.FaultHost, Code: 143, Marked: "U1"}, status)
	require.Contains(t, s.read(s.data+"/elasticsearch/who"), "ended")
}

func TestNextStartOnJoinedVolume(t *testing.T) {
	s := newScene(t)
	s.mark(s.data, nil)
	s.mark(s.config, nil)
	conf := s.config + "/elasticsearch/"
	require.NoError(t, os.MkdirAll(conf, 0o755))
	require.NoError(t, os.WriteFile(conf+"elasticsearch.yml", []byte("a user wrote this\n"), 0o644))
	require.NoError(t, os.WriteFile(conf+"jvm.options", []byte("-Xuser\n"), 0o644))
	require.NoError(t, os.WriteFile(conf+"users", []byte("somebody\n"), 0o644))
	require.NoError(t, os.WriteFile(conf+"log4j2.properties", []byte("# copied from the image by mooring at every start: remove this line to keep your own version\nold\n"), 0o644))
	l := s.start()
	l.up()
	require.NotContains(t, s.read(conf+"elasticsearch.yml"), "initial_master_nodes", "the data knows its cluster")
	require.Equal(t, "a user wrote this\n", s.read(conf+"elasticsearch.yml.found"))
	require.Equal(t, "-Xuser\n", s.read(conf+"jvm.options"))
	require.Equal(t, "somebody\n", s.read(conf+"users"))
	require.Contains(t, s.read(conf+"log4j2.properties"), "level = info", "follows the image")
	require.Contains(t, s.read(s.data+"/.mooring.json"), `"epoch":3,"joined":true`)
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string
		fault  coordinator.Fault
	}{
		"emptied volume": {func(s *scene) { s.task.Joined, s.task.ClusterUUID = true, "U1" }, "volume es2data is empty", coordinator.FaultRefused},
		"foreign volume": {func(s *scene) { s.mark(s.data, map[string]any{"node": 7}) }, "belongs to node 7 of framework es", coordinator.FaultRefused},
		"newer format":   {func(s *scene) { s.mark(s.data, map[string]any{"format": 2}) }, "use a newer version", coordinator.FaultRefused},
		"unreadable marker": {func(s *scene) {
			require.NoError(t, os.WriteFile(s.config+"/.mooring.json", []byte("{"), 0o644))
		}, "is unreadable", coordinator.FaultRefused},
		"not mounted": {func(s *scene) { s.task.Settings.DataPath = s.home }, "no volume is mounted at", coordinator.FaultAgent},
		"no elasticsearch": {func(s *scene) {
			require.NoError(t, os.Remove(s.home+"/lib/elasticsearch-8.19.5.jar"))
		}, "image elasticsearch:8.19.5: no lib/elasticsearch-VERSION.jar", coordinator.FaultNode},
		"unsupported version": {func(s *scene) {
			require.NoError(t, os.Rename(s.home+"/lib/elasticsearch-8.19.5.jar", s.home+"/lib/elasticsearch-6.8.23.jar"))
		}, "version 6.8.23 of Elasticsearch is not supported", coordinator.FaultNode},
		"owned setting": {func(s *scene) { s.task.Settings.Elasticsearch = map[string]string{"path.data": "/x"} }, `setting "path.data"`, coordinator.FaultNode},
		"heap":          {func(s *scene) { s.task.Settings.HeapMB = 400 }, "heap of 400 MB does not fit into 512 MB", coordinator.FaultNode},
		"read-only volume": {func(s *scene) {
			require.NoError(t, unix.Mount("", s.data, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}, "read-only file system", coordinator.FaultAgent},
		"no program": {func(s *scene) { require.NoError(t, os.Remove(s.home+"/bin/elasticsearch")) }, "start Elasticsearch", coordinator.FaultAgent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c.change(s)
			code, status := s.start().end()
			require.Equal(t, 1, code)
			require.Equal(t, rundir.Refused, status.Phase)
			require.Contains(t, status.Text, c.want)
			require.Equal(t, c.fault, status.Fault)
			require.NoFileExists(t, s.data+"/elasticsearch/who")
		})
	}
}

func TestNoExecutorNoElasticsearch(t *testing.T) {
	l := newScene(t).start()
	l.up()
	l.alone()
	code, status := l.end()
	require.Equal(t, 143, code)
	require.Equal(t, "the executor is gone", status.Text)
	require.Contains(t, l.read(l.data+"/elasticsearch/who"), "ended")
}

func TestFailingDataVolume(t *testing.T) {
	s := newScene(t)
	l := s.start()
	l.up()
	require.NoError(t, unix.Mount("", s.data, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	code, status := l.end()
	require.Equal(t, 137, code)
	require.Equal(t, coordinator.FaultAgent, status.Fault)
	require.Contains(t, status.Text, "data volume failed: file system of "+s.data+" has become read-only")
}

// A fenced volume: its file system is shut down under the node, as the ioctl of a guard does.
func TestFencedDataVolume(t *testing.T) {
	s := newScene(t)
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("NOT TESTED: an ext4 of its own needs mkfs.ext4")
	}
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 16<<20))
	for _, command := range []string{"mkfs.ext4 -q " + image, "mount -o loop " + image + " " + s.data} {
		output, err := exec.Command("sh", "-c", command).CombinedOutput()
		require.NoError(t, err, string(output))
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(s.data, unix.MNT_DETACH)) })
	l := s.start()
	l.up()
	volume, err := os.Open(s.data)
	require.NoError(t, err)
	const shutdown, flushLog = 0x8004587d, 1
	require.NoError(t, unix.IoctlSetPointerInt(int(volume.Fd()), shutdown, flushLog))
	require.NoError(t, volume.Close())
	code, status := l.end()
	require.Equal(t, 137, code)
	require.Equal(t, coordinator.FaultAgent, status.Fault)
	require.Contains(t, status.Text, "data volume failed: ")
	require.Contains(t, status.Text, "input/output error")
}

func TestStubbornElasticsearchIsKilled(t *testing.T) {
	s := newScene(t)
	s.task.Settings.StopSeconds = 0
	s.put("bin/elasticsearch", strings.ReplaceAll(script, "exit 143", "true"))
	l := s.start()
	l.up()
	require.NoError(t, l.process.Process.Signal(syscall.SIGTERM))
	code, _ := l.end()
	require.Equal(t, 137, code)
}

func TestKillAtOnce(t *testing.T) {
	s := newScene(t)
	s.put("bin/elasticsearch", strings.ReplaceAll(script, "exit 143", "true"))
	l := s.start()
	l.up()
	require.NoError(t, l.process.Process.Signal(syscall.SIGQUIT))
	code, _ := l.end()
	require.Equal(t, 137, code)
}

func TestFailureInWords(t *testing.T) {
	s := newScene(t)
	s.put("bin/elasticsearch", "#!/bin/bash\necho 'java.lang.IllegalArgumentException: unknown setting [a.b]'\necho '\tat x.Y'\nexit 1\n")
	l := s.start()
	code, status := l.end()
	require.Equal(t, 1, code)
	require.Equal(t, rundir.Status{Phase: rundir.Ended, Text: "java.lang.IllegalArgumentException: unknown setting [a.b]", Code: 1}, status)
	require.Contains(t, l.output.String(), "unknown setting")
}

// Elasticsearch 8 is a launcher and a server; when the launcher dies the server may live on.
func TestNothingOutlivesANode(t *testing.T) {
	s := newScene(t)
	s.put("bin/elasticsearch", "#!/bin/bash\n(trap '' TERM; while :; do date >>"+s.data+"/elasticsearch/up; sleep 0.05; done) &\nwhile [ ! -s "+s.data+"/elasticsearch/up ]; do sleep 0.01; done\nexit 3\n")
	l := s.start()
	code, _ := l.end()
	require.Equal(t, 3, code)
	size := len(s.read(s.data + "/elasticsearch/up"))
	require.Never(t, func() bool { return len(s.read(s.data+"/elasticsearch/up")) != size }, 300*time.Millisecond, 50*time.Millisecond)
}
