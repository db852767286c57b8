package test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/faultfs"
)

// faultfsProgram builds what gives a host a store that fails on demand. It is there as long as a cell may use it.
func faultfsProgram(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../build/faultfs")
	require.NoError(t, err)
	out, err := exec.Command("go", "build", "-o", program, "./cmd/faultfs").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// faultyHosts brings up a cell of its own, whose hosts reach the store through a file system that fails on demand.
func faultyHosts(t *testing.T, hosts int) []*cell.Host {
	t.Helper()
	program := faultfsProgram(t)
	dir := cellDir + "-faults"
	require.NoError(t, cell.Down(within(t), dir))                                  // what an interrupted run left
	t.Cleanup(func() { require.NoError(t, cell.Down(context.Background(), dir)) }) // t.Context has ended by then
	c, err := cell.Up(within(t), dir, cell.Options{
		Hosts: hosts, Plugin: "../build/plugin", Faults: program, Fast: true,
		Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
	})
	require.NoError(t, err)
	return c.Hosts
}

// A host lives but cannot reach its store: its guard ends the container that writes the volume, another host takes over, and
// when the store is back the first host writes no more.
func TestStoryAHostWithoutItsStoreIsFenced(t *testing.T) {
	hosts := faultyHosts(t, 2)
	one, two := hosts[0], hosts[1]
	docker(t, one, shell("cutoffdata", appendNumbers, "--detach", "--name", "writer")...)
	await(t, "some lines", func() error {
		_, err := one.Docker(within(t), "exec", "writer", "bash", "-c", "test $(wc -l </data/log) -gt 20")
		return err
	})
	require.NoError(t, one.Fault(within(t), faultfs.Fault{Kind: faultfs.Hang}))
	await(t, "the volume on the other host", func() error {
		_, err := two.Docker(within(t), shell("cutoffdata", inOrder+"; wc -l </data/log >/data/lines", "--rm")...)
		return err
	})
	require.NoError(t, one.Heal(within(t)))
	await(t, "the writer to be dead", func() error {
		if running := docker(t, one, "ps", "--quiet"); running != "" {
			return errors.New("container " + running + " runs")
		}
		return nil
	})
	docker(t, two, shell("cutoffdata", inOrder+" && test $(wc -l </data/log) = $(cat /data/lines)", "--rm")...)
}
