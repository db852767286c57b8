package backend

import (
	"errors"
	"fmt"
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

// Reflinks tells whether files in a volume's directory can share their blocks (btrfs, xfs, NFS 4.2 on top of these). It
// tries, with two small files that leave nothing behind.
func Reflinks(dir string) (bool, error) {
	src, err := nameless(dir)
	if err != nil {
		return false, fmt.Errorf("try to share blocks: %w", err)
	}
	defer src.Close()
	dst, err := nameless(dir)
	if err != nil {
		return false, fmt.Errorf("try to share blocks: %w", err)
	}
	defer dst.Close()
	if _, err := src.Write(make([]byte, ext4Block)); err != nil { // an empty file could be cloned by anybody
		return false, fmt.Errorf("try to share blocks: %w", err)
	}
	err = reflink(dst, src)
	if noReflinks(err) {
		return false, nil
	}
	return err == nil, err
}

// nameless is a new file that goes with its descriptor. Until then it is named as a draft, because NFS has no files without
// a name from the beginning.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, draftPrefix+"*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
