package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mooring/plugin/durable"
)

const (
	// BinaryPath is where the running program is placed in the state directory, for executors and operators of this host.
	BinaryPath = "mooring-host/bin/mooring"
	// placeAgain is how long after a failure it is tried again.
	placeAgain = time.Minute
)

// keepBinary places the running program in the state directory, until it is there or ctx ends.
func (d *Driver) keepBinary(ctx context.Context) {
	path := filepath.Join(d.cfg.StateDir, BinaryPath)
	again := time.NewTicker(placeAgain)
	defer again.Stop()
	for d.cfg.Binary != "" {
		placed, err := placeBinary(path, d.cfg.Binary)
		if err == nil {
			if placed {
				d.log.Info("program placed for executors and operators", "path", BinaryPath)
			}
			return
		}
		d.log.Warn("program not placed for executors and operators", "error", err)
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// placeBinary copies a program to a path where another version of it may be, and be running: that one goes on. It does nothing if the
// same is there.
func placeBinary(path, program string) (placed bool, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("place program: %w", err)
	}
	if err := removeDrafts(dir); err != nil {
		return false, fmt.Errorf("place program: %w", err)
	}
	same, err := sameContent(path, program)
	if err != nil || same {
		return false, err
	}
	if err := durable.Copy(path, program, 0o755); err != nil {
		return false, fmt.Errorf("place program: %w", err)
	}
	return true, nil
}

// removeDrafts removes what a process left that died while it copied. The caller owns the state directory, so no other one is at work.
func removeDrafts(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if _, draft := durable.Draft(e.Name()); draft {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// sameContent tells whether there is an executable file at path with the content of another one.
func sameContent(path, other string) (bool, error) {
	a, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := os.Open(other)
	if err != nil {
		return false, err
	}
	defer b.Close()
	infoA, errA := a.Stat()
	infoB, errB := b.Stat()
	switch {
	case errA != nil || errB != nil:
		return false, errors.Join(errA, errB)
	case os.SameFile(infoA, infoB):
		return true, nil
	case infoA.Size() != infoB.Size() || infoA.Mode().Perm() != 0o755:
		return false, nil
	}
	return sameBytes(a, b)
}

func sameBytes(a, b io.Reader) (bool, error) {
	var partA, partB [64 << 10]byte
	for {
		n, errA := io.ReadFull(a, partA[:])
		m, errB := io.ReadFull(b, partB[:])
		ended := errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF)
		switch {
		case errA != nil && !ended:
			return false, errA
		case errB != nil && !errors.Is(errB, io.EOF) && !errors.Is(errB, io.ErrUnexpectedEOF):
			return false, errB
		case !bytes.Equal(partA[:n], partB[:m]):
			return false, nil
		case ended:
			return true, nil
		}
	}
}
