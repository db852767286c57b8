package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mooring/test/cell"
)

// answerLimit is the longest an engine may take to list volumes: a generous one, as the machine is loaded.
const answerLimit = 10 * time.Second

// answers watches whether the engines of a pair list volumes all the time.
type answers struct {
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	excused bool // host one cannot answer now
	changes int
	worst   [2]time.Duration
	failed  error
}

func (r *round) watchEngines(ctx context.Context) *answers {
	ctx, stop := context.WithCancel(ctx)
	a := &answers{stop: stop}
	for i, h := range []*cell.Host{r.one, r.two} {
		a.all.Go(func() { a.watch(ctx, i, h) })
	}
	return a
}

func (a *answers) watch(ctx context.Context, i int, h *cell.Host) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for ctx.Err() == nil {
		before, away := a.now()
		if i == 1 || !away {
			began := time.Now()
			limited, cancel := context.WithTimeout(ctx, answerLimit)
			_, err := h.Docker(limited, "volume", "ls", "--quiet")
			cancel()
			if after, _ := a.now(); ctx.Err() == nil && (i == 1 || before == after) {
				a.note(i, time.Since(began), err)
			}
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}

func (a *answers) now() (changes int, excused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes, a.excused
}

func (a *answers) excuse(excused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.excused = excused
	a.changes++
}

func (a *answers) note(i int, took time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.worst[i] = max(a.worst[i], took)
	a.failed = errors.Join(a.failed, err)
}

func (a *answers) end() ([2]time.Duration, error) {
	a.stop()
	a.all.Wait()
	return a.worst, a.failed
}

// traces finds what is left of a volume that was removed: on either host a mount or a process, a loop device, something in
// the store, a lease elsewhere.
func (v *volume) traces() error {
	var found []error
	for _, pattern := range []string{"volumes/" + v.name, "trash/" + v.name + ".*"} {
		files, err := filepath.Glob(filepath.Join(v.dir, pattern))
		found = append(found, err)
		for _, file := range files {
			found = append(found, fmt.Errorf("%s is left in the store", file))
		}
	}
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	found = append(found, err)
	for _, file := range devices {
		if backing, err := os.ReadFile(file); err == nil && strings.Contains(string(backing), "/"+v.name+"/") {
			found = append(found, fmt.Errorf("%s is left: %s", filepath.Dir(filepath.Dir(file)), backing))
		}
	}
	for _, h := range []*cell.Host{v.one, v.two} {
		for _, pid := range []int{h.PID("dockerd"), h.PluginPID(), h.GuardPID()} {
			table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
			if err == nil && strings.Contains(string(table), "/"+v.name) {
				found = append(found, fmt.Errorf("a mount is left in process %d on %s", pid, h.Name))
			}
		}
	}
	if v.kept != nil {
		found = append(found, v.kept.left(v.name))
	}
	return errors.Join(append(found, v.processes()...)...)
}

func (v *volume) processes() (found []error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	found = append(found, err)
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), v.name) {
			found = append(found, fmt.Errorf("process %s is left: %s", filepath.Base(filepath.Dir(file)), strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return found
}
