package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

const (
	plainName = "plain"
	plainHost = "plain-host"
)

// plainPlugin is the volume driver as a plain process on a host, with a store of its own.
type plainPlugin struct {
	host    *cell.Host
	dir     string // holds its store, state and mounts
	process *exec.Cmd
	log     *bytes.Buffer
}

// newPlain prepares the process. An engine asks a plain plugin that has gone again and again, so the engine is started anew in
// the end.
func newPlain(t *testing.T, h *cell.Host) *plainPlugin {
	t.Helper()
	p := &plainPlugin{host: h, dir: filepath.Join(h.Dir, plainName)}
	for _, dir := range []string{p.store(), p.state()} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	t.Cleanup(func() {
		if t.Failed() && p.log != nil {
			t.Logf("the plugin's log:\n%s", p.log.String())
		}
		if p.process != nil {
			_ = p.signal(context.Background(), "KILL")
		}
		require.NoError(t, errors.Join(h.KillEngine(context.Background()), h.StartEngine(context.Background())))
		require.NoError(t, os.RemoveAll(p.dir))
	})
	return p
}

func (p *plainPlugin) store() string  { return filepath.Join(p.dir, "store") }
func (p *plainPlugin) state() string  { return filepath.Join(p.dir, "state") }
func (p *plainPlugin) mounts() string { return filepath.Join(p.dir, "mounts") }

// start starts the process, which writes its PID as the host sees it, and waits until it answers.
func (p *plainPlugin) start(t *testing.T) {
	t.Helper()
	binary, err := filepath.Abs("../build/mooring")
	require.NoError(t, err)
	p.process, err = p.host.Command(context.Background(), "bash", "-c", `echo $$ >"$0" && exec "$@"`, p.pidFile(), binary, "plugin",
		"--store-dir="+p.store(), "--state-dir="+p.state(), "--mount-root="+p.mounts(), "--socket=/run/docker/plugins/"+plainName+".sock",
		"--host="+plainHost, "--boot-id="+p.host.BootID, "--shared=true", "--metrics=:9273")
	require.NoError(t, err)
	p.log = &bytes.Buffer{}
	p.process.Stdout, p.process.Stderr = p.log, p.log
	require.NoError(t, p.process.Start())
	await(t, "the plugin to have its store", func() error { return healthy(p.state()) })
}

func (p *plainPlugin) pidFile() string { return filepath.Join(p.dir, "pid") }

// signal sends a signal and waits for the end of the process.
func (p *plainPlugin) signal(ctx context.Context, signal string) error {
	pid, err := os.ReadFile(p.pidFile())
	if err != nil {
		return err
	}
	kill, err := p.host.Command(ctx, "kill", "-"+signal, strings.TrimSpace(string(pid)))
	if err != nil {
		return err
	}
	if err := kill.Run(); err != nil {
		return err
	}
	err = p.process.Wait()
	p.process = nil
	return err
}

// operators reaches a driver's socket for operators.
func operators(state string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(state, "mooring-host/admin.sock"))
	}}}
}

func asked(state, path string) (string, error) {
	r, err := operators(state).Get("http://mooring" + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return string(body), err
}

func healthy(state string) error {
	_, err := asked(state, "/healthz")
	return err
}

// with is the command line of `docker run` for a script in a container of its own, with a volume of a driver at /data.
func with(driver, volume, script string, flags ...string) []string {
	args := shell(volume, script, flags...)
	for i := range args {
		if args[i] == cell.PluginName {
			args[i] = driver
		}
	}
	return args
}

// The driver works as a plain process, too, and its guard outlives it.
func TestStoryThePluginAsAPlainProcess(t *testing.T) {
	h := shared.Hosts[2]
	p := newPlain(t, h)
	p.start(t)
	docker(t, h, with(plainName, "plain1data", "echo kept >/data/file", "--rm")...)
	assert.Equal(t, "kept", docker(t, h, with(plainName, "plain1data", "cat /data/file", "--rm")...))
	doctor, err := asked(p.state(), "/v1/doctor")
	require.NoError(t, err)
	assert.NotContains(t, doctor, "no-guard", "the guard has left the process's control groups")
	assert.Contains(t, measured(t, h, h.Address+":9273"), "\nmooring_guard_independent 1\n")

	docker(t, h, with(plainName, "plain1data", appendNumbers, "--detach", "--name", "writer")...)
	require.Error(t, p.signal(within(t), "KILL"))
	for range 2 { // the first may have been on its way
		was := heartbeat(t, p)
		await(t, "the guard to go on with the heartbeat", func() error {
			if bytes.Equal(was, heartbeat(t, p)) {
				return errors.New("it stands still")
			}
			return nil
		})
	}
	docker(t, h, "exec", "writer", "bash", "-c", "test -e /data/log")

	p.start(t)
	await(t, "the plugin to take the volume up again", func() error {
		volumes, err := asked(p.state(), "/v1/volumes")
		if err == nil && !(strings.Contains(volumes, `"state":"mounted"`) && strings.Contains(volumes, `"epoch":3`)) {
			err = errors.New(volumes)
		}
		return err
	})
	docker(t, h, "rm", "-f", "writer")
	docker(t, h, with(plainName, "plain1data", inOrder, "--rm")...)
	docker(t, h, "volume", "rm", "plain1data")

	require.NoError(t, p.signal(within(t), "TERM"), p.log)
	left, err := os.ReadDir(p.mounts())
	require.NoError(t, err)
	assert.Empty(t, left)
	devices, err := exec.Command("losetup", "--list", "--noheadings", "--output", "BACK-FILE").Output()
	require.NoError(t, err)
	assert.NotContains(t, string(devices), p.dir)
	await(t, "the guard to leave", func() error {
		groups, err := exec.Command("find", "/sys/fs/cgroup", "-name", "mooring-guard-"+plainHost).Output()
		if err == nil && len(groups) > 0 {
			err = fmt.Errorf("%s are left", groups)
		}
		return err
	})
}

func heartbeat(t *testing.T, p *plainPlugin) []byte {
	t.Helper()
	beat, err := os.ReadFile(filepath.Join(p.store(), "mooring/hosts", plainHost, "heartbeat"))
	require.NoError(t, err)
	return beat
}
