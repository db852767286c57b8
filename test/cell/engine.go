package cell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// PluginName is the name under which the managed plugin is installed on every host.
const PluginName = "mooring:latest"

// StartEngine starts the host's Docker engine and waits until it answers. There is no bridge network: containers use the
// host's network, or none. Its socket is at /run/docker.sock for programs on the host and at Host.Engine for those outside.
func (h *Host) StartEngine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if h.PID("dockerd") != 0 {
		return fmt.Errorf("the Docker engine of %s runs already", h.Name)
	}
	socket := strings.TrimPrefix(h.Engine, "unix://")
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	err := h.start(ctx, "docker", "dockerd", "--data-root="+filepath.Join(h.Dir, "docker"),
		"--host=unix:///run/docker.sock", "--host="+h.Engine, "--cgroup-parent=/"+h.runGroup(),
		"--bridge=none", "--iptables=false")
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	started := false
	err = await(ctx, "the Docker engine of "+h.Name, func(ctx context.Context) error {
		err := get(ctx, client, "http://docker/_ping", nil)
		running := h.PID("dockerd") != 0
		if err != nil && started && !running {
			return fmt.Errorf("it ended: %w", errHopeless)
		}
		started = running
		return err
	})
	if err != nil {
		return withLog(err, h.Log("docker"))
	}
	return nil
}

// StopEngine asks the host's Docker engine to end, which stops its containers and plugins, and returns when it has.
func (h *Host) StopEngine(ctx context.Context) error { return h.endEngine(ctx, unix.SIGTERM) }

// KillEngine ends the host's Docker engine at once. Its containers and plugins go on.
func (h *Host) KillEngine(ctx context.Context) error { return h.endEngine(ctx, unix.SIGKILL) }

func (h *Host) endEngine(ctx context.Context, signal unix.Signal) error {
	pid := h.PID("dockerd")
	if pid == 0 {
		return fmt.Errorf("the Docker engine of %s does not run", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := unix.Kill(pid, signal); err != nil {
		return fmt.Errorf("end the Docker engine of %s: %w", h.Name, err)
	}
	return awaitEnd(ctx, "the Docker engine", pid)
}

// Docker runs docker(1) with the host's engine and returns its standard output without the last line's end.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	out, err := output(ctx, "docker", slices.Concat([]string{"--host", h.Engine}, args)...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.Name, err)
	}
	return strings.TrimSuffix(out, "\n"), nil
}

// LoadImage brings an image, a file made by `docker save`, into the host's engine.
func (h *Host) LoadImage(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err := h.Docker(ctx, "load", "--quiet", "--input", file)
	return err
}

// InstallPlugin makes the managed plugin in directory dir (config.json, rootfs) known to the host's engine, gives it the
// settings of this host and enables it.
func (h *Host) InstallPlugin(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	steps := [][]string{
		{"plugin", "create", PluginName, dir},
		append([]string{
			"plugin", "set", PluginName, "store.source=" + h.Store(), "state.source=" + filepath.Join(h.Dir, "state"),
			"HOST=" + h.Name, "BOOT_ID=" + h.BootID, "SHARED=true", "LEASES=" + cmp.Or(h.cell.Leases, "files"),
		}, h.cell.Settings...),
		{"plugin", "enable", PluginName},
	}
	for _, step := range steps {
		if _, err := h.Docker(ctx, step...); err != nil {
			return withLog(err, h.Log("docker"))
		}
	}
	return nil
}

// setPluginBootID writes the host's present boot ID into the plugin's settings on its disk, where the engine finds it when it
// starts: hosts of one cell share a kernel, so the plugin cannot ask the kernel.
func (h *Host) setPluginBootID() error {
	files, err := filepath.Glob(filepath.Join(h.Dir, "docker", "plugins", "*", "config.json"))
	if err != nil {
		return fmt.Errorf("find plugin settings: %w", err)
	}
	setting := regexp.MustCompile(`"BOOT_ID=[^"]*"`)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read plugin settings: %w", err)
		}
		content = setting.ReplaceAll(content, []byte(`"BOOT_ID=`+h.BootID+`"`))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return fmt.Errorf("write plugin settings: %w", err)
		}
	}
	return nil
}
