package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// remedied is an error with what to do about it.
type remedied struct {
	error
	remedy string
}

func (r remedied) Error() string { return r.error.Error() + ": " + r.remedy }
func (r remedied) Unwrap() error { return r.error }

// remedies are what to do about what a kernel says of storage.
func remedies() map[unix.Errno]string {
	const (
		full     = "free space and inodes there (df, df -i), or make it larger"
		readOnly = "mount it read-write; after an error of the storage the kernel makes it read-only by itself, see dmesg"
	)
	return map[unix.Errno]string{
		unix.ENOSPC:  full,
		unix.EDQUOT:  full,
		unix.EROFS:   readOnly,
		unix.EACCES:  "let root of this host write there; an NFS export needs no_root_squash",
		unix.ENOTDIR: "set store.source to a directory",
		unix.ESTALE:  "the server has another file system there now; unmount it on this host and mount it again",
		unix.EIO:     "the storage or its server fails, see dmesg",
	}
}

// Explain adds to an error about storage what can be done about it, once.
func Explain(err error) error {
	if _, done := errors.AsType[remedied](err); err == nil || done {
		return err
	}
	errno, known := errors.AsType[unix.Errno](err)
	if remedy := remedies()[errno]; known && remedy != "" {
		return remedied{error: err, remedy: remedy}
	}
	return err
}
