package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mooring/plugin/durable"
)

// Renew makes the image of an epoch, a copy of the volume's present one as it is in this moment, and tells whether the store
// can: the two share their blocks, so that it takes neither long nor space. A host that still has the present one open, and
// writes to it when it wakes, does not write to the copy. What was acknowledged before is in the copy; a file system that was
// in use is repaired when it is mounted, as after a power cut. The caller has the volume's lease of that epoch, so nobody
// else makes this image: one that is there was made by an earlier call.
func (i Image) Renew(_ context.Context, v Spec, epoch uint64) (bool, error) {
	if epoch <= v.Image {
		return false, fmt.Errorf("%s cannot become %s: an image is renewed under a later epoch", v.image(), ImageName(epoch))
	}
	path := imageFile(v.Dir, epoch)
	_, err := os.Lstat(path)
	if err == nil { // perhaps not for good yet
		return true, durable.SyncDir(v.Dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := removeDrafts(v.Dir); err != nil {
		return false, err
	}
	r, err := readRecord(v.Dir)
	if err != nil {
		return false, err
	}
	present, _, err := r.open(v.image()) // a wrong image must not become the right one by its new name
	if err != nil {
		return false, err
	}
	defer present.Close()
	able := true
	err = makeImage(path, func(draft *os.File) error {
		err := reflink(draft, present)
		able = !noReflinks(err)
		return err
	})
	if !able {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("copy %s to %s: %w", v.image(), path, err)
	}
	return true, nil
}

// removeOlder removes the images that a mounted one has taken the place of. Later ones are another host's, which has taken
// the volume from this one. What cannot be removed uses space until the next mount.
func (i Image) removeOlder(v Spec) {
	entries, err := os.ReadDir(v.Dir)
	for _, e := range entries {
		if epoch, is := imageEpoch(e.Name()); is && epoch < v.Image {
			removed := os.Remove(filepath.Join(v.Dir, e.Name()))
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
