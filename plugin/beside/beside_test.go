package beside_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/plugin/beside"
)

const patience = time.Minute

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "stub":
			stub(os.Args[2])
		case "driver":
			drive(os.Args[2])
		}
	}
	goleak.VerifyTestMain(m)
}

// stub is a program that is run beside the driver. It does what it is told, and writes down how it fares.
func stub(diary string) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	told, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	write := func(line string) {
		f, err := os.OpenFile(diary, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, line)
		f.Close()
	}
	write(fmt.Sprintf("%d told %s %s%s", os.Getpid(), told, os.Getenv("MOORING_STUB"), os.Getenv("KEPT")))
	switch string(told) {
	case "crash":
		fmt.Fprintln(os.Stderr, "stub: no luck\nat all")
		os.Exit(3)
	case "greedy":
		for all := [][]byte{}; ; all = append(all, make([]byte, 16<<20)) {
			if len(all) > 1<<10 {
				os.Exit(0) // nothing kept it from 16 GB
			}
		}
	case "deaf":
		for range terminated {
		}
	}
	<-terminated
	write("ended in order")
	os.Exit(0)
}

// drive stands for the driver's process, until it is killed.
func drive(diary string) {
	beside.New(options(diary, func() ([]byte, error) { return []byte("run"), nil })).Run(context.Background())
}

func options(diary string, input func() ([]byte, error)) beside.Options {
	return beside.Options{Name: "stub", Command: []string{os.Args[0], "stub", diary}, Input: input, Look: 5 * time.Millisecond, Pause: time.Millisecond}
}

// orders are what a program is told, to be changed while it runs.
type orders struct{ now atomic.Value }

func (o *orders) give(text string) { o.now.Store(text) }

func (o *orders) input() ([]byte, error) {
	text, _ := o.now.Load().(string)
	if text == "" {
		return nil, errors.New("nothing\nto tell")
	}
	return []byte(text), nil
}

// running is a Program in a test.
type running struct {
	*beside.Program
	t     *testing.T
	diary string
	stop  func()
}

func run(t *testing.T, change func(*beside.Options)) (*running, *orders) {
	t.Helper()
	told := &orders{}
	diary := filepath.Join(t.TempDir(), "diary")
	o := options(diary, told.input)
	if change != nil {
		change(&o)
	}
	r := &running{Program: beside.New(o), t: t, diary: diary}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r, told
}

func (r *running) lines() []string {
	text, _ := os.ReadFile(r.diary)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 2*time.Millisecond, what)
}

// await waits for the last line of the diary.
func (r *running) await(ends string) (pid int) {
	r.t.Helper()
	var lines []string
	eventually(r.t, ends, func() bool {
		lines = r.lines()
		return strings.HasSuffix(lines[len(lines)-1], ends)
	})
	pid, _ = strconv.Atoi(strings.Fields(lines[len(lines)-1])[0])
	return pid
}

// gone tells whether a process has ended, also if nobody took notice.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestAProgramRunsAsLongAsTheDriver(t *testing.T) {
	t.Setenv("MOORING_STUB", "not for it")
	t.Setenv("KEPT", "kept")
	r, told := run(t, nil)
	eventually(t, "the trouble to be told", func() bool { return r.Trouble() == "nothing; to tell" })
	told.give("run")
	pid := r.await("told run kept")
	assert.Empty(t, r.Trouble())
	r.stop()
	assert.Equal(t, "ended in order", r.lines()[1])
	assert.True(t, gone(pid))
}

func TestAProgramThatEndsIsStartedAgain(t *testing.T) {
	r, told := run(t, nil)
	told.give("run")
	first := r.await("told run")
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	eventually(t, "another one", func() bool { return len(r.lines()) == 2 })
	assert.Contains(t, r.Trouble(), "the stub ended: signal: killed", "until it has run for a while")

	told.give("crash")
	eventually(t, "some crashes", func() bool { return len(r.lines()) > 6 })
	assert.Contains(t, r.Trouble(), "the stub ended: exit status 3: stub: no luck; at all")
}

func TestAProgramIsStartedAnewWithWhatHasChanged(t *testing.T) {
	r, told := run(t, nil)
	told.give("run")
	first := r.await("told run")
	told.give("")
	eventually(t, "the trouble to be told", func() bool {
		return r.Trouble() == "the stub goes on with what it was told before: nothing; to tell"
	})
	assert.False(t, gone(first), "a mistake does not end what runs")
	told.give("run")
	eventually(t, "the trouble to be over", func() bool { return r.Trouble() == "" })
	assert.Len(t, r.lines(), 1, "the same again changes nothing")
	told.give("go on")
	assert.NotEqual(t, first, r.await("told go on"))
	assert.Equal(t, "ended in order", r.lines()[1])
}

func TestAProgramThatDoesNotEndIsKilled(t *testing.T) {
	r, told := run(t, func(o *beside.Options) { o.Grace = time.Millisecond })
	told.give("deaf")
	pid := r.await("told deaf")
	r.stop()
	assert.True(t, gone(pid))
}

func TestAProgramThatCannotBeStartedIsTriedAgain(t *testing.T) {
	r, told := run(t, func(o *beside.Options) { o.Command = []string{"/nowhere/stub"} })
	told.give("run")
	eventually(t, "the trouble", func() bool {
		return strings.Contains(r.Trouble(), "the stub ended: start: fork/exec /nowhere/stub: no such file or directory")
	})
}

func TestAProgramThatWantsTooMuchMemoryEndsAlone(t *testing.T) {
	r, told := run(t, func(o *beside.Options) { o.Memory = 512 << 20 })
	told.give("greedy")
	eventually(t, "its end", func() bool { return strings.Contains(r.Trouble(), "the stub ended: exit status ") })
	told.give("run")
	r.await("told run")
}

func TestAProgramDoesNotOutliveADriverThatIsKilled(t *testing.T) {
	diary := filepath.Join(t.TempDir(), "diary")
	driver := exec.Command(os.Args[0], "driver", diary)
	require.NoError(t, driver.Start())
	t.Cleanup(func() { _ = driver.Process.Kill() })
	r := &running{t: t, diary: diary}
	pid := r.await("told run")
	require.NoError(t, driver.Process.Kill())
	_ = driver.Wait()
	eventually(t, "the end of the program", func() bool { return gone(pid) })
	assert.Len(t, r.lines(), 1, "killed, too")
}
