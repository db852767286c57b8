package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mooring/plugin/durable"
)

// Census is what lies in a store beside the volumes' data.
type Census struct {
	Volumes []string // names of volumes with a directory
	Strays  []string // paths that belong to nobody
	Drafts  []Draft
	Beats   map[string]time.Time // when each host wrote its last heartbeat, by the store's clock
	Trash   int                  // removed volumes that should be deleted
}

// Draft is a temporary file.
type Draft struct {
	Path    string
	Written time.Time // by the store's clock
}

// Part is what a file in a volume's directory is.
type Part int

const (
	Stray Part = iota // nobody's
	Own               // the volume's, a lease or the back end's
	Half              // a temporary file of the back end's
)

// Count looks through the store, not into the volumes' data. Name tells which volumes may be called so, part
// what a file in a volume's directory is.
func (s *Store) Count(name func(string) bool, part func(string) Part) (Census, error) {
	c := Census{Beats: map[string]time.Time{}}
	err := c.files(s.root, ofRoot)
	err = errors.Join(err, c.files(s.removed(), func(string) Part { return Own }))
	err = errors.Join(err, c.hosts(s.hosts()))
	due, trashErr := s.due(time.Now())
	c.Trash = len(due)
	volumes, listErr := os.ReadDir(s.volumes())
	err = errors.Join(err, trashErr, listErr)
	for _, v := range volumes {
		if !v.IsDir() || !name(v.Name()) {
			c.Strays = append(c.Strays, s.Dir(v.Name()))
			continue
		}
		c.Volumes = append(c.Volumes, v.Name())
		err = errors.Join(err, c.files(s.Dir(v.Name()), part))
	}
	return c, err
}

// ofRoot is what a file directly in the store is.
func ofRoot(name string) Part {
	if slices.Contains([]string{"store.json", "volumes", "hosts", "removed", "trash"}, name) {
		return Own
	}
	return Stray
}

// files sorts the files of one directory. What vanishes meanwhile is no error.
func (c *Census) files(dir string, part func(string) Part) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	for _, e := range entries {
		what := part(e.Name())
		if of, draft := durable.Draft(e.Name()); draft && part(of) == Own {
			what = Half
		}
		path := filepath.Join(dir, e.Name())
		switch {
		case what == Half:
			if info, err := e.Info(); err == nil {
				c.Drafts = append(c.Drafts, Draft{Path: path, Written: info.ModTime()})
			}
		case what == Stray && !strings.HasPrefix(e.Name(), ".nfs"): // an NFS client's name for a deleted file in use
			c.Strays = append(c.Strays, path)
		}
	}
	return nil
}

// hosts notes the heartbeats.
func (c *Census) hosts(dir string) error {
	hosts, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		info, err := os.Stat(filepath.Join(dir, host.Name(), "heartbeat"))
		switch {
		case err == nil:
			c.Beats[host.Name()] = info.ModTime()
		case !host.IsDir():
			c.Strays = append(c.Strays, filepath.Join(dir, host.Name()))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}
