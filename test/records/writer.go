package records

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Writer appends records to a file. Host has no space in it.
type Writer struct {
	Host  string
	Acks  io.Writer     // gets each record as a line, in one write, once it is on disk
	Count uint64        // how many records to write; 0 means until the context ends
	Pause time.Duration // between two records
}

// Append goes on where the file ends, as a run of its own. What an earlier run left of its last record stays there, on a
// line of its own. It ends without an error when the context does, between two records.
func (w Writer) Append(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	defer f.Close()
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	last, err := resume(f)
	if err != nil {
		return err
	}
	r := Record{Number: last, Host: w.Host, Run: rand.Text()[:8]}
	for n := uint64(0); (w.Count == 0 || n < w.Count) && ctx.Err() == nil; n++ {
		r.Number++
		if err := w.append(f, r); err != nil {
			return err
		}
		wait(ctx, w.Pause)
	}
	return nil
}

func (w Writer) append(f *os.File, r Record) error {
	if _, err := f.Write(r.line()); err != nil {
		return fmt.Errorf("write %s: %w", r, err)
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", r, err)
	}
	if _, err := w.Acks.Write(r.line()); err != nil {
		return fmt.Errorf("acknowledge %s: %w", r, err)
	}
	return nil
}

// resume finds the number of the last whole record, and ends a line that an earlier run could not.
func resume(f *os.File) (last uint64, err error) {
	content, err := io.ReadAll(f)
	if err != nil {
		return 0, fmt.Errorf("read records: %w", err)
	}
	for line := range bytes.Lines(content) {
		if r, whole := parse(bytes.TrimSuffix(line, []byte("\n"))); whole {
			last = r.Number
		}
	}
	if len(content) > 0 && content[len(content)-1] != '\n' {
		if _, err := f.Write([]byte("\n")); err != nil {
			return 0, fmt.Errorf("end a torn record: %w", err)
		}
	}
	return last, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory of records: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory of records: %w", err)
	}
	return nil
}

func wait(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
