package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mooring/plugin/durable"
)

// Volume is what all hosts know of a volume.
type Volume struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"` // tells a volume from an earlier one of the same name
	Name    string    `json:"name"`
	Class   string    `json:"class"`
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	Mode    Mode      `json:"mode"`
	Created time.Time `json:"created"`
	Backend string    `json:"backend,omitempty"` // "" is dir
	FS      string    `json:"fs,omitempty"`      // of a new image
	Size    Size      `json:"size,omitempty"`    // of a new image
	Mkfs    string    `json:"mkfs,omitempty"`    // options chosen for making it
	Mount   string    `json:"mount,omitempty"`   // options chosen for mounting it
	From    string    `json:"from,omitempty"`    // VOLUME or VOLUME@SNAPSHOT that it is a clone of
	Trash   Delay     `json:"trash,omitempty"`   // how long the volume can be restored after the engine removed it
	// Takeover is a lease.Policy: how another host may take the volume from one that seems dead.
	Takeover string `json:"takeover,omitempty"`
	// Used says that the volume was mounted at least once. From then on its files may hold data, and
	// their absence is an error, never a reason to make them again.
	Used bool `json:"used"`
}

// Mode is the permissions of a volume's root directory, written in octal as chmod(1) takes them.
type Mode uint32

func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText writes the mode in octal.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a mode in octal, at most 7777.
func (m *Mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o7777 {
		return fmt.Errorf("mode %q is not an octal number such as 0770", text)
	}
	*m = Mode(n)
	return nil
}

// ErrBlank says that a volume is announced but its file was never completed: its host lost power
// before the volume was used. Whoever uses it first writes it again.
var ErrBlank = errors.New("volume.json is blank")

// Read returns what the store says of a volume; fs.ErrNotExist if nothing.
func (s *Store) Read(name string) (Volume, error) {
	path := s.volumeFile(name)
	data, err := os.ReadFile(path)
	if err != nil {
		return Volume{}, err
	}
	if len(bytes.Trim(data, "\x00")) == 0 {
		return Volume{}, ErrBlank
	}
	var v Volume
	if err := json.Unmarshal(data, &v); err != nil || v.ID == "" || v.Name != name {
		return Volume{}, fmt.Errorf("%s is unreadable or not of volume %s: restore it before the volume can be used", path, name)
	}
	if v.Format != format {
		return Volume{}, fmt.Errorf("%s has format %d, this plugin knows format %d: use the newer plugin on this host too", path, v.Format, format)
	}
	return v, nil
}

// Announce lets other hosts see a new volume, without waiting for the disk: the volume is nothing yet,
// and Settle comes before it is. Fails with fs.ErrExist when another host was first.
func (s *Store) Announce(v Volume) error {
	if err := s.MakeDir(v.Name); err != nil {
		return err
	}
	f, err := os.OpenFile(s.volumeFile(v.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	data, err := encode(v)
	if err == nil {
		_, err = f.Write(data)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// MakeDir makes the directory of a volume, if there is none.
func (s *Store) MakeDir(name string) error {
	if err := os.Mkdir(s.Dir(name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Settle makes a volume last, with everything the back end has put into its directory so far.
func (s *Store) Settle(v Volume) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	return errors.Join(durable.Write(s.volumeFile(v.Name), data), durable.SyncDir(s.volumes()))
}

// Withdraw takes back what Announce made of a new volume. Anything else in its directory stays.
func (s *Store) Withdraw(name string) error {
	err := errors.Join(ignoreMissing(os.Remove(s.volumeFile(name))), ignoreMissing(os.Remove(s.Dir(name))))
	if err != nil {
		return fmt.Errorf("undo creation of volume %s: %w", name, err)
	}
	return nil
}

// Names lists the directories of volumes.
func (s *Store) Names() ([]string, error) { return list(s.volumes()) }

func list(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// Exists tells whether the volume has a directory.
func (s *Store) Exists(name string) (bool, error) {
	_, err := os.Lstat(s.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) volumeFile(name string) string { return filepath.Join(s.Dir(name), "volume.json") }

func encode(v Volume) ([]byte, error) {
	v.Format = format
	data, err := json.Marshal(v)
	return append(data, '\n'), err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
