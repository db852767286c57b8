package faultfs_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/test/faultfs"
)

const patience = time.Minute

// scene is a directory and the file system over it.
type scene struct {
	*faultfs.FS
	below, at string
}

func mounted(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("NOT TESTED: this kernel has no FUSE:", err)
	}
	s := &scene{below: t.TempDir(), at: t.TempDir()}
	s.FS = mountAt(t, s.below, s.at)
	return s
}

func mountAt(t *testing.T, below, at string) *faultfs.FS {
	t.Helper()
	f, err := faultfs.Mount(below, at)
	require.NoError(t, err)
	t.Cleanup(func() {
		f.Set(faultfs.Fault{})
		require.NoError(t, f.Unmount())
		f.Wait()
	})
	return f
}

func (s *scene) path(name string) string { return filepath.Join(s.at, name) }

func (s *scene) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(s.path(name), []byte(text), 0o600))
}

func TestEverythingPasses(t *testing.T) {
	s := mounted(t)
	t.Run("files", func(t *testing.T) {
		s.write(t, "a", "hello")
		require.NoError(t, os.Rename(s.path("a"), s.path("b")))
		require.NoError(t, os.Link(s.path("b"), s.path("c")))
		require.ErrorIs(t, os.Link(s.path("b"), s.path("c")), os.ErrExist)
		require.NoError(t, os.Symlink("c", s.path("d")))
		require.NoError(t, os.Chmod(s.path("c"), 0o640))
		require.NoError(t, os.Chown(s.path("c"), 1000, 1001))
		content, err := os.ReadFile(filepath.Join(s.below, "d"))
		require.NoError(t, err)
		assert.Equal(t, "hello", string(content))
		var stat unix.Stat_t
		require.NoError(t, unix.Stat(s.path("b"), &stat))
		assert.Equal(t, []uint32{2, 1000, 1001, 0o640}, []uint32{uint32(stat.Nlink), stat.Uid, stat.Gid, stat.Mode & 0o777})
	})
	t.Run("directories", func(t *testing.T) {
		require.NoError(t, os.MkdirAll(s.path("x/y"), 0o755))
		require.NoError(t, os.Rename(s.path("x"), s.path("z")))
		entries, err := os.ReadDir(s.path("z"))
		require.NoError(t, err)
		assert.Len(t, entries, 1)
		dir, err := os.Open(s.path("z"))
		require.NoError(t, err)
		require.NoError(t, dir.Sync())
		require.NoError(t, dir.Close())
		require.NoError(t, os.RemoveAll(s.path("z")))
		assert.NoDirExists(t, filepath.Join(s.below, "z"))
	})
	t.Run("append and sync", func(t *testing.T) {
		f, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		for range 3 {
			_, err = f.WriteString("line\n")
			require.NoError(t, err)
			require.NoError(t, unix.Fdatasync(int(f.Fd())))
		}
		require.NoError(t, f.Close())
		content, err := os.ReadFile(filepath.Join(s.below, "log"))
		require.NoError(t, err)
		assert.Equal(t, "line\nline\nline\n", string(content))
	})
	t.Run("images", s.images)
}

// images is what an image on a loop device does with its file. The mapping is populated at once: a page fault that this very
// process must answer stops the Go scheduler.
func (s *scene) images(t *testing.T) {
	const size = 1 << 20
	f, err := os.OpenFile(s.path("image"), os.O_CREATE|os.O_RDWR|unix.O_DIRECT, 0o600)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(4*size))
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, size))
	require.NoError(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, size))
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	require.NoError(t, err)
	copy(page, "block")
	_, err = f.WriteAt(page, 8192)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	clear(page)
	_, err = f.ReadAt(page, 8192)
	require.NoError(t, err)
	assert.Equal(t, "block", string(page[:5]))
	shared, err := unix.Mmap(int(f.Fd()), 0, 16384, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	require.NoError(t, err)
	assert.Equal(t, "block", string(shared[8192:8197]))
	copy(shared, "mapped")
	require.NoError(t, unix.Msync(shared, unix.MS_SYNC))
	require.NoError(t, unix.Munmap(shared))
	content, err := os.ReadFile(filepath.Join(s.below, "image"))
	require.NoError(t, err)
	assert.True(t, bytes.HasPrefix(content, []byte("mapped")))
	require.NoError(t, unix.Setxattr(s.path("image"), "user.mooring", []byte("x"), 0))
}

