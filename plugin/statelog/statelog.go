// Package statelog keeps a small map on disk: what this host must still know after a crash. Every
// change is on disk before it is reported, and callers that change it at the same time share one
// fdatasync. The file is JSON lines: a header, then one line for each group of changes, so that a
// group cut short by a power failure is one bad last line and nothing else.
package statelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
)

// version of the file's format. A newer one is refused: its meaning is not known here.
const version = 1

// room is how many bytes of zeros are written ahead of the lines. A line that overwrites zeros changes
// nothing but data, so that syncing it does not wait for the file system's journal, in which everybody's
// changes stand.
const room = 256 << 10

// compactAt is the size in bytes from which a log is rewritten, when less than a quarter of it is alive.
const compactAt = 4 << 20

type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// change sets a key, or deletes it when it has no value.
type change struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
}

// batch is a group of changes written and synced together.
type batch struct {
	changes []change
	done    chan struct{} // closed when err is final
	err     error
}

// Log is the open state log. Its methods may be called concurrently.
type Log struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64 // length of the good batches
	end     int64 // length of the file, zeros included
	entries map[string]json.RawMessage
	pending *batch // collects changes until the next write
	writing bool   // somebody is writing batches
	crowd   int    // how many callers shared the previous batch
	broken  error  // set when the file's content is no longer known
}

// Open reads the log at path, making it when it does not exist, and rewrites it without what is
// superseded. An unreadable or newer file is an error that says what to do; it is left as it is.
func Open(path string) (*Log, error) {
	entries, err := read(path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path, entries: entries, pending: newBatch()}
	if err := l.compact(); err != nil {
		return nil, fmt.Errorf("write state log %s: %w", path, err)
	}
	return l, nil
}

// Entries returns a copy of the map.
func (l *Log) Entries() map[string]json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries)
}

// Put sets a key; it returns when the change is on disk. On error nothing has changed.
func (l *Log) Put(key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode state of %s: %w", key, err)
	}
	return l.commit(change{Key: key, Value: data})
}

// Delete removes a key; it returns when the change is on disk. On error nothing has changed.
func (l *Log) Delete(key string) error {
	return l.commit(change{Key: key})
}

// Close ends the log. Changes after it fail.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		_ = l.file.Truncate(l.size) // tidy for a reader; the zeros are harmless
	}
	l.broken = fs.ErrClosed
	return l.file.Close()
}

// commit adds a change to the pending batch and waits until it is written. The caller that finds
// nobody writing writes, its own batch first and then what others added in the meantime.
func (l *Log) commit(c change) error {
	l.mu.Lock()
	mine := l.pending
	mine.changes = append(mine.changes, c)
	if l.writing {
		l.mu.Unlock()
		<-mine.done
		return mine.err
	}
	l.writing = true
	l.gatherLocked()
	for len(l.pending.changes) > 0 {
		l.writeLocked()
	}
	l.writing = false
	l.mu.Unlock()
	return mine.err
}

