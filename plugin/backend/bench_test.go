package backend_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
)

// BenchmarkFirstMount makes and mounts a new image of 100 GiB.
func BenchmarkFirstMount(b *testing.B) {
	eachFS(b, func(b *testing.B, fs string) {
		for range b.N {
			b.StopTimer()
			i, v, target := image(b, fs)
			v.Size = 100 * gib
			b.StartTimer()
			require.NoError(b, i.Provision(b.Context(), v))
			require.NoError(b, i.Mount(b.Context(), v, target))
			b.StopTimer()
			require.NoError(b, i.Unmount(b.Context(), target))
			require.NoError(b, os.RemoveAll(v.Dir))
			b.StartTimer()
		}
	})
}

// BenchmarkLaterMount mounts an image of 100 GiB that was unmounted in order.
func BenchmarkLaterMount(b *testing.B) {
	eachFS(b, func(b *testing.B, fs string) {
		i, v, target := image(b, fs)
		v.Size = 100 * gib
		require.NoError(b, i.Provision(b.Context(), v))
		require.NoError(b, i.Mount(b.Context(), v, target))
		require.NoError(b, i.Unmount(b.Context(), target))
		b.ResetTimer()
		for range b.N {
			require.NoError(b, i.Mount(b.Context(), v, target))
			b.StopTimer()
			require.NoError(b, i.Unmount(b.Context(), target))
			b.StartTimer()
		}
	})
}

func eachFS(b *testing.B, run func(b *testing.B, fs string)) {
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		b.Run(fs, func(b *testing.B) { run(b, fs) })
	}
}

// places are a plain directory of the store, to compare with, and an image of each file system.
func places(b *testing.B, run func(b *testing.B, dir string)) {
	b.Run("dir", func(b *testing.B) { run(b, b.TempDir()) })
	eachFS(b, func(b *testing.B, fs string) {
		i, v, target := image(b, fs)
		v.Size = 8 * gib
		require.NoError(b, i.Provision(b.Context(), v))
		require.NoError(b, i.Mount(b.Context(), v, target))
		run(b, target)
		require.NoError(b, i.Unmount(b.Context(), target))
	})
}

const (
	blockBytes = 4096
	fileBytes  = 128 * mib
)

// bigFile is a file of fileBytes, written and on disk.
func bigFile(b *testing.B, dir string) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "file"))
	require.NoError(b, err)
	chunk := make([]byte, mib)
	for range fileBytes / len(chunk) {
		_, err := f.Write(chunk)
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	return f
}

func BenchmarkSequentialWrite(b *testing.B) {
	places(b, func(b *testing.B, dir string) {
		b.SetBytes(fileBytes)
		for range b.N {
			f := bigFile(b, dir)
			require.NoError(b, f.Close())
		}
	})
}

// BenchmarkRandomWriteSync writes blocks of 4 KiB in a written file, each on disk before the next.
func BenchmarkRandomWriteSync(b *testing.B) {
	for name, flush := range map[string]func(int) error{"fsync": unix.Fsync, "fdatasync": unix.Fdatasync} {
		b.Run(name, func(b *testing.B) {
			places(b, func(b *testing.B, dir string) {
				f := bigFile(b, dir)
				defer f.Close()
				block, random := make([]byte, blockBytes), rand.New(rand.NewPCG(1, 2))
				b.SetBytes(blockBytes)
				for b.Loop() {
					_, err := f.WriteAt(block, random.Int64N(fileBytes/blockBytes)*blockBytes)
					require.NoError(b, err)
					require.NoError(b, flush(int(f.Fd())))
				}
			})
		})
	}
}

// BenchmarkAppendSync appends 4 KiB to a new file, each on disk before the next, as a translog does.
func BenchmarkAppendSync(b *testing.B) {
	places(b, func(b *testing.B, dir string) {
		f, err := os.Create(filepath.Join(dir, "log"))
		require.NoError(b, err)
		defer f.Close()
		block := make([]byte, blockBytes)
		b.SetBytes(blockBytes)
		for b.Loop() {
			_, err := f.Write(block)
			require.NoError(b, err)
			require.NoError(b, f.Sync())
		}
	})
}

// BenchmarkRandomRead reads blocks of 4 KiB past the page cache, one after the other or 16 at once.
func BenchmarkRandomRead(b *testing.B) {
	for _, readers := range []int{1, 16} {
		b.Run(fmt.Sprint("readers=", readers), func(b *testing.B) {
			places(b, func(b *testing.B, dir string) { readRandomly(b, dir, readers) })
		})
	}
}

func readRandomly(b *testing.B, dir string, readers int) {
	written := bigFile(b, dir)
	require.NoError(b, written.Close())
	f, err := os.OpenFile(written.Name(), os.O_RDONLY|unix.O_DIRECT, 0)
	require.NoError(b, err)
	defer f.Close()
	memory, err := unix.Mmap(-1, 0, readers*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	require.NoError(b, err)
	defer unix.Munmap(memory)
	b.SetBytes(blockBytes)
	b.ResetTimer()
	var all sync.WaitGroup
	for n := range readers {
		block := memory[n*blockBytes:][:blockBytes]
		random := rand.New(rand.NewPCG(1, uint64(n)))
		all.Go(func() {
			for range b.N/readers + 1 {
				_, err := f.ReadAt(block, random.Int64N(fileBytes/blockBytes)*blockBytes)
				assert.NoError(b, err)
			}
		})
	}
	all.Wait()
}
