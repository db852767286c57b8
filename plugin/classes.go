package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"mooring/plugin/class"
)

const (
	// classesKey is the state log's, of the text of the classes file in force.
	classesKey = "classes"
	// classesLimit is far beyond any classes file.
	classesLimit = 1 << 20
)

// classes are the settings in force for new volumes: those of the classes file, then the built-in ones. A file with mistakes,
// or one that has gone, changes nothing: the classes from before stay in force, also over a restart, since their text is in the
// state log.
type classes struct {
	path   string // of the classes file; "" if there is none
	others []class.Class
	looked chan struct{} // closed when the file was looked at for the first time

	text string // of the file that is in force; "" is no file
	last string // seen at the last look

	mu      sync.RWMutex
	inForce []class.Class // nil while it is not known which
	problem error         // why the file is not in force
}

// newClasses begins with what was in force before, by the state log.
func newClasses(path string, others []class.Class, entries map[string]json.RawMessage) (*classes, error) {
	c := &classes{path: path, others: others, looked: make(chan struct{})}
	if path == "" {
		c.inForce = others
		close(c.looked)
		return c, nil
	}
	data, known := entries[classesKey]
	if !known {
		return c, nil
	}
	if err := json.Unmarshal(data, &c.text); err != nil {
		return nil, fmt.Errorf("classes in the state log are unreadable: remove their line from state.log: %w", err)
	}
	if file, err := class.Parse([]byte(c.text)); err == nil { // else from a plugin of another version
		c.inForce = class.Before(file, others)
	}
	return c, nil
}

// now are the classes for a new volume. It waits for the first look at the file.
func (c *classes) now(ctx context.Context) ([]class.Class, error) {
	select {
	case <-c.looked:
	case <-ctx.Done():
		return nil, fmt.Errorf("classes file %s was not read: %w", c.path, context.Cause(ctx))
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.inForce == nil {
		return nil, fmt.Errorf("no volume is made before its class is known: %w", c.problem)
	}
	return c.inForce, nil
}

// trouble says why the file is not in force, "" if it is.
func (c *classes) trouble() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return textOf(c.problem)
}

// look reads the file, in one goroutine. A change counts when two looks have shown the same: an editor may be at work.
func (c *classes) look(remember func(text string) error) (changed bool, err error) {
	text, err := c.read()
	seen := text + textOf(err)
	settled := c.first() || seen == c.last
	if c.last = seen; !settled {
		return false, c.problem
	}
	known := c.inForce != nil && text == c.text
	var file []class.Class
	if err == nil && !known {
		if file, err = class.Parse([]byte(text)); err != nil {
			err = fmt.Errorf("classes file %s is refused: %w", c.path, err)
		} else if err = remember(text); err != nil {
			err = fmt.Errorf("classes file %s is not taken up: %w", c.path, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if changed = err == nil && !known; changed {
		c.inForce, c.text = class.Before(file, c.others), text
	}
	if c.problem = err; err != nil && c.inForce != nil {
		c.problem = fmt.Errorf("the classes from before stay in force: %w", err)
	}
	if c.first() {
		close(c.looked)
	}
	return changed, c.problem
}

// first tells whether the file was not looked at yet.
func (c *classes) first() bool {
	select {
	case <-c.looked:
		return false
	default:
		return true
	}
}

// read returns the file's text, "" if there is none and never was.
func (c *classes) read() (string, error) {
	info, err := os.Stat(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.text == "":
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("classes file %s is gone: put it back, or an empty file in its place to go over to the built-in classes", c.path)
	case err != nil:
		return "", fmt.Errorf("look for classes file: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("classes file %s is not a regular file", c.path)
	case info.Size() > classesLimit:
		return "", fmt.Errorf("classes file %s is larger than %d bytes", c.path, classesLimit)
	}
	text, err := os.ReadFile(c.path)
	if err != nil {
		return "", fmt.Errorf("read classes file: %w", err)
	}
	return string(text), nil
}

// lookAtClasses reads the classes file and tells what came of it.
func (d *Driver) lookAtClasses(context.Context) {
	before := d.classes.trouble()
	changed, err := d.classes.look(func(text string) error { return d.state.Put(classesKey, text) })
	switch {
	case err != nil && textOf(err) != before:
		d.log.Error("classes file not in force", "error", err)
	case changed && d.classes.text == "":
		d.log.Info("built-in classes in force")
	case changed:
		d.log.Info("classes file in force", "file", d.classes.path)
	}
}
