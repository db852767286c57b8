package rundir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/executor/rundir"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := rundir.Dir(filepath.Join(t.TempDir(), "a", "run"))
	task := coordinator.Task{Framework: "es", Node: 2, Epoch: 3, Seeds: []string{"10.0.0.1:9300"}}
	require.NoError(t, dir.SetTask(task))
	gotTask, err := dir.Task()
	require.NoError(t, err)
	require.Equal(t, task, gotTask)

	require.NoError(t, dir.Beat(7))
	beat, err := dir.LastBeat()
	require.NoError(t, err)
	require.Equal(t, uint64(7), beat)

	require.NoError(t, dir.SetSeeds([]string{}))
	seeds, ok, err := dir.Seeds()
	require.NoError(t, err)
	require.True(t, ok)
	require.Empty(t, seeds)

	require.NoError(t, dir.SetJoined(rundir.Joined{Cluster: "u", Version: "8.19.5"}))
	joined, ok, err := dir.Joined()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, rundir.Joined{Cluster: "u", Version: "8.19.5"}, joined)

	want := rundir.Status{Phase: rundir.Refused, Text: "no", Fault: coordinator.FaultRefused, Code: 1}
	require.NoError(t, dir.SetStatus(want))
	status, ok, err := dir.Status()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, want, status)
}

func TestNothingWrittenYet(t *testing.T) {
	dir := rundir.Dir(t.TempDir())
	_, err := dir.Task()
	require.ErrorContains(t, err, "start a node through its executor")
	beat, err := dir.LastBeat()
	require.NoError(t, err)
	require.Zero(t, beat)
	_, ok, err := dir.Seeds()
	require.NoError(t, err)
	require.False(t, ok)
	_, ok, err = dir.Status()
	require.NoError(t, err)
	require.False(t, ok)
}

func TestUnreadable(t *testing.T) {
	dir := rundir.Dir(t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(string(dir), "task.json"), []byte("{"), 0o600))
	_, err := dir.Task()
	require.ErrorContains(t, err, "read task.json")
}
