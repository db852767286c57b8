package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

const registry = "127.0.0.1:5000" // engines trust registries on their own host

// startRegistry runs Debian's Docker registry on a host until the test ends.
func startRegistry(t *testing.T, h *cell.Host) {
	t.Helper()
	serveRegistry(t, registry, func(ctx context.Context, name string, args ...string) *exec.Cmd {
		server, err := h.Command(ctx, name, args...)
		require.NoError(t, err)
		return server
	})
}

// serveRegistry runs a registry, wherever a command that is made in this way runs.
func serveRegistry(t *testing.T, address string, command func(ctx context.Context, name string, args ...string) *exec.Cmd) {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, address)
	file := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	server := command(ctx, "docker-registry", "serve", file)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		cancel()
		if err := server.Wait(); err != nil && !isExit(err) {
			t.Error(err)
		}
	})
}

// publish brings a plugin, a directory, into a registry under a name.
func publish(t *testing.T, h *cell.Host, name, dir string) {
	t.Helper()
	docker(t, h, "plugin", "create", name, dir)
	await(t, "the registry", func() error {
		_, err := h.Docker(within(t), "plugin", "push", name)
		return err
	})
	docker(t, h, "plugin", "rm", name)
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}

// The plugin is installed from a registry with no settings at all, and works: its volumes are in the host's /var/lib.
func TestStoryThePluginIsInstalledWithoutAnySettings(t *testing.T) {
	h := shared.Hosts[3]
	// The host's own /var/lib is this machine's; the story must not write there.
	mount, err := h.Command(within(t), "mount", "-t", "tmpfs", "varlib", "/var/lib")
	require.NoError(t, err)
	require.NoError(t, mount.Run())
	startRegistry(t, h)
	name := registry + "/mooring:1"
	publish(t, h, name, stamped(t))

	docker(t, h, "plugin", "install", "--grant-all-permissions", "--alias", "installed", name)
	run := []string{"run", "--rm", "--network", "none", "--user", "0", "--volume-driver", "installed", "-v", "elasticsearch1data:/data", "--entrypoint", "bash", elasticsearch8, "-c"}
	docker(t, h, append(run, "echo kept >/data/file")...)
	assert.Equal(t, "kept 1000:0:770", docker(t, h, append(run, `echo $(cat /data/file; stat -c %u:%g:%a /data)`)...))
	find, err := h.Command(within(t), "find", "/var/lib/mooring", "-name", "file")
	require.NoError(t, err)
	found, err := find.Output()
	require.NoError(t, err)
	assert.Contains(t, string(found), "/var/lib/mooring/volumes/elasticsearch1data/")

	docker(t, h, "volume", "rm", "elasticsearch1data")
	docker(t, h, "plugin", "disable", "installed")
	tellClasses(t, h)
	docker(t, h, "plugin", "disable", "installed")
	docker(t, h, "plugin", "rm", "installed")
	umount, err := h.Command(within(t), "umount", "--lazy", "/var/lib")
	require.NoError(t, err)
	require.NoError(t, umount.Run())
}

// tellClasses gives the plugin a directory with a classes file: what it says counts, mistakes are told, and nothing is restarted.
func tellClasses(t *testing.T, h *cell.Host) {
	t.Helper()
	config := t.TempDir()
	file := filepath.Join(config, "mooring/classes.yaml")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("classes:\n- {name: logs, match: log*, backend: image, size: 64m}\n"), 0o644))
	docker(t, h, "plugin", "set", "installed", "config.source="+config, "METRICS=:9273")
	docker(t, h, "plugin", "enable", "installed")
	assert.Contains(t, measured(t, h, h.Address+":9273"), "\nmooring_guard_present 1\n")
	docker(t, h, "volume", "create", "-d", "installed", "log1")
	status := []string{"volume", "inspect", "--format", "{{json .Status}}", "log1"}
	assert.Contains(t, docker(t, h, status...), `"class":"logs"`)
	assert.Contains(t, docker(t, h, status...), `"size":"64MiB"`)

	require.NoError(t, os.WriteFile(file, []byte("classes:\n- {name: logs, match: log*}\n- {name: logs, match: log1, size: 7}\n"), 0o644))
	await(t, "the mistakes to be told", func() error {
		told, err := h.Docker(within(t), status...)
		for _, mistake := range []string{"line 3: size", "line 3: class logs was there before", "line 3: match"} {
			if err == nil && !strings.Contains(told, mistake) {
				err = fmt.Errorf("%s is not in %s", mistake, told)
			}
		}
		return err
	})
	docker(t, h, "volume", "rm", "log1")
}

// measured is what a driver tells Prometheus at an address, once it is ready.
func measured(t *testing.T, h *cell.Host, address string) string {
	t.Helper()
	get := func(path string) (string, error) {
		curl, err := h.Command(within(t), "curl", "--fail", "--silent", "--show-error", "http://"+address+path)
		if err != nil {
			return "", err
		}
		out, err := curl.Output()
		return string(out), err
	}
	await(t, "the driver to be ready", func() error { _, err := get("/readyz"); return err })
	metrics, err := get("/metrics")
	require.NoError(t, err)
	return metrics
}

// stamped copies the plugin's directory and adds a file: an engine refuses a second plugin whose content is the same to the
// last bit (Docker Engine 20.10).
func stamped(t *testing.T) string {
	t.Helper()
	dir := copyPlugin(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rootfs", "stamp"), []byte(strings.ToUpper(t.Name())), 0o600))
	return dir
}

// pluginWith copies the plugin's directory, with another build of the program in it.
func pluginWith(t *testing.T, program string) string {
	t.Helper()
	dir := copyPlugin(t)
	out, err := exec.Command("cp", program, filepath.Join(dir, "rootfs", "mooring")).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

func copyPlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("cp", "-a", "../build/plugin/.", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}
