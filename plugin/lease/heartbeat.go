package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// heartbeatSize is one sector. The file is rewritten in place: that needs no free space, so a full
// store does not make living hosts look dead.
const heartbeatSize = 512

// Beat writes the heartbeat of a host, and returns the one it replaced, the zero Heartbeat if there was
// none.
func (f Files) Beat(beat Heartbeat) (Heartbeat, error) {
	dir := filepath.Join(f.Beats, beat.Host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Heartbeat{}, fmt.Errorf("write heartbeat: %w", err)
	}
	beat.Format = format
	sector, err := seal(beat)
	if err != nil {
		return Heartbeat{}, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "heartbeat"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return Heartbeat{}, fmt.Errorf("write heartbeat: %w", err)
	}
	defer file.Close()
	previous, _ := unseal(file)
	if _, err := file.WriteAt(sector, 0); err != nil {
		return previous, fmt.Errorf("write heartbeat: %w", err)
	}
	if err := unix.Fdatasync(int(file.Fd())); err != nil {
		return previous, fmt.Errorf("sync heartbeat: %w", err)
	}
	return previous, nil
}

// ReadBeat reads the heartbeat of one host, the zero Heartbeat if it never had one. A heartbeat caught
// while it is being written is an error: it says nothing, neither life nor death.
func (f Files) ReadBeat(host string) (Heartbeat, error) {
	file, err := os.Open(filepath.Join(f.Beats, host, "heartbeat"))
	if errors.Is(err, fs.ErrNotExist) {
		return Heartbeat{}, nil
	}
	if err != nil {
		return Heartbeat{}, fmt.Errorf("read heartbeat of host %s: %w", host, err)
	}
	defer file.Close()
	beat, err := unseal(file)
	if err != nil {
		return Heartbeat{}, fmt.Errorf("read heartbeat of host %s: %w", host, err)
	}
	return beat, nil
}

// Hosts lists the hosts that ever beat.
func (f Files) Hosts() ([]string, error) {
	dir, err := os.Open(f.Beats)
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// seal renders a heartbeat as a line of JSON and its checksum, filled up to one sector.
func seal(beat Heartbeat) ([]byte, error) {
	text, err := json.Marshal(beat)
	if err != nil {
		return nil, err
	}
	line := fmt.Sprintf("%s\n%s\n", text, checksum(text))
	if len(line) > heartbeatSize {
		return nil, fmt.Errorf("heartbeat of host %s does not fit into %d bytes: use a shorter host name or boot ID", beat.Host, heartbeatSize)
	}
	return []byte(line + strings.Repeat(" ", heartbeatSize-len(line))), nil
}

func unseal(f *os.File) (Heartbeat, error) {
	sector, err := io.ReadAll(io.NewSectionReader(f, 0, heartbeatSize))
	if err != nil {
		return Heartbeat{}, err
	}
	text, rest, _ := strings.Cut(string(sector), "\n")
	var beat Heartbeat
	if strings.TrimSpace(rest) != checksum([]byte(text)) {
		return Heartbeat{}, errors.New("its checksum is wrong")
	}
	if err := json.Unmarshal([]byte(text), &beat); err != nil {
		return Heartbeat{}, err
	}
	return beat, nil
}

func checksum(text []byte) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(text))
}
