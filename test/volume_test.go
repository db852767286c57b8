package test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/test/cell"
)

// takeAfter is how long a heartbeat must stand still before its host counts as dead.
const takeAfter = 20 * time.Second

// appendNumbers writes numbered lines, each synced before the next.
const appendNumbers = `trap 'exit 0' TERM; n=$(wc -l </data/log 2>/dev/null || echo 0); while :; do n=$((n+1)); echo $n >>/data/log; sync /data/log; sleep 0.05; done`

// inOrder checks that the lines are 1, 2, 3 … with none missing and none twice, and counts them.
const inOrder = `awk '$1 != NR {print "line " NR " is " $1; exit 1} END {print NR}' /data/log`

// A volume appears on demand and outlives its container, the plugin and the Docker daemon.
func TestStoryAVolumeOutlivesEverythingOnItsHost(t *testing.T) {
	h := shared.Hosts[0]
	docker(t, h, shell("keepdata", "echo kept >/data/file; stat -c %u:%g:%a /data", "--rm")...)
	assert.Equal(t, "kept", docker(t, h, shell("keepdata", "cat /data/file", "--rm")...))

	t.Run("plugin killed under a running container", func(t *testing.T) {
		docker(t, h, shell("keepdata", appendNumbers, "--detach", "--name", "writer")...)
		require.NoError(t, unix.Kill(pluginPID(t, h), unix.SIGKILL))
		await(t, "the plugin to be back", func() error {
			_, err := h.Docker(within(t), shell("keepdata", "cat /data/file", "--rm")...)
			return err
		})
		docker(t, h, "rm", "-f", "writer")
		docker(t, h, shell("keepdata", inOrder, "--rm")...)
	})
	t.Run("docker cp", func(t *testing.T) {
		docker(t, h, shell("keepdata", appendNumbers, "--detach", "--name", "writer")...)
		docker(t, h, "cp", "writer:/data/file", filepath.Join(t.TempDir(), "copied"))
		docker(t, h, "exec", "writer", "bash", "-c", "echo still >/data/file")
		docker(t, h, "rm", "-f", "writer")
		assert.Equal(t, "still", docker(t, h, shell("keepdata", "cat /data/file", "--rm")...))
	})
	t.Run("plugin disabled by force and enabled", func(t *testing.T) {
		docker(t, h, shell("keepdata", appendNumbers, "--detach", "--name", "writer")...)
		docker(t, h, "plugin", "disable", "--force", cell.PluginName)
		docker(t, h, "plugin", "enable", cell.PluginName)
		assert.Equal(t, "still", docker(t, h, "exec", "writer", "cat", "/data/file"))
		docker(t, h, "rm", "-f", "writer")
		docker(t, h, shell("keepdata", inOrder, "--rm")...)
	})
	t.Run("host dies and returns", func(t *testing.T) {
		docker(t, h, shell("keepdata", appendNumbers, "--detach", "--name", "writer")...)
		require.NoError(t, errors.Join(h.Kill(within(t)), h.Return(within(t))))
		docker(t, h, "rm", "-f", "writer")
		docker(t, h, shell("keepdata", inOrder, "--rm")...)
	})
	docker(t, h, "volume", "rm", "keepdata")
	assert.NotContains(t, docker(t, h, "volume", "ls", "--quiet"), "keepdata")
}

func pluginPID(t *testing.T, h *cell.Host) int {
	t.Helper()
	pid := h.PluginPID()
	require.NotZero(t, pid, "the plugin runs")
	return pid
}

// A volume is found by its name on every host, is refused to a second one while the first holds it, and is taken over when the
// first is dead.
func TestStoryAVolumeFollowsItsName(t *testing.T) {
	t.Cleanup(func() { healHosts(t, shared) })
	one, two, three := shared.Hosts[0], shared.Hosts[1], shared.Hosts[2]
	docker(t, one, shell("followdata", appendNumbers, "--detach", "--name", "writer")...)

	_, err := two.Docker(within(t), shell("followdata", "true", "--rm")...)
	require.ErrorContains(t, err, "held by host "+one.Name)
	_, err = two.Docker(within(t), "volume", "rm", "followdata")
	require.ErrorContains(t, err, "held by host "+one.Name)

	docker(t, one, "rm", "-f", "writer")
	docker(t, two, shell("followdata", appendNumbers, "--detach", "--name", "writer")...)
	await(t, "some lines", func() error {
		_, err := two.Docker(within(t), "exec", "writer", "bash", "-c", "test $(wc -l </data/log) -gt 20")
		return err
	})
	require.NoError(t, two.Kill(within(t)))
	lines := docker(t, three, shell("followdata", inOrder, "--rm")...)
	assert.Regexp(t, `^[1-9][0-9]+$`, lines)

	require.NoError(t, two.Return(within(t)))
	assert.Empty(t, docker(t, two, "ps", "--quiet"), "the dead host runs no second copy")
	docker(t, two, "rm", "writer")
	docker(t, three, "volume", "rm", "followdata")
}

