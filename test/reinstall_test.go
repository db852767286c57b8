package test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler/client"
	"mooring/test/cell"
	"mooring/test/deploy"
)

// uninstallThePlugins uninstalls a framework whose coordinators are the plugins: they say so from then on, and nothing but volumes is left. A
// scheduler that is started once by hand installs it again, and is ended in order. A plugin leads from then on, and the nodes have the
// volumes that they had.
func uninstallThePlugins(t *testing.T, c *cell.Cell, file string, d *deploy.Deployment, switchedOff *cell.Host) {
	t.Helper()
	before, err := d.Nodes(within(t))
	require.NoError(t, err)
	requireTraces(t, c, "elasticsearch")
	command, err := c.Hosts[0].Command(within(t), placedProgram, "uninstall", "--yes")
	require.NoError(t, err)
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	awaitNoTraces(t, c, "elasticsearch", switchedOff)
	for _, h := range c.Hosts {
		await(t, "the doctor on "+h.Name+" to say why nobody leads", func() error {
			said, _ := operate(within(t), h, "doctor", "--docker-host", h.Engine, "--volume-driver", cell.PluginName)
			if !strings.Contains(said, "framework elasticsearch was uninstalled at ") || !strings.Contains(said, "--new-framework") {
				return errors.New(said)
			}
			return nil
		})
	}

	byHand := installAgain(t, c, file)
	require.NoError(t, byHand.Stop())
	await(t, "a plugin to lead", func() error { _, err := leader(t, c, c.Hosts[0]); return err })
	after, err := d.AwaitNodes(within(t), len(before))
	require.NoError(t, err)
	require.NoError(t, d.AwaitCluster(within(t), len(before), "green"))
	for i, n := range after {
		assert.Greater(t, n.Epoch, before[i].Epoch, "epochs only grow")
		assert.Equal(t, before[i].Volumes, n.Volumes)
	}
}

// installAgain starts a scheduler with --new-framework, as often as it takes until it leads at once: the plugins' own still try to lead, if only
// to say that the framework was uninstalled.
func installAgain(t *testing.T, c *cell.Cell, file string) *deploy.Deployment {
	t.Helper()
	const address = "127.0.1.254:31102"
	program, err := filepath.Abs("../build/mooring")
	require.NoError(t, err)
	d := deploy.New(c, deploy.Options{Binary: program, Image: elasticsearch8, Listen: address, Nodes: 3, Flags: []string{
		"--options=" + file, "--zookeeper=zk://mooring:secret@127.0.1.254:2181/mooring", "--new-framework",
	}})
	t.Cleanup(func() { _ = d.Kill() }) // after a success there is nothing to do
	asked, err := client.New(address, c.HTTPClient().Transport)
	require.NoError(t, err)
	await(t, "the framework to be installed again", func() error {
		ctx, cancel := context.WithTimeout(within(t), 30*time.Second)
		defer cancel()
		if err := d.Start(ctx); err != nil {
			return errors.Join(err, d.Stop())
		}
		cluster, err := asked.Cluster(ctx)
		if err == nil && (cluster.Leader != address || cluster.Master == "") {
			err = fmt.Errorf("%q leads", cluster.Leader)
		}
		if err != nil {
			return errors.Join(err, d.Stop())
		}
		return nil
	})
	return d
}