func TestTwoMountsAgree(t *testing.T) {
	one := mounted(t)
	two := &scene{below: one.below, at: t.TempDir()}
	two.FS = mountAt(t, two.below, two.at)
	for round := range 20 {
		one.write(t, "file", "from one")
		require.NoError(t, os.Rename(one.path("file"), one.path("renamed")))
		content, err := os.ReadFile(two.path("renamed"))
		require.NoError(t, err, "round %d", round)
		require.Equal(t, "from one", string(content))
		require.NoError(t, os.Link(two.path("renamed"), two.path("linked")))
		require.ErrorIs(t, os.Link(one.path("renamed"), one.path("linked")), os.ErrExist)
		require.NoError(t, os.Remove(one.path("renamed")))
		require.NoError(t, os.Remove(one.path("linked")))
		require.NoFileExists(t, two.path("linked"))
	}
	first, err := os.Stat(one.at)
	require.NoError(t, err)
	second, err := os.Stat(two.at)
	require.NoError(t, err)
	assert.False(t, os.SameFile(first, second), "each mount is a device of its own")
}

// Two hosts make the same lease at once: a link has one winner.
func TestLinksOfTwoMountsAreExclusive(t *testing.T) {
	one := mounted(t)
	two := &scene{below: one.below, at: t.TempDir()}
	two.FS = mountAt(t, two.below, two.at)
	one.write(t, "a", "")
	two.write(t, "b", "")
	for range 100 {
		var all sync.WaitGroup
		var errs [2]error
		all.Go(func() { errs[0] = os.Link(one.path("a"), one.path("lease")) })
		all.Go(func() { errs[1] = os.Link(two.path("b"), two.path("lease")) })
		all.Wait()
		require.NotEqual(t, errs[0] == nil, errs[1] == nil, "one wins: %v", errs)
		require.NoError(t, os.Remove(one.path("lease")))
	}
}

func TestFaultsAreErrors(t *testing.T) {
	rows := []struct {
		kind           faultfs.Kind
		reads, changes error
	}{
		{faultfs.EIO, unix.EIO, unix.EIO},
		{faultfs.ESTALE, unix.ESTALE, unix.ESTALE},
		{faultfs.ENOSPC, nil, unix.ENOSPC},
		{faultfs.None, nil, nil},
	}
	for _, row := range rows {
		t.Run(string(row.kind), func(t *testing.T) {
			s := mounted(t)
			s.write(t, "file", "here")
			f, err := os.OpenFile(s.path("file"), os.O_WRONLY|os.O_APPEND, 0)
			require.NoError(t, err)
			defer f.Close()
			s.Set(faultfs.Fault{Kind: row.kind})
			_, err = os.ReadFile(s.path("file"))
			require.ErrorIs(t, err, row.reads)
			_, err = os.ReadDir(s.at)
			require.ErrorIs(t, err, row.reads)
			_, err = f.WriteString("more")
			require.ErrorIs(t, err, row.changes)
			require.ErrorIs(t, f.Sync(), row.reads)
			require.ErrorIs(t, os.Mkdir(s.path("dir"), 0o755), row.changes)
			s.Set(faultfs.Fault{})
			_, err = os.ReadFile(s.path("file"))
			require.NoError(t, err)
			_, err = f.WriteString("more")
			require.NoError(t, err, "an open file works again")
		})
	}
}

func TestHangEndsWhenHealed(t *testing.T) {
	s := mounted(t)
	s.write(t, "file", "here")
	s.Set(faultfs.Fault{Kind: faultfs.Hang})
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(s.path("file"))
		done <- err
	}()
	waitUntilStuck(t, os.Getpid())
	select {
	case err := <-done:
		require.Fail(t, "it answered", "%v", err)
	default:
	}
	s.Set(faultfs.Fault{})
	require.NoError(t, <-done)
}

// A process that waits can be killed, and one that has files open can end.
func TestHangingProcessCanBeKilled(t *testing.T) {
	s := mounted(t)
	s.write(t, "file", "here")
	// It goes there by itself: while a child is made that begins in the file system, this process, its server, may stand still.
	reader := exec.CommandContext(t.Context(), "sh", "-c", `cd "$0"; exec 3<file; read x <ready; exec cat file`, s.at)
	require.NoError(t, unix.Mkfifo(s.path("ready"), 0o600))
	require.NoError(t, reader.Start())
	ready, err := os.OpenFile(s.path("ready"), os.O_WRONLY, 0)
	require.NoError(t, err)
	s.Set(faultfs.Fault{Kind: faultfs.Hang})
	_, err = ready.WriteString("go\n")
	require.NoError(t, err)
	waitUntilStuck(t, reader.Process.Pid)
	require.NoError(t, reader.Process.Kill())
	var status *exec.ExitError
	require.ErrorAs(t, reader.Wait(), &status)
	assert.Equal(t, "signal: killed", status.Error())
	s.Set(faultfs.Fault{})
	require.NoError(t, ready.Close())
}

