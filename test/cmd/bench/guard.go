package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mooring/test/cell"
)

// guardTime is how long the guard is watched. The kernel counts processor time in steps of 10 ms.
const guardTime = time.Minute

// guardFigures measures the guard of a host while a container has a volume.
func guardFigures(ctx context.Context, h *cell.Host) ([]Figure, error) {
	if _, err := h.Docker(ctx, "run", "--detach", "--name", "guarded", "--network", "none", "--entrypoint", "sleep",
		"--mount", "type=volume,volume-driver="+cell.PluginName+",source=guardeddata,target=/data", elasticsearch, "infinity"); err != nil {
		return nil, err
	}
	pid, err := guardPID(h.Name)
	if err != nil {
		return nil, err
	}
	before, err := processorTime(pid)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(guardTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := processorTime(pid)
	if err != nil {
		return nil, err
	}
	share := (after - before).Seconds() / guardTime.Seconds() * 100
	all, own, err := memory(pid)
	if err != nil {
		return nil, err
	}
	_, err = h.Docker(ctx, "rm", "--force", "guarded")
	return []Figure{
		{Name: "guard: processor", Value: share, Unit: "%", Aim: "<= 0.2", Met: share <= 0.2},
		{Name: "guard: memory, its share of the binary included", Value: all, Unit: "MB", Aim: "<= 15", Met: all <= 15},
		{Name: "guard: memory that is its own", Value: own, Unit: "MB", Met: true},
	}, err
}

// guardPID finds the guard of a host by the control group that it made for itself.
func guardPID(host string) (int, error) {
	groups, err := filepath.Glob("/sys/fs/cgroup/*/mooring-guard-" + host + "/cgroup.procs")
	if err != nil || len(groups) == 0 {
		return 0, fmt.Errorf("no guard of %s has a control group: %w", host, err)
	}
	content, err := os.ReadFile(groups[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}

// processorTime is what a process has used, from /proc/PID/stat (see proc(5)): fields 14 and 15, in hundredths of a second.
func processorTime(pid int) (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:]) // from field 3 on; the name may have blanks
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is what a process has in memory, and how much of that no other process and no file shares, in MB.
func memory(pid int) (all, own float64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch name {
		case "VmRSS":
			all = kib / 1024
		case "RssAnon":
			own = kib / 1024
		}
	}
	return all, own, nil
}
