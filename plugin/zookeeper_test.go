package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/guard"
	"mooring/test/zookeeper"
)

// Two hosts share a store whose leases are in ZooKeeper.
func TestVolumesWithLeasesInZooKeeper(t *testing.T) {
	server := zookeeper.Run(t)
	dir, log := t.TempDir(), &bytes.Buffer{}
	secret := filepath.Join(t.TempDir(), "keeper")
	require.NoError(t, os.WriteFile(secret, []byte("mooring:verysecret\n"), 0o600))
	address := "zk://@" + secret + "@" + server.Address + "/mooring"
	var writing sync.Mutex
	inZooKeeper := func(name string) plugin.Config {
		cfg := configure(t, name, dir)
		keepLeases(t, &cfg, address)
		cfg.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log, Mutex: &writing})
		return cfg
	}
	a, b := start(t, inZooKeeper("hostA")), start(t, inZooKeeper("hostB"))
	a.create("v")
	b.create("v")
	a.mount("v", "id1")
	assert.Contains(t, b.refuseMount("v", "id2"), "volume v is held by host hostA (epoch 1")
	assert.Empty(t, leaseFiles(t, dir), "none in the store")
	kill := container(t, a.mountpoint("v"))
	a = a.restart()
	require.Eventually(t, func() bool { return a.state("v") == "mounted" }, patience, 20*time.Millisecond, "adopted")
	assert.Equal(t, map[string]int{"id1": 1}, a.mounts("v"))
	kill()
	a.unmount("v", "id1")
	b.mount("v", "id2")
	assert.Equal(t, uint64(2), b.get("v").Status["epoch"])
	b.unmount("v", "id2")

	require.NoError(t, a.remove("v"))
	a.create("v")
	a.mount("v", "id3")
	assert.Equal(t, uint64(1), a.get("v").Status["epoch"], "its leases were removed with it")
	status, err := json.Marshal(a.get("v"))
	require.NoError(t, err)
	survey, err := json.Marshal(a.Survey())
	require.NoError(t, err)
	detail, err := a.Inspect(context.Background(), "v")
	require.NoError(t, err)
	detailed, err := json.Marshal(detail)
	require.NoError(t, err)

	require.NoError(t, server.Kill())
	refusal := b.refuseMount("v", "id4")
	assert.Contains(t, refusal, "ZooKeeper at zk://"+server.Address+"/mooring")
	a.crash()
	b.crash()
	writing.Lock()
	defer writing.Unlock()
	for _, shown := range []string{string(status), string(survey), string(detailed), refusal, log.String()} {
		assert.NotContains(t, shown, "verysecret")
	}
}

// A host that looks for leases in another place than the others is refused before it can write.
func TestAHostWithAnotherPlaceForLeasesIsRefused(t *testing.T) {
	server := zookeeper.Run(t)
	right := configure(t, "hostA", t.TempDir())
	keepLeases(t, &right, "zk://"+server.Address+"/right")
	a := start(t, right)
	a.create("v")
	a.mount("v", "id1")
	for leases, message := range map[string]string{
		"files":                             "keeps its leases in zookeeper, this host would look for them in files",
		"zk://" + server.Address + "/wrong": "the leases of this store are not in ZooKeeper at zk://" + server.Address + "/wrong",
	} {
		wrong := configure(t, "hostB", right.StoreDir)
		keepLeases(t, &wrong, leases)
		b := start(t, wrong)
		err := b.Create(context.Background(), &api.CreateRequest{Name: "v"})
		if err == nil {
			assert.Contains(t, b.refuseMount("v", "id2"), message)
		} else {
			assert.ErrorContains(t, err, message)
		}
		assert.False(t, b.mounted("v"))
		b.crash()
	}
}

func TestAWrongSettingForLeasesIsRefused(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Leases = "zk://mooring:verysecret@a:2181"
	_, err := plugin.Open(cfg)
	require.ErrorContains(t, err, "LEASES is neither files nor an address of ZooKeeper: its path")
	assert.NotContains(t, err.Error(), "verysecret")
}

// keepLeases tells a host where they are.
func keepLeases(t *testing.T, cfg *plugin.Config, address string) {
	cfg.Leases, cfg.Guard = address, &trusted{guard.Alone{Leases: address}}
	t.Cleanup(func() { require.NoError(t, cfg.Guard.Leave(context.Background())) })
}

func leaseFiles(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "mooring/volumes/*/lease.*"))
	require.NoError(t, err)
	hosts, err := os.ReadDir(filepath.Join(dir, "mooring/hosts"))
	require.NoError(t, err)
	for _, h := range hosts {
		found = append(found, h.Name())
	}
	return found
}
