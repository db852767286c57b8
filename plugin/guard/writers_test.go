package guard_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const recordSize = 4096

// playWriters appends and syncs until it is killed or the file system fails.
func playWriters(dir, counts string) {
	f, err := os.OpenFile(counts, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	acked, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for i := range writerCount {
		all.Go(func() { write(filepath.Join(dir, "f"+strconv.Itoa(i)), counter(acked, i)) })
	}
	all.Wait()
}

func write(path string, acked *atomic.Uint64) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	for n := uint64(1); ; n++ {
		record := make([]byte, recordSize)
		binary.LittleEndian.PutUint64(record, n)
		if _, err := f.Write(record); err != nil {
			return
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return
		}
		acked.Store(n)
	}
}

func (w *writers) count(i int) uint64 { return counter(w.acked, i).Load() }

func counter(memory []byte, i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&memory[8*i]))
}

// records counts the records of a file that are whole and in order.
func records(path string) uint64 {
	content, _ := os.ReadFile(path)
	have := uint64(0)
	for uint64(len(content)) >= (have+1)*recordSize && binary.LittleEndian.Uint64(content[have*recordSize:]) == have+1 {
		have++
	}
	return have
}
