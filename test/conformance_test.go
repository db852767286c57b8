package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// talk is an engine's with one form of the driver.
type talk struct {
	h             *cell.Host
	driver, state string
	store         string // the directory above it
}

// calls counts what the engine has asked the driver, by verb.
func (k talk) calls(t *testing.T) map[string]int {
	t.Helper()
	metrics, err := asked(k.state, "/metrics")
	require.NoError(t, err)
	counts := map[string]int{}
	for _, match := range regexp.MustCompile(`mooring_calls_total{verb="VolumeDriver\.(\w+)",outcome="\w+"} (\d+)`).FindAllStringSubmatch(metrics, -1) {
		n, err := strconv.Atoi(match[2])
		require.NoError(t, err)
		counts[match[1]] += n
	}
	return counts
}

// asks checks what a command makes the engine ask, Get and Capabilities apart, which it asks at will.
func (k talk) asks(t *testing.T, want map[string]int, command func()) {
	t.Helper()
	before := k.calls(t)
	command()
	got := map[string]int{}
	for verb, n := range k.calls(t) {
		if n -= before[verb]; n > 0 && verb != "Get" && verb != "Capabilities" {
			got[verb] = n
		}
	}
	assert.Equal(t, want, got)
}

// docker gives an order, with the driver's name in place of DRIVER and the image's in place of IMAGE.
func (k talk) docker(t *testing.T, order string, more ...string) string {
	t.Helper()
	out, err := k.try(t, order, more...)
	require.NoError(t, err)
	return out
}

func (k talk) try(t *testing.T, order string, more ...string) (string, error) {
	t.Helper()
	order = strings.NewReplacer("DRIVER", k.driver, "IMAGE", elasticsearch8).Replace(order)
	return k.h.Docker(within(t), append(strings.Fields(order), more...)...)
}

// run runs a script in a container with a volume at /data.
func (k talk) run(t *testing.T, volume, script string, flags ...string) {
	t.Helper()
	docker(t, k.h, with(k.driver, volume, script, flags...)...)
}

// The driver and a real engine go together in both of the driver's forms: what the engine asks for each command is what was recorded, Docker's own tests of volume plugins
// hold as far as they are about the plugin, and nothing is left.
func TestStoryDockersOwnChecks(t *testing.T) {
	h := shared.Hosts[2]
	converse := func(t *testing.T, k talk) {
		dockersOwnChecks(t, k)
		recordedCommands(t, k)
		engineStartsAnew(t, k)
		volumes, err := asked(k.state, "/v1/volumes")
		require.NoError(t, err)
		assert.NotContains(t, volumes, "checks")
		assert.NotContains(t, volumes, `"mounted"`)
	}
	t.Run("managed", func(t *testing.T) { converse(t, talk{h, cell.PluginName, filepath.Join(h.Dir, "state"), h.Store()}) })
	t.Run("plain", func(t *testing.T) {
		p := newPlain(t, h)
		comesLate(t, p)
		converse(t, talk{h, plainName, p.state(), p.store()})
		require.NoError(t, p.signal(within(t), "TERM"))
	})
}

