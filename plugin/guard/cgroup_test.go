package guard

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The guard leaves the group that ends with the plugin, and stays in the part of the machine that it belongs to.
func TestTheGuardsGroup(t *testing.T) {
	for path, want := range map[string]string{
		"/":                                  "/mooring-guard-h",
		"/docker/4711":                       "/docker/mooring-guard-h",
		"/system.slice/mooring.service":      "/system.slice/mooring-guard-h",
		"/cell/host1/plugins/4711":           "/cell/host1/plugins/mooring-guard-h",
		"/mesos/5aa9":                        "/mooring-guard-h",
		"/mesos/5aa9/mesos/task":             "/mooring-guard-h",
		"/cell/host1/mesos/5aa9":             "/cell/host1/mooring-guard-h",
		"/system.slice/mesos-master.service": "/system.slice/mooring-guard-h",
		"/docker/mooring-guard-h":            "/docker/mooring-guard-h",
		"/docker/mooring-guard-other":        "/docker/mooring-guard-h",
	} {
		assert.Equal(t, want, hierarchy{path: path}.beside("h"), path)
	}
}
