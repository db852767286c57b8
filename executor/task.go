package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
)

// taskOf reads what to run out of Mesos' description of a task.
func taskOf(info mesos.TaskInfo) (coordinator.Task, error) {
	var task coordinator.Task
	if err := json.Unmarshal(info.Data, &task); err != nil {
		return task, fmt.Errorf("read data of task %q: %w", info.TaskID.Value, err)
	}
	if task.ID() != info.TaskID.Value {
		return task, fmt.Errorf("task %q carries the data of task %q: its scheduler is broken", info.TaskID.Value, task.ID())
	}
	return task, checkTask(task)
}

// checkTask reports everything without which a node cannot be started.
func checkTask(t coordinator.Task) error {
	errs := []error{coordinator.CheckFramework(t.Framework)}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(t.Node >= 1, "node %d: IDs begin at 1", t.Node)
	check(t.Epoch >= 1, "epoch %d: launches are counted from 1", t.Epoch)
	check(t.Place.Host != "", "no address of the agent is given")
	check(isPort(t.Place.HTTPPort) && isPort(t.Place.TransportPort), "ports %d and %d: give two of 1 to 65535", t.Place.HTTPPort, t.Place.TransportPort)
	check(t.MemoryMB > 0, "memory of %d MB: give more than 0", t.MemoryMB)
	s := t.Settings
	check(s.Image != "", "no image of Elasticsearch is given")
	check(s.Driver != "", "no volume driver is given")
	check(isPlace(s.ConfigPath) && isPlace(s.DataPath) && s.ConfigPath != s.DataPath,
		"volume paths %q and %q: give two different absolute paths, neither of them /", s.ConfigPath, s.DataPath)
	check(s.StopSeconds >= 0, "stop time of %d s: give 0 or more", s.StopSeconds)
	return errors.Join(errs...)
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

func isPlace(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }

// oneLine makes several errors fit into a message.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