func dockersOwnChecks(t *testing.T, k talk) {
	h, driver, state := k.h, k.driver, k.state
	once := map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1}

	t.Run("Named", func(t *testing.T) {
		k.asks(t, once, func() { k.run(t, "checks", "echo x >/data/file", "--rm"); docker(t, h, "volume", "rm", "checks") })
	})
	t.Run("Unnamed", func(t *testing.T) {
		k.asks(t, once, func() {
			docker(t, h, "run", "--rm", "--network", "none", "--volume-driver", driver, "-v", "/data", "--entrypoint", "true", elasticsearch8)
		})
	})
	t.Run("VolumesFrom", func(t *testing.T) {
		k.asks(t, map[string]int{"Create": 1, "Mount": 2, "Unmount": 2, "Remove": 1}, func() {
			docker(t, h, "run", "--name", "first", "--network", "none", "--volume-driver", driver, "-v", "/data", "--entrypoint", "true", elasticsearch8)
			docker(t, h, "run", "--rm", "--name", "second", "--network", "none", "--volumes-from", "first", "--entrypoint", "true", elasticsearch8)
			docker(t, h, "rm", "-fv", "first")
		})
	})
	t.Run("DeleteContainer", func(t *testing.T) {
		k.asks(t, once, func() {
			docker(t, h, "run", "--name", "first", "--network", "none", "--volume-driver", driver, "-v", "/data", "--entrypoint", "true", elasticsearch8)
			docker(t, h, "rm", "-fv", "first")
		})
	})
	t.Run("CreateOptionConflict, BindExternalVolume", func(t *testing.T) {
		k.asks(t, once, func() {
			docker(t, h, "volume", "create", "-d", driver, "checks")
			docker(t, h, "volume", "create", "-d", driver, "checks")
			docker(t, h, "run", "--name", "first", "--network", "none", "-v", "checks:/data", "--entrypoint", "true", elasticsearch8)
			assert.Equal(t, "checks "+driver, docker(t, h, "inspect", "--format", "{{range .Mounts}}{{.Name}} {{.Driver}}{{end}}", "first"))
			docker(t, h, "rm", "first")
			docker(t, h, "volume", "rm", "checks")
		})
	})
	t.Run("List, Get, Capabilities, PathCalls", func(t *testing.T) {
		k.asks(t, map[string]int{"Create": 1, "List": 1, "Remove": 1}, func() {
			docker(t, h, "volume", "create", "-d", driver, "checks")
			assert.Contains(t, docker(t, h, "volume", "ls", "--format", "{{.Driver}} {{.Name}}"), driver+" checks")
			assert.Equal(t, "global created", docker(t, h, "volume", "inspect", "--format", "{{.Scope}} {{.Status.state}}", "checks"))
			_, err := h.Docker(within(t), "volume", "inspect", "nosuch")
			assert.ErrorContains(t, err, "o such volume")
			docker(t, h, "volume", "rm", "checks")
		})
	})
	t.Run("OutOfBandDelete", func(t *testing.T) {
		docker(t, h, "volume", "create", "-d", driver, "checks")
		remove, err := http.NewRequest(http.MethodDelete, "http://mooring/v1/volumes/checks", nil)
		require.NoError(t, err)
		answer, err := operators(state).Do(remove)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode)
		docker(t, h, "volume", "create", "-d", driver, "-o", "mode=0700", "checks")
		assert.Equal(t, "0700", docker(t, h, "volume", "inspect", "--format", "{{.Options.mode}}", "checks"))
		docker(t, h, "volume", "rm", "checks")
	})
	t.Run("UnmountOnMountFail", func(t *testing.T) {
		docker(t, h, "volume", "create", "-d", driver, "-o", "backend=image", "-o", "size=64m", "checks")
		k.run(t, "checks", "true", "--rm")
		image := k.store + "/mooring/volumes/checks/image"
		require.NoError(t, os.Rename(image, image+".away"))
		k.asks(t, map[string]int{"Mount": 1}, func() {
			_, err := h.Docker(within(t), with(driver, "checks", "true", "--rm")...)
			assert.ErrorContains(t, err, "image is gone")
		})
		require.NoError(t, os.Rename(image+".away", image))
		k.run(t, "checks", "true", "--rm")
		docker(t, h, "volume", "rm", "checks")
	})
	t.Run("UnmountOnCp", func(t *testing.T) {
		k.run(t, "checks", "echo x >/data/file && exec sleep 1000", "--detach", "--name", "first")
		k.asks(t, map[string]int{"Mount": 1, "Unmount": 1}, func() { docker(t, h, "cp", "first:/etc/passwd", filepath.Join(t.TempDir(), "copied")) })
		docker(t, h, "exec", "first", "test", "-e", "/data/file")
		k.asks(t, map[string]int{"Unmount": 1}, func() { docker(t, h, "rm", "-f", "first") })
		docker(t, h, "volume", "rm", "checks")
	})
}

