package backend

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mooring/plugin/durable"
)

// ImageName is the file name of the image that was made under a lease's epoch; 0 is the first one.
func ImageName(epoch uint64) string {
	if epoch == 0 {
		return imagePrefix
	}
	return imagePrefix + "." + strconv.FormatUint(epoch, 10)
}

const imagePrefix = "image"

// imageEpoch is the epoch in the file name of an image.
func imageEpoch(name string) (epoch uint64, is bool) {
	if name == imagePrefix {
		return 0, true
	}
	epoch, err := strconv.ParseUint(strings.TrimPrefix(name, imagePrefix+"."), 10, 64)
	return epoch, err == nil && epoch > 0 && name == ImageName(epoch)
}

func imageFile(dir string, epoch uint64) string { return filepath.Join(dir, ImageName(epoch)) }

// Owns tells whether a file in a volume's directory is a back end's, and whether it is one that was not finished.
func Owns(name string) (own, half bool) {
	if strings.HasPrefix(name, draftPrefix) {
		return true, true
	}
	_, image := imageEpoch(name)
	return image || name == "data" || name == "image.json" || name == snapshotsDir, false
}

// Missing names the files that a used volume must have in its directory and has not. Image is what the volume's lease says.
func Missing(dir, kind string, image uint64) ([]string, error) {
	wanted := []string{filepath.Join(dir, "data")}
	if kind == KindImage {
		wanted = []string{imageFile(dir, image), recordFile(dir)}
	}
	var missing []string
	for _, path := range wanted {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, path)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// FirstImage makes the image of an epoch the first one, for a volume that begins a new life without a lease. Done twice it
// succeeds twice.
func FirstImage(dir string, epoch uint64) error {
	if epoch == 0 {
		return nil
	}
	err := durable.Rename(imageFile(dir, epoch), imageFile(dir, 0))
	if _, missing := os.Lstat(imageFile(dir, 0)); errors.Is(err, fs.ErrNotExist) && missing == nil {
		err = nil // an earlier call did it
	}
	if err != nil {
		return err
	}
	r, err := readRecord(dir)
	if err != nil {
		return err
	}
	return r.follow(Spec{Dir: dir})
}
