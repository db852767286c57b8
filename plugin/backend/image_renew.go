package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Renew makes the image of an epoch, a copy of the volume's present one as it is in this moment, and tells whether the store
// can: the two share their blocks, so that it takes neither long nor space. A host that still has the present one open, and
// writes to it when it wakes, does not write to the copy. What was acknowledged before is in the copy; a file system that was
// in use is repaired when it is mounted, as after a power cut. An epoch is good for one try: what has its name already is not
// trusted, and not touched.
func (i Image) Renew(ctx context.Context, v Spec, epoch uint64) (bool, error) {
	if epoch <= v.Image {
		return false, fmt.Errorf("%s cannot become %s: an image is renewed under a later epoch", v.image(), ImageName(epoch))
	}
	path := imageFile(v.Dir, epoch)
	if err := removeDrafts(v.Dir); err != nil {
		return false, err
	}
	r, err := readRecordFor(v)
	if err != nil {
		return false, err
	}
	present, _, err := r.open(v.image()) // a wrong image must not become the right one by its new name
	if err != nil {
		return false, err
	}
	defer present.Close()
	err = makeImage(path, func(draft *os.File) error { return Copying{}.copy(ctx, draft, present) })
	if errors.Is(err, ErrNoReflinks) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("copy %s to %s: %w", v.image(), path, err)
	}
	return true, nil
}

// removeOlder removes the images that a mounted one has taken the place of. Later ones are another host's, which has taken
// the volume from this one. The directory was opened before the image was: if this host is so late that the volume has been
// removed and made again, the images of the new one are not touched. What cannot be removed uses space until the next mount.
func (i Image) removeOlder(dir *os.Root, v Spec) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries {
		if epoch, is := imageEpoch(e.Name()); is && epoch < v.Image {
			removed := dir.Remove(e.Name())
			if errors.Is(removed, fs.ErrNotExist) {
				continue
			}
			err = errors.Join(err, removed)
		}
	}
	if err != nil {
		i.log().Warn("older images not removed", "volume", filepath.Base(v.Dir), "error", err)
	}
}