// recordedCommands are those whose calls were recorded, as far as the checks before have not had them. A volume at a place where the image has files costs one more mount: the engine
// copies these into it first.
func recordedCommands(t *testing.T, k talk) {
	const container = "create --name first --network none --user 0 --entrypoint sleep --volume-driver DRIVER -v checks:/data IMAGE infinity"
	none := map[string]int{}
	used := func(n int) map[string]int { return map[string]int{"Mount": n, "Unmount": n} }
	k.docker(t, "volume create -d DRIVER -o mode=0750 checks")

	t.Run("volume create again", func(t *testing.T) {
		k.asks(t, none, func() {
			k.docker(t, "volume create -d DRIVER -o mode=0700 checks")
			_, err := k.try(t, "volume create -d local checks")
			assert.ErrorContains(t, err, "must be unique")
		})
		assert.Equal(t, "0750", k.docker(t, "volume inspect --format {{.Options.mode}} checks"))
	})
	t.Run("run --mount with options, and without a name", func(t *testing.T) {
		k.asks(t, used(1), func() {
			k.docker(t, "run --rm --network none --mount type=volume,volume-driver=DRIVER,volume-opt=mode=0700,source=checks,target=/data --entrypoint true IMAGE")
		})
		k.asks(t, map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1}, func() {
			k.docker(t, "run --rm --network none --mount type=volume,volume-driver=DRIVER,volume-opt=mode=0700,target=/data --entrypoint true IMAGE")
		})
	})
	t.Run("a container's life", func(t *testing.T) {
		k.asks(t, none, func() { k.docker(t, container) })
		k.asks(t, used(2), func() { k.docker(t, "cp /etc/hostname first:/data/file") }) // it looks at the place first
		k.asks(t, map[string]int{"Mount": 1}, func() { k.docker(t, "start first") })
		assert.Regexp(t, `^map\[[0-9a-f]{64}:1\]$`, k.docker(t, "volume inspect --format {{.Status.mounts}} checks"), "each mount has its ID")
		k.asks(t, none, func() {
			k.docker(t, "pause first")
			k.docker(t, "unpause first")
			k.docker(t, "exec first test -s /data/file")
			for _, remove := range []string{"volume rm checks", "volume rm --force checks"} {
				_, err := k.try(t, remove)
				assert.ErrorContains(t, err, "volume is in use")
			}
		})
		k.asks(t, used(1), func() { k.docker(t, "restart --time 0 first") })
		k.asks(t, used(1), func() { // the second container
			k.run(t, "checks", "echo more >>/data/file", "--rm")
		})
		k.docker(t, "exec first grep more /data/file")
		k.asks(t, map[string]int{"Unmount": 1}, func() { k.docker(t, "rm --force first") })
	})
	t.Run("a volume at two paths, several volumes, read-only", func(t *testing.T) {
		k.asks(t, used(2), func() {
			k.run(t, "checks", "grep more /twice/file", "--rm", "-v", "checks:/twice")
		})
		k.asks(t, map[string]int{"Create": 2, "Mount": 3, "Unmount": 3, "Remove": 2}, func() {
			k.run(t, "checks", "echo x >/b/file && ! touch /c/file", "--rm", "-v", "checks2:/b", "-v", "checks3:/c:ro")
			k.docker(t, "volume rm checks2 checks3")
		})
	})
	t.Run("an image with files at the path", func(t *testing.T) {
		const at = "run --rm --network none --volume-driver DRIVER --entrypoint test -v %s:/usr/share/elasticsearch/config%s IMAGE %s"
		k.asks(t, map[string]int{"Create": 2, "Mount": 4, "Unmount": 4, "Remove": 2}, func() {
			k.docker(t, fmt.Sprintf(at, "checks2", "", "-s /usr/share/elasticsearch/config/jvm.options"))
			k.docker(t, fmt.Sprintf(at, "checks3", ":nocopy", "! -e /usr/share/elasticsearch/config/jvm.options"))
			k.docker(t, fmt.Sprintf(at, "checks2", ":nocopy", "-s /usr/share/elasticsearch/config/jvm.options"))
			k.docker(t, "volume rm checks2 checks3")
		})
	})
	t.Run("volume rm", func(t *testing.T) {
		k.asks(t, map[string]int{"Remove": 1}, func() {
			k.docker(t, "volume prune --force")
			k.docker(t, "volume rm checks")
			_, err := k.try(t, "volume rm checks")
			assert.ErrorContains(t, err, "o such volume")
			k.docker(t, "volume rm --force checks")
		})
	})
}

// engineStartsAnew has the engine end in order, which ends its containers, and start again: it knows whose the volume is, and nobody has it.
func engineStartsAnew(t *testing.T, k talk) {
	t.Run("WithDaemonRestart", func(t *testing.T) {
		k.run(t, "checks", "echo kept >/data/file && exec sleep 1000", "--detach", "--name", "first")
		require.NoError(t, errors.Join(k.h.StopEngine(within(t)), k.h.StartEngine(within(t))))
		await(t, "the driver", func() error { return healthy(k.state) })
		assert.Equal(t, k.driver+" released", k.docker(t, "volume inspect --format", "{{.Driver}} {{.Status.state}}", "checks"))
		k.docker(t, "start first")
		await(t, "what was written", func() error { _, err := k.try(t, "exec first grep kept /data/file"); return err })
		k.docker(t, "rm --force first")
		k.docker(t, "volume rm checks")
	})
}

// comesLate starts the driver when an engine has already looked for it in vain: it goes on looking.
func comesLate(t *testing.T, p *plainPlugin) {
	t.Run("RetryNotImmediatelyExists", func(t *testing.T) {
		ran := make(chan error, 1)
		go func() {
			_, err := p.host.Docker(within(t), with(plainName, "late", "echo x >/data/file", "--rm")...)
			ran <- err
		}()
		await(t, "the engine to look for the driver", func() error {
			log, err := os.ReadFile(p.host.Log("docker"))
			if err == nil && !strings.Contains(string(log), "Unable to locate plugin: "+plainName+", retrying") {
				err = errors.New("it does not")
			}
			return err
		})
		p.start(t)
		require.NoError(t, <-ran)
		docker(t, p.host, "volume", "rm", "late")
	})
}