// gatherLocked lets the callers that shared the previous batch join this one too: those that were
// answered together come back together, and without this the first of them would sync alone.
func (l *Log) gatherLocked() {
	for range l.crowd {
		if len(l.pending.changes) >= l.crowd {
			return
		}
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
}

// writeLocked writes the pending batch; the lock is free during the disk's work.
func (l *Log) writeLocked() {
	b := l.pending
	l.pending = newBatch()
	l.crowd = len(b.changes)
	if b.err = l.broken; b.err == nil {
		b.err = l.appendLocked(b.changes)
	}
	if b.err == nil {
		apply(l.entries, b.changes)
		l.shrinkLocked()
	}
	close(b.done)
}

// appendLocked puts one line after the last. After a failed write the file is cut back to its last good
// length; after a failed sync its content is unknown, and only a new start can tell.
func (l *Log) appendLocked(changes []change) error {
	line, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	file, start, end := l.file, l.size, l.end
	l.mu.Unlock()
	end, writeErr := writeAhead(file, line, start, end)
	var syncErr error
	if writeErr == nil {
		syncErr = unix.Fdatasync(int(file.Fd()))
	}
	l.mu.Lock()
	switch {
	case writeErr != nil:
		l.broken, l.end = file.Truncate(start), start
		return fmt.Errorf("write state log %s: %w", l.path, writeErr)
	case syncErr != nil:
		l.broken = fmt.Errorf("sync state log %s: %w; check its disk and restart the plugin", l.path, syncErr)
		return l.broken
	}
	l.size, l.end = start+int64(len(line)), end
	return nil
}

// writeAhead writes a line into the zeros that start leaves up to end, or at the end with new zeros after
// it. It returns where the file ends then. On a full disk there are no zeros, but perhaps still the line.
func writeAhead(file *os.File, line []byte, start, end int64) (int64, error) {
	after := start + int64(len(line))
	if after <= end {
		_, err := file.WriteAt(line, start)
		return end, err
	}
	if _, err := file.WriteAt(append(line, make([]byte, room)...), start); err == nil {
		return after + room, nil
	}
	if err := file.Truncate(start); err != nil {
		return start, err
	}
	_, err := file.WriteAt(line, start)
	return after, err
}

// shrinkLocked rewrites a log that is mostly superseded lines. When that fails the long log stays in
// use; it is as good, and the next change tries again.
func (l *Log) shrinkLocked() {
	if l.size >= compactAt && l.size >= 4*int64(len(encode(l.entries))) {
		_ = l.compact()
	}
}

// compact replaces the file by one that holds just the entries.
func (l *Log) compact() error {
	content := encode(l.entries)
	if err := durable.Write(l.path, content); err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		l.broken = fmt.Errorf("open rewritten state log: %w; restart the plugin", err)
		return l.broken
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.size = file, int64(len(content))
	l.end = l.size
	return nil
}

// encode is the content of a fresh log.
func encode(entries map[string]json.RawMessage) []byte {
	changes := make([]change, 0, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		changes = append(changes, change{Key: key, Value: entries[key]})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.Encode(header{Format: "mooring-state", Version: version})
	for _, c := range changes {
		enc.Encode([]change{c})
	}
	return out.Bytes()
}

func apply(entries map[string]json.RawMessage, changes []change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(entries, c.Key)
		} else {
			entries[c.Key] = c.Value
		}
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// read returns the entries of the file at path, none when there is no file.
func read(path string) (map[string]json.RawMessage, error) {
	entries := map[string]json.RawMessage{}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return entries, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state log: %w", err)
	}
	content = bytes.TrimSuffix(bytes.TrimRight(content, "\x00"), []byte("\n"))
	lines := bytes.Split(content, []byte("\n"))
	if err := checkHeader(path, lines[0]); err != nil {
		return nil, err
	}
	for i, line := range lines[1:] {
		var changes []change
		err := json.Unmarshal(bytes.Trim(line, "\x00"), &changes)
		if err == nil {
			apply(entries, changes)
			continue
		}
		if i+2 == len(lines) {
			break // the last batch was cut short: it was never reported
		}
		return nil, fmt.Errorf("state log %s, line %d is unreadable (%w): repair that line or, if no volume is in use, move %s away",
			path, i+2, err, filepath.Dir(path))
	}
	return entries, nil
}

func checkHeader(path string, line []byte) error {
	var h header
	if err := json.Unmarshal(line, &h); err != nil || h.Format != "mooring-state" {
		return fmt.Errorf("%s is not a state log of mooring: restore it or, if no volume is in use, move %s away",
			path, filepath.Dir(path))
	}
	if h.Version != version {
		return fmt.Errorf("state log %s has version %d, this plugin knows version %d: run the newer plugin that wrote it",
			path, h.Version, version)
	}
	return nil
}
