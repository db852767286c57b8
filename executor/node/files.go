package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"mooring/elasticsearch"
)

const (
	configDir = "elasticsearch" // in the config volume: ES_PATH_CONF
	dataDir   = "elasticsearch" // in the data volume: path.data
	logsDir   = "logs"          // in the data volume: path.logs

	// copyHeader marks a file that follows the image, so that an upgrade brings its new defaults.
	copyHeader = "# copied from the image by mooring at every start: remove this line to keep your own version\n"

	// foundSuffix is added to the name of a file that stood where a generated one belongs.
	foundSuffix = ".found"
)

// owner is who Elasticsearch runs as and who its files belong to.
type owner struct{ uid, gid int }

// give hands a directory and all in it over. A tree whose top is right already is left alone: it is Elasticsearch's own by
// then, and may be large. The top comes last, so that a tree given halfway is given again.
func (o owner) give(dir string) error {
	if o.has(dir) {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, o.uid, o.gid)
	})
	if err == nil {
		err = os.Lchown(dir, o.uid, o.gid)
	}
	if err != nil {
		return fmt.Errorf("give %s to user %d: %w", dir, o.uid, err)
	}
	return nil
}

// giveTop hands over one file or directory.
func (o owner) giveTop(path string) error {
	if o.has(path) {
		return nil
	}
	if err := os.Lchown(path, o.uid, o.gid); err != nil {
		return fmt.Errorf("give %s to user %d: %w", path, o.uid, err)
	}
	return nil
}

func (o owner) has(path string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false // and the change of owner that follows says why
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == o.uid && int(stat.Gid) == o.gid
}

// makeDirs makes directories and hands them over with all that is in them.
func (o owner) makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o770); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := o.give(dir); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file by rename, for readers who look while it is written. It is synced before it has its name: after a loss
// of power an empty file would be taken for a user's own.
func (o owner) write(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o770); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := o.giveTop(dir); err != nil {
		return err
	}
	if err := writeSynced(path+".new", text, 0o660); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := o.giveTop(path + ".new"); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeGenerated writes a file that Mooring owns. What somebody else put in its place is kept beside it.
func (o owner) writeGenerated(path string, text []byte) (found bool, err error) {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("read %s: %w", path, err)
	case !bytes.HasPrefix(old, []byte(elasticsearch.Header)):
		if err := os.Rename(path, path+foundSuffix); err != nil {
			return false, fmt.Errorf("keep %s: %w", path, err)
		}
		found = true
	}
	return found, o.write(path, text)
}

// dropEmpty removes a file that a loss of power left empty.
func dropEmpty(path string) (dropped bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", path, err)
	case info.Size() > 0:
		return false, nil
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("remove empty %s: %w", path, err)
	}
	return true, nil
}

// copyDefaults brings the image's own configuration files. Text that nobody changed is brought anew each time; a user's
// version, and files in which Elasticsearch's tools keep something (keystore, users), are brought only if they are missing.
func (o owner) copyDefaults(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read the image's configuration: %w", err)
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == elasticsearch.SettingsFile || !entry.Type().IsRegular() {
			return err
		}
		return o.copyDefault(path, filepath.Join(to, name))
	})
}

func (o owner) copyDefault(from, to string) error {
	refreshed := slices.Contains([]string{".properties", ".options", ".yml"}, filepath.Ext(from))
	old, err := os.ReadFile(to)
	switch {
	case err == nil && !(refreshed && bytes.HasPrefix(old, []byte(copyHeader))):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", to, err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read the image's configuration: %w", err)
	}
	if refreshed {
		text = append([]byte(copyHeader), text...)
	}
	return o.write(to, text)
}
