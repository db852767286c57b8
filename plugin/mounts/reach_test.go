package mounts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/mounts"
)

// procEntry writes what a proc file system would say of one process.
func procEntry(t *testing.T, proc, pid, namespace, table string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(proc, pid, "ns"), 0o755))
	require.NoError(t, os.Symlink("mnt:["+namespace+"]", filepath.Join(proc, pid, "ns", "mnt")))
	require.NoError(t, os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(table), 0o644))
}

const (
	pluginRoot = "20 1 254:0 /docker/plugins/abc/rootfs / rw - ext4 /dev/vda rw\n"
	propagated = "30 20 254:0 /docker/plugins/abc/propagated-mount /mnt/volumes rw shared:56 - ext4 /dev/vda rw\n"
	engineRoot = "1 0 254:0 / / rw - ext4 /dev/vda rw\n"
	engineSide = "31 1 254:0 /docker/plugins/abc/propagated-mount /var/lib/docker/plugins/abc/propagated-mount rw shared:56 - ext4 /dev/vda rw\n"
	otherGroup = "31 1 254:0 /x /var/lib/docker/plugins/abc/propagated-mount rw shared:5 - ext4 /dev/vda rw\n"
)

func TestReaches(t *testing.T) {
	for name, c := range map[string]struct {
		self, engine string
		want         bool
	}{
		"engine has the peer":             {pluginRoot + propagated, engineRoot + engineSide, true},
		"engine has lost it":              {pluginRoot + propagated, engineRoot, false},
		"engine has another one":          {pluginRoot + propagated, engineRoot + otherGroup, false},
		"plain process":                   {engineRoot + propagated, engineRoot, true},
		"nothing can be read but oneself": {pluginRoot + propagated, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			procEntry(t, proc, "self", "1", c.self)
			procEntry(t, proc, "7", "1", c.self)
			if c.engine != "" {
				procEntry(t, proc, "8", "2", c.engine)
			}
			got, err := mounts.Reaches(proc, "/mnt/volumes")
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestApart(t *testing.T) {
	const (
		private = "1 0 254:0 / / rw - ext4 /dev/vda rw\n"
		shared  = "1 0 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
		slave   = "1 0 254:0 / / rw master:1 - ext4 /dev/vda rw\n"
		below   = "2 1 254:1 / /var rw shared:7 - ext4 /dev/vdb rw\n"
	)
	for name, c := range map[string]struct {
		self, namespace, host string
		want                  bool
	}{
		"the host's namespace":                {private, "1", private, false},
		"a namespace of its own":              {private, "2", private, true},
		"one that hears the host, as systemd": {slave, "2", shared, true},
		"one that the host hears":             {shared, "2", slave, false},
		"a peer of the host's":                {shared + below, "2", private + below, false},
		"shared, but not with the host":       {shared + below, "2", shared, true},
		"a managed plugin":                    {pluginRoot, "2", private, false},
		"the host cannot be looked at":        {private, "2", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			procEntry(t, proc, "self", c.namespace, c.self)
			if c.host != "" {
				procEntry(t, proc, "1", "1", c.host)
			}
			got, err := mounts.Apart(proc, "/var/lib/mooring-mounts")
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}
