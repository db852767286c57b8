// Package rundir is the only thing that an executor and the node it started share: a directory of small JSON files, each with
// one writer. Files are replaced by rename, so a reader sees an old or a new one, never half of one. They matter only while
// the processes run, hence nothing is synced to disk.
package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mooring/coordinator"
)

// The files.
const (
	taskFile   = "task.json"   // executor: what to run
	aliveFile  = "alive.json"  // executor: a counter that grows while it lives
	seedsFile  = "seeds.json"  // executor: where the other nodes are now
	joinedFile = "joined.json" // executor: the cluster that the node has joined
	statusFile = "status.json" // node: how it is
)

// Phase is how far a node has come.
type Phase string

// The phases of a node.
const (
	Checking Phase = "checking" // volumes are looked at; Elasticsearch does not run
	Refused  Phase = "refused"  // Elasticsearch was not started
	Started  Phase = "started"
	Stopping Phase = "stopping" // Elasticsearch was asked to end
	Ended    Phase = "ended"
)

// Status is what a node says of itself.
type Status struct {
	Phase Phase             `json:"phase"`
	Text  string            `json:"text,omitempty"` // why, in words
	Fault coordinator.Fault `json:"fault,omitempty"`
	Code  int               `json:"code,omitempty"` // with Ended: exit code of Elasticsearch, 128 + signal if one ended it

	Marked string `json:"marked,omitempty"` // UUID of the cluster that both volumes are marked with in this life
}

// Joined is the cluster that a node has joined in this life.
type Joined struct {
	Cluster string `json:"cluster"` // UUID
	Version string `json:"version"` // of the Elasticsearch that joined
}

// Dir is the path of a run directory.
type Dir string

// SetTask says what to run.
func (d Dir) SetTask(task coordinator.Task) error { return d.write(taskFile, task) }

// Task reads what is to run.
func (d Dir) Task() (coordinator.Task, error) {
	var task coordinator.Task
	ok, err := d.read(taskFile, &task)
	if err == nil && !ok {
		err = fmt.Errorf("no %s in %s: start a node through its executor", taskFile, d)
	}
	return task, err
}

// Beat tells the node that its executor lives. A higher count than before is needed, not a certain one.
func (d Dir) Beat(count uint64) error { return d.write(aliveFile, count) }

// LastBeat is the latest count; 0 without any.
func (d Dir) LastBeat() (uint64, error) {
	var count uint64
	_, err := d.read(aliveFile, &count)
	return count, err
}

// SetSeeds hands the transport addresses of the other nodes over.
func (d Dir) SetSeeds(seeds []string) error { return d.write(seedsFile, seeds) }

// Seeds are the latest seeds; ok is false while the task's own are still the latest.
func (d Dir) Seeds() (seeds []string, ok bool, err error) {
	ok, err = d.read(seedsFile, &seeds)
	return seeds, ok, err
}

// SetJoined tells the node which cluster it was seen in.
func (d Dir) SetJoined(joined Joined) error { return d.write(joinedFile, joined) }

// Joined is the cluster that the node was seen in; ok is false before.
func (d Dir) Joined() (joined Joined, ok bool, err error) {
	ok, err = d.read(joinedFile, &joined)
	return joined, ok, err
}

// SetStatus replaces the node's status.
func (d Dir) SetStatus(status Status) error { return d.write(statusFile, status) }

// Status is the node's latest status; ok is false if it never wrote one.
func (d Dir) Status() (status Status, ok bool, err error) {
	ok, err = d.read(statusFile, &status)
	return status, ok, err
}

// write makes the directory if it is the first to write there.
func (d Dir) write(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	path := filepath.Join(string(d), name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (d Dir) read(name string, content any) (ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(text, content); err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}
