package guard

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/store"
	running "mooring/test/zookeeper"
)

// BenchmarkHeartbeat tells what a guard reads and writes every 3 s: its heartbeat, its notes in the host's own directory, and those of
// its leases whose turn it is. Sockets count, too.
func BenchmarkHeartbeat(b *testing.B) {
	for _, leases := range []int{1, 1000} {
		b.Run(fmt.Sprintf("store/leases=%d", leases), func(b *testing.B) {
			host, s := benchHost(b)
			beats(b, host, "", s.Leases(), leases)
		})
		b.Run(fmt.Sprintf("zookeeper/leases=%d", leases), func(b *testing.B) {
			host, s := benchHost(b)
			address := "zk://" + running.Run(b).Address + "/mooring"
			a, err := ensemble.Parse(address)
			require.NoError(b, err)
			z := zookeeper.New(a, nil)
			b.Cleanup(z.Close)
			require.NoError(b, z.Prepare(s.UUID()))
			host.Leases = z.String()
			beats(b, host, address, z.Leases(s.UUID()), leases)
		})
	}
}

func benchHost(b *testing.B) (Host, *store.Store) {
	dir := b.TempDir()
	s, err := store.Open(dir, "")
	require.NoError(b, err)
	return Host{Identity: lease.Identity{Host: "h", Boot: "boot-1", Instance: "i"}, StateDir: b.TempDir(), StoreDir: dir, StoreUUID: s.UUID(),
		Heartbeat: 3 * time.Second, FenceAfter: 10 * time.Minute}, s
}

// beats has a guard that watches so many volumes beat and check leases.
func beats(b *testing.B, host Host, address string, all interface {
	Create(after, next lease.Lease) (lease.Lease, error)
}, leases int) {
	at, err := place(host, address, hclog.NewNullLogger())
	require.NoError(b, err)
	g, kept := build(host, at, Status{}, hclog.NewNullLogger())
	g.Keep = func(p lease.Pulse, fenced []Report) { // waited for, or some would be left out: beats come faster here
		require.NoError(b, errors.Join(savePulse(kept.dir, p), kept.saveReports(fenced)))
	}
	g.beat()
	for n := range leases {
		name := fmt.Sprintf("elasticsearch%ddata", n)
		require.NoError(b, os.MkdirAll(host.StoreDir+"/mooring/volumes/"+name, 0o700))
		_, err := all.Create(lease.Lease{}, lease.Lease{}.Next(name, host.Identity))
		require.NoError(b, err)
		require.NoError(b, g.Watch(Volume{Name: name, Epoch: 1, Lapses: g.Status().Pulse.Lapses}))
	}
	g.beat()
	before := ownIO(b)
	for b.Loop() {
		g.beat()
		g.checkLeases()
	}
	after := ownIO(b)
	require.Empty(b, g.Status().Problem)
	require.Equal(b, leases, g.Status().Watching)
	for field, unit := range map[string]string{"rchar": "read-B/op", "wchar": "written-B/op", "syscr": "reads/op", "syscw": "writes/op"} {
		b.ReportMetric(float64(after[field]-before[field])/float64(b.N), unit)
	}
}

// ownIO is what this process has read and written so far.
func ownIO(b *testing.B) map[string]int64 {
	file, err := os.Open("/proc/self/io")
	require.NoError(b, err)
	defer file.Close()
	counts := map[string]int64{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var name string
		var count int64
		_, err := fmt.Sscanf(lines.Text(), "%s %d", &name, &count)
		require.NoError(b, err)
		counts[name[:len(name)-1]] = count
	}
	return counts
}
