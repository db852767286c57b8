// Package test tells, as end-to-end stories on real Docker, real Mesos and real Elasticsearch, what Mooring promises:
// `go test ./test -list Story` is the table of contents. It needs what test/prepare installs and `make build/plugin` builds.
package test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/test/cell"
	"mooring/test/deploy"
)

const (
	cacheDir = "/var/cache/mooring"

	elasticsearch8 = "elasticsearch:8.19.5"
	elasticsearch7 = "elasticsearch:7.17.28"

	storyLimit = 5 * time.Minute // a loaded machine needs several times what an idle one does
)

// cellDir is where the cell is made; another one lets two runs go on side by side.
var cellDir = cmp.Or(os.Getenv("MOORING_TEST_CELL"), "/var/tmp/mooring-stories")

// shared is the cell that the stories are told in, one after the other. Each leaves it as it found it.
var shared *cell.Cell

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (status int) {
	if os.Geteuid() != 0 {
		fmt.Println("NOT TESTED: stories need root")
		if os.Getenv("MOORING_NO_SKIPS") != "" {
			return 1
		}
		return 0
	}
	ctx := context.Background()
	claimed, err := claim(cellDir + ".lock")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer claimed.Close()
	defer func() {
		if err := errors.Join(cell.Down(ctx, cellDir), cell.Down(ctx, imagesDir)); err != nil {
			fmt.Fprintln(os.Stderr, "take the cells down:", err)
			status = 1
		}
	}()
	if err := up(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bring the cell up:", err)
		return 1
	}
	return m.Run()
}

// claim keeps a second run from taking this one's cell down. The kernel gives the lock back when the process ends.
func claim(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim the cell: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another run of the stories uses %s: set MOORING_TEST_CELL to another directory: %w", cellDir, err), f.Close())
	}
	return f, nil
}

func up(ctx context.Context) error {
	if err := cell.Down(ctx, cellDir); err != nil { // what an interrupted run left
		return err
	}
	begin := time.Now()
	var err error
	shared, err = cell.Up(ctx, cellDir, cell.Options{
		Hosts: 4, Plugin: "../build/plugin", Fast: true,
		Images:   []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar"), filepath.Join(cacheDir, "elasticsearch-7.17.28.tar")},
		Progress: func(line string) { fmt.Printf("[%5.1f s] %s\n", time.Since(begin).Seconds(), line) },
	})
	return err
}

// within gives a story its time.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), storyLimit)
	t.Cleanup(cancel)
	return ctx
}

// deployed starts a framework for one story and removes it, its volumes included, when the story ends.
func deployed(t *testing.T, o deploy.Options) *deploy.Deployment {
	t.Helper()
	return deployedIn(t, shared, o)
}

func deployedIn(t *testing.T, c *cell.Cell, o deploy.Options) *deploy.Deployment {
	t.Helper()
	binary, err := filepath.Abs("../build/mooring")
	require.NoError(t, err)
	o.Binary = binary
	d := deploy.New(c, o)
	t.Cleanup(func() { remove(t, c, d) })
	require.NoError(t, d.Start(within(t)))
	return d
}

func remove(t *testing.T, c *cell.Cell, d *deploy.Deployment) {
	ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
	defer cancel()
	if t.Failed() {
		log, _ := os.ReadFile(d.Log())
		t.Logf("end of %s:\n%s", d.Log(), log[max(0, len(log)-8000):])
	}
	healHosts(t, c)
	require.NoError(t, d.Remove(ctx))
}

// healHosts undoes what a story did to hosts.
func healHosts(t *testing.T, c *cell.Cell) {
	ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
	defer cancel()
	for _, h := range c.Hosts {
		switch h.Status(ctx) {
		case "running":
		case "dead":
			require.NoError(t, h.Return(ctx))
		default:
			require.NoError(t, h.Thaw(ctx))
			require.NoError(t, h.Join(ctx))
		}
		if h.Faulty {
			require.NoError(t, h.Heal(ctx))
		}
	}
}

// host finds the host with an address.
func host(t *testing.T, address string) *cell.Host {
	t.Helper()
	h, err := shared.At(address)
	require.NoError(t, err)
	return h
}

// hostsOf are the hosts of a cell that nodes are on, in their order.
func hostsOf(t *testing.T, c *cell.Cell, nodes []deploy.Node) (hosts []*cell.Host) {
	t.Helper()
	for _, n := range nodes {
		h, err := c.At(n.Place.Host)
		require.NoError(t, err)
		hosts = append(hosts, h)
	}
	return hosts
}

// shell is the command line of `docker run` for a script in a container of its own, with one volume at /data.
func shell(volume, script string, flags ...string) []string {
	args := append([]string{"run", "--network", "none", "--user", "0", "--volume-driver", cell.PluginName, "-v", volume + ":/data", "--entrypoint", "bash"}, flags...)
	return append(args, elasticsearch8, "-c", script)
}

func docker(t *testing.T, h *cell.Host, args ...string) string {
	t.Helper()
	out, err := h.Docker(within(t), args...)
	require.NoError(t, err)
	return out
}

// await polls until check succeeds.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx := within(t)
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			require.NoError(t, err, "wait for %s", what)
		case <-ticks.C:
		}
	}
}
