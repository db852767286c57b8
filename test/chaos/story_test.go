package chaos

import (
	"archive/tar"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/zookeeper"
)

const (
	pairs      = 2
	roundLimit = 5 * time.Minute // ends what hangs; a round takes half a minute
	image      = "records:1"
)

// Whatever dies, freezes, is cut off or stops, in whatever step: no acknowledged record is lost, no two hosts write one volume,
// the engines answer, and nothing is left behind.
func TestStoryChaos(t *testing.T) {
	choices := seeded(t)
	free := make(chan [2]*cell.Host, pairs)
	c := up(t, "/var/tmp/mooring-chaos", cell.Options{Hosts: 2*pairs + 2, Faulty: pairs})
	for i := range pairs {
		free <- [2]*cell.Host{c.Hosts[i], c.Hosts[pairs+i]}
	}
	direct := [2]*cell.Host{c.Hosts[2*pairs], c.Hosts[2*pairs+1]}
	t.Run("rounds", func(t *testing.T) {
		for _, who := range targets {
			for _, what := range faults {
				if leftOut(who, what, write) != "" || !all() && !slices.Contains(inEveryRun[who], what) {
					continue
				}
				chosen := chooseAll(choices)
				t.Run(string(who)+" "+string(what), func(t *testing.T) {
					t.Parallel()
					pair := <-free
					defer func() { free <- pair }()
					r := newRound(c, pair, who, what, chosen)
					if all() {
						r.lasts = time.Minute
					}
					play(t, r)
				})
			}
		}
		t.Run("frozen host with images", func(t *testing.T) {
			t.Parallel()
			r := &round{one: direct[0], two: direct[1], dir: filepath.Join(c.Store, "mooring"), who: host, what: freeze}
			r.add(write, ext4, false)
			r.add(write, xfs, false)
			play(t, r)
		})
	})
}

// The same with leases and heartbeats in ZooKeeper, which a host that is cut off loses together with its store.
func TestStoryChaosWithLeasesInZooKeeper(t *testing.T) {
	const address = "127.0.1.254:2181"
	choices := seeded(t)
	c := up(t, "/var/tmp/mooring-chaos-zookeeper", cell.Options{Hosts: 2, Faulty: 1, Leases: "zk://mooring:secret@" + address + "/mooring"})
	server, err := zookeeper.New(zookeeper.Options{Dir: t.TempDir(), Address: address, Prefix: []string{"nsenter", "--net=" + c.Switch}})
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() { require.NoError(t, server.Kill()) })
	kept := watchLeases(t, c, address)
	for _, hit := range withZooKeeper {
		chosen := chooseAll(choices)
		if !all() && !hit.always {
			continue
		}
		t.Run(string(hit.who)+" "+string(hit.what), func(t *testing.T) {
			r := newRound(c, [2]*cell.Host(c.Hosts), hit.who, hit.what, chosen)
			r.kept = kept
			play(t, r)
		})
	}
}

// all tells whether every round is to be played, not only those that the tests of a change play.
func all() bool { return os.Getenv("MOORING_CHAOS") == "all" }

// seeded is what all choices of a run follow from.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("MOORING_CHAOS_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "MOORING_CHAOS_SEED is a number")
	}
	t.Logf("MOORING_CHAOS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// up makes a cell: hosts with the image of the writer, of which the first ones reach the store through a file system that
// fails on demand and the others directly, so that these can clone what they take over.
func up(t *testing.T, dir string, o cell.Options) *cell.Cell {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a cell needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), roundLimit)
	defer cancel()
	faultfs, writer := built(t, "faultfs"), packed(t, built(t, "records"))
	require.NoError(t, cell.Down(ctx, dir)) // what an interrupted run left
	t.Cleanup(func() {
		if t.Failed() {
			require.NoError(t, cell.KeepLogs(dir, dir+"-logs"))
			t.Log("logs are kept in", dir+"-logs")
		}
		require.NoError(t, cell.Down(context.Background(), dir)) // t.Context has ended by then
	})
	o.Plugin, o.Faults, o.StoreFS, o.Bare = "../../build/plugin", faultfs, "xfs", true
	c, err := cell.Up(ctx, dir, o)
	require.NoError(t, err)
	for _, h := range c.Hosts {
		_, err := h.Docker(ctx, "import", "--change", `ENTRYPOINT ["/records"]`, writer, image)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(acksDir(h), 0o755))
	}
	return c
}

func built(t *testing.T, command string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), command)
	build := exec.Command("go", "build", "-o", program, "../cmd/"+command)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// packed is an archive of the root directory of an image with one program.
func packed(t *testing.T, program string) string {
	t.Helper()
	content, err := os.ReadFile(program)
	require.NoError(t, err)
	f, err := os.Create(program + ".tar")
	require.NoError(t, err)
	archive := tar.NewWriter(f)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(content))}))
	_, err = archive.Write(content)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.NoError(t, f.Close())
	return f.Name()
}

// acksDir is where the writers on a host acknowledge, beside every volume.
func acksDir(h *cell.Host) string { return filepath.Join(h.Dir, "acks") }

// await polls until check succeeds.
func await(ctx context.Context, what string, check func() error) error {
	ticks := time.NewTicker(500 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, ctx.Err(), err)
		case <-ticks.C:
		}
	}
}
