package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
)

// traces are what a framework has in a cell while its nodes run: its containers, also dead ones, executors, mounts and loop devices of its
// volumes on every host, and the leases that are held.
func traces(ctx context.Context, c *cell.Cell, framework string) (found []string, err error) {
	for _, h := range c.Hosts {
		add := func(kind string, what ...string) {
			for _, w := range what {
				found = append(found, kind+" on "+h.Name+": "+w)
			}
		}
		containers, e := h.Docker(ctx, "ps", "--all", "--filter", "label=mooring.framework="+framework, "--format", "{{.Names}}, {{.State}}")
		err = errors.Join(err, e)
		add("container", strings.FieldsFunc(containers, func(r rune) bool { return r == '\n' })...)
		executors, e := executorsOn(ctx, h)
		err = errors.Join(err, e)
		add("executor", executors...)
		add("mount", mountsOn(h, framework)...)
	}
	loops, e := loopsOf(c, framework)
	leases, e2 := heldLeases(c, framework)
	return append(append(found, loops...), leases...), errors.Join(err, e, e2)
}

// executorsOn are the command lines of the executors on a host.
func executorsOn(ctx context.Context, h *cell.Host) ([]string, error) {
	command, err := h.Command(ctx, "pgrep", "--full", "--list-full", "mooring executor")
	if err != nil {
		return nil, err
	}
	out, err := command.Output()
	if err != nil && !isExit(err) {
		return nil, err
	}
	return slices.Collect(strings.Lines(string(out))), nil // an exit status of 1 says that there is none
}

// volumeOf matches paths of volumes of a framework.
func volumeOf(framework string) *regexp.Regexp {
	return regexp.MustCompile("/" + regexp.QuoteMeta(framework) + `[0-9]+(config|data)\b`)
}

// mountsOn are the mounts of a framework's volumes as the host's engine, its plugin and its guard see them.
func mountsOn(h *cell.Host, framework string) (found []string) {
	for _, pid := range []int{h.PID("dockerd"), h.PluginPID(), h.GuardPID()} {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil { // that process does not run
			continue
		}
		for line := range strings.Lines(string(mounts)) {
			if volumeOf(framework).MatchString(line) {
				found = append(found, fmt.Sprintf("process %d has %s", pid, line))
			}
		}
	}
	return found
}

// loopsOf are the loop devices of a framework's volumes.
func loopsOf(c *cell.Cell, framework string) (found []string, err error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		shown, e := os.ReadFile(file)
		if e == nil && volumeOf(framework).Match(shown) { // an error says that it is free now
			found = append(found, "loop device: "+file+" shows "+string(shown))
		}
	}
	return found, err
}

// latestLease is who has, or had, a volume, with the lease's epoch.
func latestLease(c *cell.Cell, volume string) (l leaseFile, epoch int, err error) {
	all, err := filepath.Glob(filepath.Join(c.Store, "mooring", "volumes", volume, "lease.*"))
	if err != nil {
		return leaseFile{}, 0, err
	}
	for _, file := range all {
		n, e := strconv.Atoi(strings.TrimPrefix(filepath.Ext(file), "."))
		err = errors.Join(err, e)
		epoch = max(epoch, n)
	}
	if epoch == 0 || err != nil {
		return leaseFile{}, 0, errors.Join(err, fmt.Errorf("there is no lease of %s", volume))
	}
	content, err := os.ReadFile(leasePath(c, volume, epoch))
	if err != nil {
		return leaseFile{}, 0, err
	}
	return l, epoch, json.Unmarshal(content, &l)
}

// heldLeases are those of a framework's volumes that some host has.
func heldLeases(c *cell.Cell, framework string) (found []string, err error) {
	all, err := filepath.Glob(filepath.Join(c.Store, "mooring", "volumes", framework+"*"))
	if err != nil {
		return nil, err
	}
	for _, volume := range all {
		l, epoch, err := latestLease(c, filepath.Base(volume))
		if err != nil {
			return nil, err
		}
		if l.State != "released" {
			found = append(found, fmt.Sprintf("lease of %s: %s by %s, epoch %d", filepath.Base(volume), l.State, l.Host, epoch))
		}
	}
	return found, nil
}

// requireTraces checks that the sweep finds something of every kind while a framework runs: one that finds nothing afterwards says nothing
// otherwise.
func requireTraces(t *testing.T, c *cell.Cell, framework string) {
	t.Helper()
	found, err := traces(within(t), c, framework)
	require.NoError(t, err)
	for _, kind := range []string{"container ", "executor ", "mount ", "loop device: ", "lease "} {
		require.True(t, slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, kind) }), "no %sin %q", kind, found)
	}
}

// awaitNoTraces waits until nothing of a framework is left on any host but its volumes. A host that was switched off under a node may still have
// its dead container, which only the next launch of that node there would have removed.
func awaitNoTraces(t *testing.T, c *cell.Cell, framework string, switchedOff ...*cell.Host) {
	t.Helper()
	await(t, "nothing to be left of "+framework, func() error {
		found, err := traces(within(t), c, framework)
		for _, h := range switchedOff {
			found = slices.DeleteFunc(found, func(f string) bool {
				return strings.HasPrefix(f, "container on "+h.Name+": ") && strings.HasSuffix(f, ", exited")
			})
		}
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("there is still:\n%s", strings.Join(found, "\n"))
		}
		return err
	})
}

// assertTaken checks how a node's volumes came from one host to the next: "released" leases were given back, so the next host took them at once;
// those of a host that is given up, when its heartbeat has stood still for so long, stay "held" for ever.
func assertTaken(t *testing.T, c *cell.Cell, from, to deploy.Node, left string) {
	t.Helper()
	for _, volume := range to.Volumes {
		now, epoch, err := latestLease(c, volume)
		require.NoError(t, err)
		assert.Equal(t, "held", now.State, volume)
		assert.Regexp(t, "^"+hostAt(t, c, to.Place.Host).Name+`\b`, now.Host, volume)
		before := leaseIn(t, c, volume, epoch-1)
		assert.Equal(t, left, before.State, "%s of the host that its node left", volume)
		assert.Regexp(t, "^"+hostAt(t, c, from.Place.Host).Name+`\b`, before.Host, volume)
	}
}

func hostAt(t *testing.T, c *cell.Cell, address string) *cell.Host {
	t.Helper()
	h, err := c.At(address)
	require.NoError(t, err)
	return h
}
