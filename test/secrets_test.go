package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// canary is in every secret, and must never be seen.
const canary = "canary-secret"

const (
	secretOptions = `
image: ` + elasticsearch8 + `
nodes: 1
memory: 1024
heap: 256
cpus: 0.5
java-option: ["-XX:-UseG1GC", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch"]
principal: mooring
secret-file: mesos.secret
api-read-file: read.tokens
api-write-file: write.tokens
`
	secretsKeeper = "127.0.1.254:2181"
	// keeperFile is where the plugin sees user and password of ZooKeeper.
	keeperFile = "zk://@/config/mooring/zookeeper.credentials@" + secretsKeeper
)

// secretive is a host whose plugin is given every secret that there is, by file.
type secretive struct {
	t      *testing.T
	cell   *cell.Cell
	host   *cell.Host
	config string // directory with the files
	keeper string // directory of ZooKeeper
	seen   map[string]string
}

func newSecretive(t *testing.T) *secretive {
	t.Helper()
	config := t.TempDir()
	s := &secretive{t: t, config: filepath.Join(config, "mooring"), seen: map[string]string{}}
	require.NoError(t, os.Mkdir(s.config, 0o700))
	for file, content := range map[string]string{
		"scheduler.yaml": secretOptions, "zookeeper.credentials": "mooring:" + canary + "-keeper", "mesos.secret": canary + "-mesos",
		"read.tokens": canary + "-read\n", "write.tokens": canary + "-write\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(s.config, file), []byte(content), 0o600))
	}
	dir := cellDir + "-secrets"
	require.NoError(t, cell.Down(within(t), dir)) // what an interrupted run left
	t.Cleanup(func() {
		if t.Failed() {
			assert.NoError(t, cell.KeepLogs(dir, "../build/secrets-logs"))
		}
		require.NoError(t, cell.Down(context.Background(), dir))
	})
	c, err := cell.Up(within(t), dir, cell.Options{
		Hosts: 1, Plugin: "../build/plugin", Fast: true, Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
		Leases: keeperFile + "/leases", Settings: []string{"config.source=" + config, "MESOS_MASTER=" + keeperFile + "/mesos", "LOG_LEVEL=trace"},
	})
	require.NoError(t, err)
	s.cell, s.host = c, c.Hosts[0]
	s.keeper = startKeeper(t, c, secretsKeeper)
	require.NoError(t, c.AnnounceMaster(within(t), "zk://mesos:hush@"+secretsKeeper+"/mesos")) // a user of its own: a master shows its password in /state
	return s
}

// operate notes what an operator of the host reads, with the tokens.
func (s *secretive) operate(order ...string) error {
	s.t.Helper()
	switch order[0] {
	case "volumes":
		order = append(order, "--state-dir="+filepath.Join(s.host.Dir, "state"))
	default:
		order = append(order, "--scheduler=http://"+net.JoinHostPort(s.host.Address, schedulerPort), "--token-file="+filepath.Join(s.config, "write.tokens"))
	}
	said, err := s.cell.Command(within(s.t), "../build/mooring", order...).CombinedOutput()
	s.seen["mooring "+strings.Join(order, " ")] = string(said)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// engine notes what the engine shows to whoever may ask it.
func (s *secretive) engine(args ...string) string {
	s.t.Helper()
	said := docker(s.t, s.host, args...)
	s.seen["docker "+strings.Join(args, " ")] = said
	return said
}

// api notes what the scheduler answers to those who have a token and to those who have none, and what Mesos knows.
func (s *secretive) api() {
	s.t.Helper()
	client := s.cell.HTTPClient()
	defer client.CloseIdleConnections()
	scheduler := "http://" + net.JoinHostPort(s.host.Address, schedulerPort)
	for _, url := range []string{scheduler + "/v1/cluster", scheduler + "/v1/tasks", scheduler + "/v1/nodes", scheduler + "/v1/status", scheduler + "/v1/nodes/x",
		scheduler + "/metrics", scheduler + "/readyz", "http://" + s.cell.Master + "/state", "http://" + s.host.Agent + "/state"} {
		for _, token := range []string{"-read", "-write", "-wrong"} {
			request, err := http.NewRequestWithContext(within(s.t), http.MethodGet, url, nil)
			require.NoError(s.t, err)
			if strings.HasPrefix(url, scheduler) {
				request.Header.Set("Authorization", "Bearer "+canary+token)
			}
			answer, err := client.Do(request)
			require.NoError(s.t, err)
			body, err := io.ReadAll(answer.Body)
			require.NoError(s.t, err)
			require.NoError(s.t, answer.Body.Close())
			s.seen[url+" with token "+token] = fmt.Sprint(answer.Header, string(body))
		}
	}
}

// processes notes command lines and environments of everything that is Mooring's.
func (s *secretive) processes() {
	s.t.Helper()
	for role, pid := range map[string]int{"plugin": s.host.PluginPID(), "guard": s.host.GuardPID(), "scheduler": s.host.SchedulerPID()} {
		require.NotZero(s.t, pid, role)
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(s.t, err)
			s.seen[role+" "+file] = string(text)
		}
	}
}

