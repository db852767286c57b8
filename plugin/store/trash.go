package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
)

// Delay is how long a removed volume can be restored, written as 24h or 30m.
type Delay time.Duration

func (d Delay) String() string {
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// MarshalText writes the delay without parts that are zero.
func (d Delay) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads hours, minutes and seconds, each with its unit.
func (d *Delay) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("trash %q is not a time such as 24h or 30m", text)
	}
	*d = Delay(parsed)
	return nil
}

// Removed is a volume in the trash.
type Removed struct {
	Name  string    `json:"name"`
	ID    string    `json:"id"`
	At    time.Time `json:"at"`              // when it was removed, by the clock of the host that did
	Image uint64    `json:"image,omitempty"` // which of its image files was in use, as its last lease said
	Until time.Time `json:"until"`           // when it is deleted; wall clocks, since days pass and hosts restart
}

// keepFile says, in a volume that was thrown away, until when it is kept. Without it the volume is deleted at once.
const keepFile = "removed.json"

// deleting begins the names of what is being deleted: nobody restores half of a volume.
const deleting = ".deleting."

func (r Removed) entry() string { return r.Name + "." + r.ID }

// Discard removes a volume for all hosts. Its files go to the trash, from where Restore brings them back and EmptyTrash
// deletes them, not before the delay is over. Image is what the volume's lease says of its image.
func (s *Store) Discard(v Volume, image uint64, keep Delay) (Removed, error) {
	now := time.Now().UTC().Truncate(time.Second)
	r := Removed{Name: v.Name, ID: v.ID, Image: image, At: now, Until: now.Add(time.Duration(keep))}
	if err := s.discard(r, keep); err != nil {
		return r, fmt.Errorf("remove volume %s: %w", v.Name, err)
	}
	return r, nil
}

// discard writes first what others need to know of the volume. A crash before the last step leaves it where it is.
func (s *Store) discard(r Removed, keep Delay) error {
	note := filepath.Join(s.Dir(r.Name), keepFile)
	err := ignoreMissing(os.Remove(note)) // of an earlier attempt
	if err == nil && keep > 0 {
		var data []byte
		if data, err = json.Marshal(r); err == nil {
			err = durable.Write(note, append(data, '\n'))
		}
	}
	if err == nil {
		err = durable.Write(filepath.Join(s.removed(), r.ID), []byte(r.Name+"\n"))
	}
	if err == nil {
		err = durable.Rename(s.Dir(r.Name), s.Thrown(r))
	}
	return err
}

// Thrown is the directory of a volume in the trash.
func (s *Store) Thrown(r Removed) string { return filepath.Join(s.trash(), r.entry()) }

// Trash lists the volumes that can still be restored.
func (s *Store) Trash() ([]Removed, error) {
	names, err := list(s.trash())
	if err != nil {
		return nil, fmt.Errorf("list trash: %w", err)
	}
	var found []Removed
	var failed []error
	for _, name := range names {
		r, err := s.thrown(name)
		if err == nil {
			found = append(found, r)
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return found, errors.Join(failed...)
}

// thrown reads what an entry of the trash is; fs.ErrNotExist if it is not kept.
func (s *Store) thrown(entry string) (Removed, error) {
	path := filepath.Join(s.trash(), entry, keepFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Removed{}, err
	}
	var r Removed
	if err := json.Unmarshal(data, &r); err != nil || r.entry() != entry || strings.HasPrefix(entry, deleting) {
		return Removed{}, fmt.Errorf("%s is unreadable: its volume stays in the trash; delete %s by hand if it is not wanted", path, filepath.Dir(path))
	}
	return r, nil
}

// Restore brings a volume back from the trash, unless there is another one of its name. It comes back without a lease:
// whoever had one gave the volume up when it was removed.
func (s *Store) Restore(r Removed) error {
	leases, err := filepath.Glob(filepath.Join(s.Thrown(r), "lease.*"))
	for _, lease := range leases {
		err = errors.Join(err, ignoreMissing(os.Remove(lease)))
	}
	if err != nil {
		return fmt.Errorf("restore volume %s: %w", r.Name, err)
	}
	// The system call, unlike os.Rename, replaces an empty directory, which is no volume, and never one with anything in it.
	err = unix.Rename(s.Thrown(r), s.Dir(r.Name))
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("restore volume %s: there is another one of that name: remove that first", r.Name)
	}
	if err != nil {
		return fmt.Errorf("restore volume %s: %w", r.Name, err)
	}
	for _, dir := range []string{s.volumes(), s.trash()} {
		err = errors.Join(err, durable.SyncDir(dir))
	}
	err = errors.Join(err, ignoreMissing(os.Remove(filepath.Join(s.Dir(r.Name), keepFile))))
	if err = errors.Join(err, ignoreMissing(os.Remove(filepath.Join(s.removed(), r.ID)))); err != nil {
		return fmt.Errorf("volume %s is restored, but not all traces of its removal are gone: %w", r.Name, err)
	}
	return nil
}

// WasRemoved tells whether a volume whose files are gone was removed on purpose.
func (s *Store) WasRemoved(id string) bool {
	_, err := os.Lstat(filepath.Join(s.removed(), id))
	return err == nil
}

// EmptyTrash deletes the files of removed volumes whose time is over. Several hosts may do so at once.
func (s *Store) EmptyTrash(now time.Time) error {
	due, err := s.due(now)
	failed := []error{err}
	for _, name := range due {
		from, to := filepath.Join(s.trash(), name), filepath.Join(s.trash(), deleting+strings.TrimPrefix(name, deleting))
		if err := ignoreMissing(os.Rename(from, to)); err != nil {
			failed = append(failed, fmt.Errorf("empty trash: %w", err))
			continue
		}
		failed = append(failed, os.RemoveAll(to))
	}
	return errors.Join(failed...)
}

// due names the entries of the trash that nothing keeps.
func (s *Store) due(now time.Time) ([]string, error) {
	names, err := list(s.trash())
	if err != nil {
		return nil, fmt.Errorf("empty trash: %w", err)
	}
	var due []string
	var failed []error
	for _, name := range names {
		r, err := s.thrown(name)
		switch {
		case strings.HasPrefix(name, deleting), errors.Is(err, fs.ErrNotExist), err == nil && !r.Until.After(now):
			due = append(due, name)
		case err != nil:
			failed = append(failed, err)
		}
	}
	return due, errors.Join(failed...)
}
