// Package durable writes small files so that a crash or a power cut leaves either the old content or
// the new one, never a part. The store, the leases and the state of the host are all written with it.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Write replaces the content of path, which need not exist. Its mode is 0600.
func Write(path string, data []byte) error { return at(path, data, WriteIn) }

// Create makes path with its whole content, or fails with fs.ErrExist and leaves the existing file
// alone. Of several hosts calling it on a shared file system exactly one succeeds: link(2) is
// exclusive on every file system that has it, NFS included.
func Create(path string, data []byte) error { return at(path, data, CreateIn) }

// Copy replaces the content and the mode of path, which need not exist, by those of another file's content and a mode. Who has the
// old file open, or runs it, goes on with it.
func Copy(path, from string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return at(path, nil, func(dir *os.Root, name string, _ []byte) error {
		return replace(dir, name, func(f *os.File) error {
			_, err := io.Copy(f, source)
			return errors.Join(err, f.Chmod(mode))
		})
	})
}

func at(path string, data []byte, do func(dir *os.Root, name string, data []byte) error) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(dir, filepath.Base(path), data)
}

// WriteIn is Write in an open directory, wherever that has been moved meanwhile.
func WriteIn(dir *os.Root, name string, data []byte) error {
	return replace(dir, name, content(data))
}

func replace(dir *os.Root, name string, fill func(*os.File) error) error {
	temporary, err := writeTemporary(dir, name, fill)
	if err != nil {
		return err
	}
	if err := dir.Rename(temporary, name); err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	return syncRoot(dir)
}

// CreateIn is Create in an open directory, wherever that has been moved meanwhile.
func CreateIn(dir *os.Root, name string, data []byte) error {
	temporary, err := writeTemporary(dir, name, content(data))
	if err != nil {
		return err
	}
	defer dir.Remove(temporary)
	if err := dir.Link(temporary, name); err != nil && !linked(err, dir, temporary) {
		return err
	}
	return syncRoot(dir)
}

// linked tells whether a link that answered "exists" is in fact ours: an NFS client that repeats a
// lost request gets that answer although its first attempt succeeded.
func linked(err error, dir *os.Root, temporary string) bool {
	if !errors.Is(err, fs.ErrExist) {
		return false
	}
	info, err := dir.Stat(temporary)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink > 1
}

// Rename moves a file or directory to a new place of the same file system and makes the move last.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(SyncDir(filepath.Dir(to)), SyncDir(filepath.Dir(from)))
}

// SyncDir makes the entries of a directory last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

func syncRoot(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir.Name(), err)
	}
	return nil
}

// content fills a file with data.
func content(data []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(data)
		return err
	}
}

// writeTemporary fills a hidden file beside name, which is on disk when it returns.
func writeTemporary(dir *os.Root, name string, fill func(*os.File) error) (string, error) {
	f, err := createTemporary(dir, name)
	if err != nil {
		return "", err
	}
	temporary := filepath.Base(f.Name())
	err = errors.Join(fill(f), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", filepath.Join(dir.Name(), name), err), dir.Remove(temporary))
	}
	return temporary, nil
}

func createTemporary(dir *os.Root, name string) (*os.File, error) {
	for {
		f, err := dir.OpenFile(fmt.Sprintf(".%s.%d", name, rand.Uint32()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}
