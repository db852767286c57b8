package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/deploy"
)

// unfenced is a volume driver that runs as a process on every host, with a directory that all of them see.
type unfenced struct{ program, root string }

const unfencedName = "unfenced"

// installUnfenced starts the driver on every host. It stays there, since an engine that knows a driver asks it for ever.
func installUnfenced(t *testing.T) unfenced {
	t.Helper()
	d := unfenced{program: filepath.Join(shared.Dir, unfencedName), root: filepath.Join(shared.Dir, "directories")}
	if _, err := os.Stat(d.program); err != nil {
		built, err := exec.Command("go", "build", "-o", d.program, "./cmd/unfenced").CombinedOutput()
		require.NoError(t, err, "%s", built)
	}
	require.NoError(t, os.MkdirAll(d.root, 0o755))
	for _, h := range shared.Hosts {
		if h.PID(unfencedName) == 0 {
			require.NoError(t, h.Serve(within(t), unfencedName, d.program, d.root, "/run/docker/plugins/"+unfencedName+".sock"))
		}
	}
	return d
}

// madeWith are the options that a volume was made with.
func (d unfenced) madeWith(t *testing.T, volume string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(d.root, volume+".json"))
	require.NoError(t, err)
	var options map[string]string
	require.NoError(t, json.Unmarshal(content, &options))
	return options
}

// The volumes of a driver that nothing is known of follow their node, too. One that was made beforehand is used as it is, the other
// is made with the operator's options. Since such a driver lets two hosts write, a node whose host died waits, however many other
// agents offer a place, until an operator marks the agent gone in Mesos.
func TestStoryAnotherDriverWaitsForAnOperatorsWord(t *testing.T) {
	for _, containerizer := range []string{"mesos", "docker"} {
		t.Run(containerizer, func(t *testing.T) {
			driver, framework := installUnfenced(t), "other"+containerizer
			made := docker(t, shared.Hosts[0], "volume", "create", "--driver", unfencedName, "--opt", "size=7", framework+"1config")
			require.Equal(t, framework+"1config", made)
			s := singleNode(t, deploy.Options{Framework: framework, Flags: []string{
				"--containerizer=" + containerizer, "--external-volume-driver=" + unfencedName, "--external-volume-options=size=5",
			}})
			assert.Equal(t, map[string]string{"size": "7"}, driver.madeWith(t, s.node.Volumes[0]), "made beforehand")
			assert.Equal(t, map[string]string{"size": "5"}, driver.madeWith(t, s.node.Volumes[1]))

			require.NoError(t, s.host.Kill(within(t)))
			await(t, "the node to be lost, and offers of other agents to be refused", func() error {
				nodes, err := s.Nodes(within(t))
				if err == nil && (nodes[0].Phase != "lost" || !strings.Contains(nodes[0].Waits, "waits for its last agent")) {
					err = fmt.Errorf("node 1 is %+v", nodes[0])
				}
				return err
			})
			status, err := s.Operate(within(t), "status")
			require.ErrorContains(t, err, "not all is well")
			assert.Contains(t, status, "which Mesos lost")
			assert.Contains(t, status, "or mark it gone in Mesos")
			for _, h := range shared.Hosts {
				if h != s.host {
					running, err := s.Containers(within(t), h, "--quiet")
					require.NoError(t, err)
					assert.Empty(t, running, h.Name)
				}
			}

			require.NoError(t, s.host.MarkGone(within(t)))
			s.cameBack(t)
			nodes, err := s.Nodes(within(t))
			require.NoError(t, err)
			assert.NotEqual(t, s.node.Place.Host, nodes[0].Place.Host)
			assert.Equal(t, s.node.Volumes, nodes[0].Volumes)
		})
	}
}
