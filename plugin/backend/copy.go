package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoReflinks says that the store cannot copy an image in a moment.
var ErrNoReflinks = errors.New("the store cannot share blocks between files (xfs, btrfs and NFS 4.2 on top of them can)")

// Copying is how an image is copied.
type Copying struct {
	// Whole copies all data, on any store; else the copy shares its blocks with the original, or fails with ErrNoReflinks.
	Whole bool
	// Progress is told how far a whole copy is; it may be nil.
	Progress func(done, total int64)
	// Confirm is asked before the copy gets its name: whether nobody else can have written the original meanwhile.
	Confirm func() error
}

// copy makes dst what src is.
func (c Copying) copy(ctx context.Context, dst, src *os.File) error {
	if c.Whole {
		return copySparse(ctx, dst, src, c.Progress)
	}
	err := reflink(dst, src)
	if noReflinks(err) {
		return ErrNoReflinks
	}
	return err
}

// copyStep is how much is copied between two looks at whether the caller still wants it.
const copyStep = 16 << 20

// copySparse copies data and leaves holes out.
func copySparse(ctx context.Context, dst, src *os.File, progress func(done, total int64)) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &stat); err != nil {
		return err
	}
	if err := dst.Truncate(stat.Size); err != nil {
		return err
	}
	const sector = 512 // of st_blocks
	total := stat.Blocks * sector
	var at, done int64
	for {
		start, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			if progress != nil {
				progress(total, total)
			}
			return nil // only a hole is left
		}
		if err != nil {
			return fmt.Errorf("look for data in %s: %w", src.Name(), err)
		}
		end, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("look for holes in %s: %w", src.Name(), err)
		}
		for at = start; at < end; {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("copy %s: stopped: %w", src.Name(), err)
			}
			n, err := io.Copy(io.NewOffsetWriter(dst, at), io.NewSectionReader(src, at, min(copyStep, end-at)))
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("%s became shorter while it was copied", src.Name())
			}
			at, done = at+n, done+n
			if progress != nil {
				progress(min(done, total), total)
			}
		}
	}
}
