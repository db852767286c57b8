// Package durable writes small files so that a crash or a power cut leaves either the old content or
// the new one, never a part. The store, the leases and the state of the host are all written with it.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Write replaces the content of path, which need not exist. Its mode is 0600.
func Write(path string, data []byte) error {
	temporary, err := writeTemporary(path, data)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(path))
}

// Create makes path with its whole content, or fails with fs.ErrExist and leaves the existing file
// alone. Of several hosts calling it on a shared file system exactly one succeeds: link(2) is
// exclusive on every file system that has it, NFS included.
func Create(path string, data []byte) error {
	temporary, err := writeTemporary(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	if err := os.Link(temporary, path); err != nil && !linked(err, temporary) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// linked tells whether a link that answered "exists" is in fact ours: an NFS client that repeats a
// lost request gets that answer although its first attempt succeeded.
func linked(err error, temporary string) bool {
	if !errors.Is(err, fs.ErrExist) {
		return false
	}
	var stat unix.Stat_t
	return unix.Stat(temporary, &stat) == nil && stat.Nlink > 1
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

// writeTemporary writes data to a hidden file beside path, on disk when it returns.
func writeTemporary(path string, data []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}