// waitUntilStuck waits until a thread of a process waits for a FUSE server.
func waitUntilStuck(t *testing.T, pid int) {
	t.Helper()
	threads := filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "wchan")
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(threads)
		for _, file := range files {
			if content, err := os.ReadFile(file); err == nil && bytes.Contains(content, []byte("request_wait_answer")) {
				return true
			}
		}
		return false
	}, patience, 10*time.Millisecond, "a thread of process %d waits for FUSE", pid)
}

func TestFaultsByCommand(t *testing.T) {
	s := mounted(t)
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- faultfs.Serve(ctx, listener, s.FS) }()
	require.NoError(t, faultfs.Tell(t.Context(), socket, faultfs.Fault{Kind: faultfs.EIO}))
	require.ErrorIs(t, os.Mkdir(s.path("dir"), 0o755), unix.EIO)
	require.NoError(t, faultfs.Tell(t.Context(), socket, faultfs.Fault{}))
	require.NoError(t, os.Mkdir(s.path("dir"), 0o755))
	require.ErrorContains(t, faultfs.Tell(t.Context(), socket, faultfs.Fault{Kind: "fire"}), `fault "fire`)
	cancel()
	require.NoError(t, <-served)
	require.Error(t, faultfs.Tell(t.Context(), socket, faultfs.Fault{}))
}

func TestParse(t *testing.T) {
	for _, text := range []string{"none", "eio", "enospc", "estale", "hang", "latency 100ms"} {
		fault, err := faultfs.Parse(text)
		require.NoError(t, err)
		assert.Equal(t, text, fault.String())
	}
	for _, text := range []string{"", "fire", "latency", "latency fast", "latency -1s", "eio 5", "eio eio"} {
		_, err := faultfs.Parse(text)
		require.ErrorContains(t, err, "is not one of none, eio")
	}
}

func TestAHeldOperationWaits(t *testing.T) {
	for _, hold := range []faultfs.Hold{
		{Operation: faultfs.Link, Path: "dir/lease.*"},
		{Operation: faultfs.Link, Path: "dir/lease.*", After: true},
	} {
		t.Run(hold.String(), func(t *testing.T) {
			s := mounted(t)
			require.NoError(t, os.Mkdir(s.path("dir"), 0o755))
			s.write(t, "dir/draft", "")
			again, err := faultfs.ParseHold(hold.String())
			require.NoError(t, err)
			s.Hold(again)
			require.NoError(t, os.Link(s.path("dir/draft"), s.path("dir/other")), "another name")
			done := make(chan error, 1)
			go func() { done <- os.Link(s.path("dir/draft"), s.path("dir/lease.1")) }()
			require.Eventually(t, func() bool { return s.Held(hold) }, patience, time.Millisecond)
			_, err = os.Lstat(filepath.Join(s.below, "dir/lease.1"))
			if hold.After {
				require.Eventually(t, func() bool { _, err = os.Lstat(filepath.Join(s.below, "dir/lease.1")); return err == nil }, patience, time.Millisecond)
			} else {
				require.ErrorIs(t, err, os.ErrNotExist)
			}
			select {
			case err := <-done:
				require.Fail(t, "it answered", "%v", err)
			default:
			}
			s.Release()
			require.NoError(t, <-done)
			require.NoError(t, os.Link(s.path("dir/draft"), s.path("dir/lease.2")), "no hold is left")
		})
	}
}

func TestWrongHoldsAreExplained(t *testing.T) {
	for _, text := range []string{"", "before link", "sometimes link a", "before fly a", "before link [", "before link a b"} {
		_, err := faultfs.ParseHold(text)
		require.Error(t, err, text)
	}
}

// A heartbeat is rewritten in its place: a full store does not stop it.
func TestAFullStoreTakesWhatIsThere(t *testing.T) {
	s := mounted(t)
	s.write(t, "file", "here")
	s.Set(faultfs.Fault{Kind: faultfs.ENOSPC})
	f, err := os.OpenFile(s.path("file"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("HERE"), 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("more"), 2)
	require.ErrorIs(t, err, unix.ENOSPC)
}
