package backend

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Owns tells whether a file in a volume's directory is a back end's, and whether it is one that was not finished.
func Owns(name string) (own, half bool) {
	if strings.HasPrefix(name, draftPrefix) {
		return true, true
	}
	return name == "data" || name == "image" || name == "image.json", false
}

// Missing names the files that a used volume must have in its directory and has not.
func Missing(dir, kind string) ([]string, error) {
	wanted := []string{filepath.Join(dir, "data")}
	if kind == KindImage {
		wanted = []string{imageFile(dir), recordFile(dir)}
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