// A plugin that was stopped by force is no dead host: the guard keeps the heartbeat while containers live, so nobody takes
// their volumes, and the plugin that returns takes them up where they were.
func TestStoryAStoppedPluginIsNoDeadHost(t *testing.T) {
	one, two := shared.Hosts[0], shared.Hosts[1]
	docker(t, one, shell("guarddata", appendNumbers, "--detach", "--name", "writer")...)
	docker(t, one, "plugin", "disable", "--force", cell.PluginName)
	for begin := time.Now(); time.Since(begin) < takeAfter+5*time.Second; {
		_, err := two.Docker(within(t), shell("guarddata", "true", "--rm")...)
		require.ErrorContains(t, err, "held by host "+one.Name)
	}
	docker(t, one, "exec", "writer", "bash", "-c", "test -e /data/log")
	docker(t, one, "plugin", "enable", cell.PluginName)
	docker(t, one, "rm", "-f", "writer")
	await(t, "the volume to be released", func() error { // the plugin may only just have found its store
		_, err := two.Docker(within(t), shell("guarddata", inOrder, "--rm")...)
		return err
	})
	docker(t, two, "volume", "rm", "guarddata")
}

// An image volume has a size that holds, and follows its name as a directory does.
func TestStoryAnImageVolumeFollowsItsName(t *testing.T) {
	one, two := shared.Hosts[0], shared.Hosts[1]
	docker(t, one, "volume", "create", "-d", cell.PluginName, "-o", "backend=image", "-o", "size=64m", "imagedata")
	docker(t, one, shell("imagedata", appendNumbers, "--detach", "--name", "writer")...)
	_, err := two.Docker(within(t), shell("imagedata", "true", "--rm")...)
	require.ErrorContains(t, err, "held by host "+one.Name)
	docker(t, one, "exec", "writer", "bash", "-c", "! head -c 100M /dev/zero >/data/big; rm /data/big")
	docker(t, one, "rm", "-f", "writer")
	docker(t, two, shell("imagedata", inOrder, "--rm")...)
	docker(t, two, "volume", "rm", "imagedata")
}

// Two hosts start the same volume in the same moment, again and again: one gets it.
func TestStoryTwoHostsRaceForAVolume(t *testing.T) {
	one, two := shared.Hosts[0], shared.Hosts[1]
	for round := range 10 {
		results := make(chan error, 2)
		for _, h := range []*cell.Host{one, two} {
			go func() {
				_, err := h.Docker(within(t), shell("racedata", "mkdir /data/held && sleep 0.5 && rmdir /data/held", "--rm")...)
				results <- err
			}()
		}
		refused := 0
		for _, err := range []error{<-results, <-results} {
			if err != nil {
				refused++
				require.ErrorContains(t, err, "held by host", "round %d", round)
			}
		}
		require.Less(t, refused, 2, "round %d: nobody has it", round)
	}
	docker(t, one, "volume", "rm", "racedata")
}

// Names and options that cannot be right are refused in words.
func TestStoryBadInputIsExplained(t *testing.T) {
	h := shared.Hosts[0]
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"up":       {[]string{"run", "--rm", "--mount", "type=volume,volume-driver=" + cell.PluginName + ",source=../x,target=/data", elasticsearch8}, "../x"},
		"slash":    {[]string{"volume", "create", "-d", cell.PluginName, "a/b"}, "a/b"},
		"long":     {[]string{"volume", "create", "-d", cell.PluginName, strings.Repeat("x", 300)}, "up to 127"},
		"option":   {[]string{"volume", "create", "-d", cell.PluginName, "-o", "colour=red", "optiondata"}, "colour"},
		"bad mode": {[]string{"volume", "create", "-d", cell.PluginName, "-o", "mode=99x", "optiondata"}, "99x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Docker(within(t), c.args...)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, docker(t, h, "volume", "ls", "--quiet"), "optiondata", fmt.Sprint(c.args))
		})
	}
}
