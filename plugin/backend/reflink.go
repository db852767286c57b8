package backend

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reflink gives dst, which is open for writing and empty, all the content of src without copying it: both share their blocks
// until one of them is written. It is one step, as if src had been read in one moment. Errors that noReflinks knows say that
// the file system can't.
func reflink(dst, src *os.File) error {
	if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err != nil {
		return &os.PathError{Op: "share the blocks of", Path: src.Name(), Err: err}
	}
	return nil
}

// noReflinks tells whether an error of reflink means that these files can never share blocks. EINVAL is that of xfs made
// without reflinks and of NFS servers whose own file system has none.
func noReflinks(err error) bool {
	for _, known := range []error{unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EINVAL, unix.EXDEV} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