// mostOfAFile is more than any file has but images of volumes, whose content is Elasticsearch's. ZooKeeper's log has 64 MB from the start.
const mostOfAFile = 80 << 20

// filesWith are the files below a directory, or the file, that have a text in them.
func filesWith(t *testing.T, text, dir string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil || info.Size() > mostOfAFile {
			return ignoreGone(err)
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return ignoreGone(err)
	}))
	return found
}

// ignoreGone passes over files that were removed while they were looked at.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// Every secret that a plugin and its scheduler are given by file is seen nowhere: not in what the engine shows of the plugin, of
// volumes and of containers, on no command line and in no environment, in no log at the finest level, in no answer of Mooring or Mesos, and
// in nothing that is kept on the host, in the store or in ZooKeeper. Nor is one that an operator wrote where it does not belong.
func TestStoryASecretIsSeenNowhereOnAHost(t *testing.T) {
	s := newSecretive(t)
	await(t, "a node that is well", func() error {
		running, err := s.host.Docker(within(t), "ps", "--quiet")
		if err != nil || running == "" { // before anything is placed nothing is wrong either
			return fmt.Errorf("containers %q: %v", running, err)
		}
		return s.operate("status")
	})
	shown := s.engine("plugin", "inspect", cell.PluginName)
	assert.Contains(t, shown, "LEASES="+keeperFile+"/leases", "what is shown is the file's name")
	assert.Contains(t, shown, "MESOS_MASTER="+keeperFile+"/mesos")
	s.engine("plugin", "ls", "--no-trunc")
	s.engine("volume", "inspect", "elasticsearch1config", "elasticsearch1data")
	s.engine("inspect", s.engine("ps", "--quiet"))
	for _, order := range []string{"volumes ls", "volumes ls --json", "volumes inspect elasticsearch1data", "nodes", "status --json"} {
		require.NoError(t, s.operate(strings.Fields(order)...))
	}
	s.api()
	s.processes()

	mistake := secretOptions + "zookeeper: zk://mooring:" + canary + "-typed@" + secretsKeeper + "\n" // without a path
	require.NoError(t, os.WriteFile(filepath.Join(s.config, "scheduler.yaml"), []byte(mistake), 0o600))
	await(t, "the mistake to be told", func() error {
		if err := s.operate("volumes", "doctor", "--docker-host="); err == nil || !strings.Contains(err.Error(), "no-coordinator") {
			return fmt.Errorf("the doctor says %w", err)
		}
		return nil
	})
	require.NoError(t, s.operate("volumes", "ls"))

	for what, text := range s.seen {
		assert.NotEmpty(t, text, what)
		assert.False(t, strings.Contains(text, canary), what) // without the whole text
	}
	settings, err := filepath.Glob(filepath.Join(s.host.Dir, "docker/plugins/*/config.json"))
	require.NoError(t, err)
	require.Len(t, settings, 1)
	for place, holds := range map[string]string{ // something that is there if the right place is looked at
		settings[0]: keeperFile, s.host.Log("docker"): `@level\":\"debug`, filepath.Join(s.host.Dir, "state"): "elasticsearch1data",
		filepath.Join(s.host.Dir, "mesos"): "elasticsearch-1-1", s.cell.Store: "elasticsearch1data", filepath.Join(s.keeper, "data"): "/mooring/elasticsearch/header",
	} {
		assert.NotEmpty(t, filesWith(t, holds, place), place)
		assert.Empty(t, filesWith(t, canary, place))
	}
}
