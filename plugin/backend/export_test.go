package backend

import (
	"errors"
	"fmt"
	"os"
)

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
