package node

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/elasticsearch"
)

func TestCheck(t *testing.T) {
	task := coordinator.Task{Framework: "elasticsearch", Node: 2, Epoch: 5}
	joined := task
	joined.Joined, joined.ClusterUUID = true, "U1"
	mine := func(change func(*marker)) *marker {
		m := &marker{Framework: "elasticsearch", Node: 2, Epoch: 4, Joined: true, Cluster: "U1", Version: "8.19.5"}
		change(m)
		return m
	}
	same := func(*marker) {}
	image := elasticsearch.Version{Major: 8, Minor: 19, Patch: 5}

	for _, c := range []struct {
		name         string
		task         coordinator.Task
		config, data *marker
		want         string // empty: may start
		fault        coordinator.Fault
	}{
		{"first start ever", task, nil, nil, "", 0},
		{"first start repeated", task, mine(func(m *marker) { m.Joined = false }), mine(func(m *marker) { m.Joined = false }), "", 0},
		{"joined, with its data", joined, mine(same), mine(same), "", 0},
		{"same launch again", joined, nil, mine(func(m *marker) { m.Epoch = 5 }), "", 0},
		{"scheduler forgot that it joined", task, mine(same), mine(same), "", 0},
		{"new config volume", joined, nil, mine(same), "", 0},
		{"newer image", joined, nil, mine(func(m *marker) { m.Version = "7.17.28" }), "", 0},
		{"joined, empty volume", joined, mine(same), nil,
			"volume elasticsearch2data is empty but node 2 has joined cluster U1 before: bring its data back, or give it up with `mooring nodes forgive 2`", coordinator.FaultRefused},
		{"joined, volume never joined", joined, nil, mine(func(m *marker) { m.Joined = false }),
			"volume elasticsearch2data is empty but node 2 has joined cluster U1 before: bring its data back, or give it up with `mooring nodes forgive 2`", coordinator.FaultRefused},
		{"other node's data", task, nil, mine(func(m *marker) { m.Node = 3 }),
			"volume elasticsearch2data belongs to node 3 of framework elasticsearch: give node 2 of elasticsearch its own volume back", coordinator.FaultRefused},
		{"other framework's config", task, mine(func(m *marker) { m.Framework = "logs" }), nil,
			"volume elasticsearch2config belongs to node 2 of framework logs: give node 2 of elasticsearch its own volume back", coordinator.FaultRefused},
		{"used by a later launch", joined, nil, mine(func(m *marker) { m.Epoch = 6 }),
			"volume elasticsearch2data was used by launch 6 of node 2, this is only launch 5: the scheduler works with an old state, restore the newer one", coordinator.FaultRefused},
		{"other cluster", joined, nil, mine(func(m *marker) { m.Cluster = "U2" }),
			"volume elasticsearch2data belongs to cluster U2 but node 2 must join cluster U1: bring the right volume back", coordinator.FaultRefused},
		{"older image", joined, nil, mine(func(m *marker) { m.Version = "9.2.0" }),
			"volume elasticsearch2data was written by Elasticsearch 9.2.0, which 8.19.5 cannot read: use an image of 9.2.0 or later", coordinator.FaultNode},
	} {
		err := check(c.task, c.config, c.data, image)
		if c.want == "" {
			assert.NoError(t, err, c.name)
			continue
		}
		assert.EqualError(t, err, c.want, c.name)
		assert.Equal(t, c.fault, fault(err), c.name)
	}
}

func TestComplaint(t *testing.T) {
	for output, want := range map[string]string{
		"all fine\n": "",
		"[ERROR] fatal exception\njava.lang.IllegalArgumentException: unknown setting [no.such.setting]\n\tat org.elasticsearch.x.Exception(Y.java:1)\nERROR: Elasticsearch did not exit normally - check the logs at /data/logs/x.log\n": "java.lang.IllegalArgumentException: unknown setting [no.such.setting]",
		"ERROR: not ended": "",
	} {
		c := &complaint{}
		for i := range len(output) { // in pieces of one byte
			_, err := c.Write([]byte(output[i : i+1]))
			require.NoError(t, err)
		}
		assert.Equal(t, want, c.String(), output)
	}
	c := &complaint{}
	long := make([]byte, 1<<20)
	_, err := c.Write(long)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(c.rest), maxComplaint)
}
