package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
)

// clients spreads b.N calls over n goroutines, each with its own connection. It reports the rate, and what 99 of 100 calls
// take at most.
func clients(b *testing.B, n int, call func(i int64)) {
	var next atomic.Int64
	var all sync.WaitGroup
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for range n {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				began := time.Now()
				call(i)
				took[i-1] = time.Since(began)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint("clients=", n), func(b *testing.B) {
			e, _ := serve(b, configure(b, "hostA", b.TempDir()))
			e.call("Create", `{"Name":"elasticsearch1data"}`)
			clients(b, n, func(int64) { e.call("Get", `{"Name":"elasticsearch1data"}`) })
		})
	}
}

// BenchmarkCreate makes volumes that survive a power cut; compare with BenchmarkSyncPerCall.
func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint("clients=", n), func(b *testing.B) {
			e, _ := serve(b, configure(b, "hostA", b.TempDir()))
			clients(b, n, func(i int64) { e.call("Create", fmt.Sprintf(`{"Name":"elasticsearch%ddata","Opts":null}`, i)) })
		})
	}
}

// BenchmarkSyncPerCall is the simplest durable Create on the same disk, without any protocol: one line and
// one fsync for each call, and the volume's directory.
func BenchmarkSyncPerCall(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint("clients=", n), func(b *testing.B) {
			dir := b.TempDir()
			file, err := os.Create(filepath.Join(dir, "state"))
			require.NoError(b, err)
			defer file.Close()
			line := make([]byte, 250)
			var mu sync.Mutex
			clients(b, n, func(i int64) {
				mu.Lock()
				defer mu.Unlock()
				_, err := file.Write(line)
				require.NoError(b, err)
				require.NoError(b, file.Sync())
				require.NoError(b, os.MkdirAll(filepath.Join(dir, fmt.Sprint(i), "data"), 0o755))
			})
		})
	}
}

// BenchmarkMount is one use of a volume: Mount and Unmount of a single ID.
func BenchmarkMount(b *testing.B) {
	e, _ := serve(b, configure(b, "hostA", b.TempDir()))
	e.call("Create", `{"Name":"v"}`)
	for b.Loop() {
		e.call("Mount", `{"Name":"v","ID":"i"}`)
		e.call("Unmount", `{"Name":"v","ID":"i"}`)
	}
}

// BenchmarkThousandVolumes reports the memory that 1,000 known volumes take, and times List of them.
func BenchmarkThousandVolumes(b *testing.B) {
	before := heap()
	d, err := plugin.Open(configure(b, "hostA", b.TempDir()))
	require.NoError(b, err)
	defer d.Close()
	for i := range 1000 {
		require.NoError(b, d.Create(context.Background(), &api.CreateRequest{Name: fmt.Sprintf("elasticsearch%ddata", i)}))
	}
	used := heap() - before
	b.ResetTimer()
	for range b.N {
		_, err := d.List(context.Background(), nil)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(used)/1024, "heap-KiB")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
