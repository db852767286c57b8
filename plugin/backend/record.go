package backend

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mooring/plugin/durable"
)

// recordFormat of image.json; a newer one is refused.
const recordFormat = 1

// record is image.json: what the file beside it is. It is on disk before the image is, so that an image without a record,
// or with another UUID than its record's, was not made here and is never formatted.
type record struct {
	Format int    `json:"format"`
	FS     string `json:"fs"`
	UUID   string `json:"uuid"`
	Size   int64  `json:"size"`   // of the image, in bytes
	Fitted int64  `json:"fitted"` // the size that the file system was made or grown for, at most Size
	// Image is the latest image that was mounted, as in the volume's lease. Should that lease get lost, an older image must not
	// come back in its place.
	Image uint64 `json:"image,omitempty"`
}

func recordFile(dir string) string { return filepath.Join(dir, "image.json") }

// readRecord returns fs.ErrNotExist if there is none.
func readRecord(dir string) (record, error) {
	path := recordFile(dir)
	data, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	var r record
	err = json.Unmarshal(data, &r)
	switch {
	case err == nil && r.Format > recordFormat:
		return r, fmt.Errorf("%s has format %d, this plugin knows format %d: use the newer plugin on this host too", path, r.Format, recordFormat)
	case err != nil || r.Format != recordFormat || r.UUID == "" || r.Size <= 0 || filesystems()[r.FS] == nil:
		return r, fmt.Errorf("%s is unreadable: restore it before the volume can be used", path)
	}
	return r, nil
}

// readRecordFor is the record, if the image that the lease names may be used.
func readRecordFor(v Spec) (record, error) {
	r, err := readRecord(v.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("the volume's files are gone: %w", err)
	}
	if err != nil || v.Image >= r.Image {
		return r, err
	}
	_, err = os.Lstat(imageFile(v.Dir, r.Image))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // it was given the name that the lease knows: the volume began a new life
	}
	return r, errors.Join(err, fmt.Errorf("the volume's lease names %s, but %s was mounted since: that lease was lost, or this host is too late; "+
		"if no host uses the volume, rename %s to %s", v.image(), ImageName(r.Image), ImageName(r.Image), ImageName(v.Image)))
}

// follow notes the image that is about to be mounted.
func (r *record) follow(v Spec) error {
	if r.Image == v.Image {
		return nil
	}
	r.Image = v.Image
	return r.save(v.Dir)
}

// newRecord writes the record of an image that is to be made. If another host is faster, its record counts.
func newRecord(dir, fs string, size int64) (record, error) {
	var uuid [16]byte
	rand.Read(uuid[:])
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // version 4, RFC 9562
	r := record{Format: recordFormat, FS: fs, UUID: formatUUID(uuid[:]), Size: size, Fitted: size}
	data, err := r.encode()
	if err != nil {
		return r, err
	}
	if err := durable.Create(recordFile(dir), data); err != nil && !errors.Is(err, os.ErrExist) {
		return r, fmt.Errorf("write image.json: %w", err)
	}
	return readRecord(dir)
}

// save replaces the record.
func (r record) save(dir string) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	return durable.Write(recordFile(dir), data)
}

func (r record) encode() ([]byte, error) {
	data, err := json.Marshal(r)
	return append(data, '\n'), err
}

// open opens the image and makes sure that it is the one of the record, and whole. An image that a crash kept from growing
// to its recorded size grows now.
func (r record) open(path string) (*os.File, superblock, error) {
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, superblock{}, fmt.Errorf("the volume's image is gone: put %s back or remove the volume: %w", path, err)
	}
	if err != nil {
		return nil, superblock{}, err
	}
	found, err := r.check(image)
	if err != nil {
		return nil, found, errors.Join(err, image.Close())
	}
	return image, found, nil
}

// check is match for an image that is to be used: one that has not grown to its recorded size does so.
func (r record) check(image *os.File) (superblock, error) {
	found, size, err := r.match(image)
	if err == nil && size < r.Size {
		err = extend(image, r.Size)
	}
	return found, err
}

// match compares an image with its record, and returns its size, too. It changes nothing.
func (r record) match(image *os.File) (superblock, int64, error) {
	stat, err := image.Stat()
	if err != nil {
		return superblock{}, 0, err
	}
	if !stat.Mode().IsRegular() {
		return superblock{}, 0, fmt.Errorf("%s is not a regular file", image.Name())
	}
	found, err := identify(image)
	switch {
	case err != nil:
	case found.fs == "":
		err = fmt.Errorf("%s holds no %s file system, expected one with UUID %s: put the right image there, it is not formatted again",
			image.Name(), r.FS, r.UUID)
	case found.fs != r.FS || found.uuid != r.UUID:
		err = fmt.Errorf("%s is another image: it holds %s with UUID %s, expected %s with %s: put the right image there",
			image.Name(), found.fs, found.uuid, r.FS, r.UUID)
	case stat.Size() < r.Fitted:
		err = fmt.Errorf("%s was cut off: it has %d bytes, expected %d: restore it", image.Name(), stat.Size(), r.Size)
	}
	return found, stat.Size(), err
}

// extend makes a file longer without using space.
func extend(image *os.File, size int64) error {
	if err := image.Truncate(size); err != nil {
		return fmt.Errorf("extend %s: %w", image.Name(), err)
	}
	return image.Sync()
}
