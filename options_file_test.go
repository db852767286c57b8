package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// optionsIn writes an options file and returns the flag that names it.
func optionsIn(t *testing.T, text string) (flag, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "scheduler.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return "--options=" + path, dir
}

func TestOptionsComeFromAFile(t *testing.T) {
	flag, dir := optionsIn(t, `
master: zk://me:hush@z1:2181/mesos
image: elasticsearch:8.19.5
elasticsearchNodes: 5      # as the Java framework called it
cpus: 0.5
failover: 24h
fencing: "true"
secret-file: principal.secret
java-option: [-Xss1m, "-Da=b,c"]
setting:
  indices.memory.index_buffer_size: 20%
  action.auto_create_index: false
require: {rack: "7"}
`)
	line, err := parse(t, "scheduler", flag)
	require.NoError(t, err)
	s := line.Scheduler
	assert.Equal(t, []string{"zk://me:hush@z1:2181/mesos"}, s.Master)
	assert.Equal(t, []any{"elasticsearch:8.19.5", 5, 0.5, "24h0m0s", "true"}, []any{s.Image, s.Nodes, s.CPUs, s.Failover.String(), s.Fencing})
	assert.Equal(t, filepath.Join(dir, "principal.secret"), s.SecretFile, "beside the options file")
	assert.Equal(t, []string{"-Xss1m", "-Da=b,c"}, s.JavaOption)
	assert.Equal(t, map[string]string{"indices.memory.index_buffer_size": "20%", "action.auto_create_index": "false"}, s.Setting)
	assert.Equal(t, map[string]string{"rack": "7"}, s.Require)
	assert.Equal(t, ":31100", s.Listen, "what the file does not name has its default")
}

func TestTheCommandLineAndTheEnvironmentCountBeforeTheOptionsFile(t *testing.T) {
	flag, _ := optionsIn(t, "master: m1:5050\nimage: a\nnodes: 5\nmemory: 4096\n")
	t.Setenv("MOORING_MEMORY", "8192")
	line, err := parse(t, "scheduler", "--nodes=7", flag)
	require.NoError(t, err)
	assert.Equal(t, []any{"a", 7, int64(8192)}, []any{line.Scheduler.Image, line.Scheduler.Nodes, line.Scheduler.Memory})
}

func TestAllMistakesOfAnOptionsFileAreReportedAtOnce(t *testing.T) {
	flag, _ := optionsIn(t, `image: e
nodes: many
imge: e
containerizer: rkt
elasticsearchNodes: 3
java-option: {a: b}
setting: [a]
require: {a: [b]}
options: other.yaml
memory:
`)
	_, err := parse(t, "scheduler", "--master=m1:5050", flag)
	for _, says := range []string{
		"scheduler.yaml is refused: line 2: nodes: expected", "line 3: option \"imge\" is unknown, see `mooring scheduler --help`",
		`line 4: containerizer: "rkt" is none of mesos, docker`, "line 5: option nodes was there before, in line 2", "line 6: java-option: it takes one value",
		"line 7: setting: it takes names and values", "line 8: require: a takes one value", `line 9: option "options" is unknown`, "line 10: memory: it has no value",
	} {
		assert.ErrorContains(t, err, says)
	}
	for text, says := range map[string]string{
		"- a": "line 1: no option: each is a line such as `nodes: 3`", "a: [": "not YAML: line 1", "image: a\n---\nnodes: 3\n": "a second document",
	} {
		flag, _ := optionsIn(t, text)
		_, err := parse(t, "scheduler", "--master=m1:5050", flag)
		require.ErrorContains(t, err, says)
	}
	flag, _ = optionsIn(t, "memory: 1000\nheap: 600\n")
	_, err = parse(t, "scheduler", "--master=m1:5050", "--image=e", flag)
	require.ErrorContains(t, err, "heap of 600 MB does not fit into 1000 MB of memory", "what does not fit together is told, too")
}

func TestAnOptionsFileMustBeThere(t *testing.T) {
	_, err := parse(t, "scheduler", "--master=m1:5050", "--image=e", "--options=/nowhere/scheduler.yaml")
	require.ErrorContains(t, err, "/nowhere/scheduler.yaml: no such file or directory")
	_, err = parse(t, "scheduler", "--master=m1:5050", "--image=e", "--options="+t.TempDir())
	require.ErrorContains(t, err, "is not a regular file")
}
