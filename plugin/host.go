package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"mooring/plugin/durable"
	"mooring/plugin/store"
)

// hostFile keeps a generated name. Machine IDs and engine IDs will not do: copies of one system share them.
type hostFile struct {
	Format int    `json:"format"`
	Host   string `json:"host"`
}

// hostName is this host's name: the configured one, or one made up at the first start and kept.
func hostName(stateDir, configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	path := filepath.Join(stateDir, "host.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newHostName(path)
	}
	if err != nil {
		return "", fmt.Errorf("read host name: %w", err)
	}
	var h hostFile
	if err := json.Unmarshal(data, &h); err != nil || h.Format != 1 || !namePattern.MatchString(h.Host) {
		return "", fmt.Errorf("%s is unreadable or of a newer version: repair it as {\"format\":1,\"host\":\"NAME\"} or set HOST", path)
	}
	return h.Host, nil
}

func newHostName(path string) (string, error) {
	machine, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read machine's name: %w; set HOST", err)
	}
	machine = strings.Trim(regexp.MustCompile(`[^a-zA-Z0-9-]+`).ReplaceAllString(machine, "-"), "-")
	if machine == "" {
		machine = "host"
	}
	h := hostFile{Format: 1, Host: machine[:min(len(machine), 63)] + "-" + store.NewID()[:8]}
	data, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	if err := durable.Write(path, append(data, '\n')); err != nil {
		return "", fmt.Errorf("keep host name: %w", err)
	}
	return h.Host, nil
}

// own makes the state directory and locks it: two plugins that share it would each undo the other's mounts.
func own(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("state directory %s is in use by another mooring plugin: stop that one or set state.source", dir), f.Close())
	}
	return f, nil
}

// mountRoot makes the directory of mount points and resolves its symbolic links, as mount tables do.
func mountRoot(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make mount root: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("resolve mount root: %w", err)
	}
	return resolved, nil
}
