package elasticsearch

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRolesAreWrittenForTheVersion(t *testing.T) {
	for name, c := range map[string]struct {
		version Version
		roles   []string
		has     []string
	}{
		"by itself":      {Version{8, 19, 5}, nil, nil},
		"one":            {Version{8, 19, 5}, []string{"master"}, []string{`node.roles: ["master"]`}},
		"several":        {Version{9, 0, 0}, []string{"data_hot", "ingest"}, []string{`node.roles: ["data_hot","ingest"]`}},
		"coordinating":   {Version{7, 9, 0}, []string{}, []string{`node.roles: []`}},
		"of a time ago":  {Version{7, 8, 1}, []string{"data", "ingest"}, []string{"node.master: false", "node.data: true", "node.ingest: true", "node.ml: false", "node.voting_only: false", "node.transform: false", "cluster.remote.connect: false"}},
		"coordinating 7": {Version{7, 7, 0}, []string{}, []string{"node.master: false", "node.data: false"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := c.version.Settings(Node{Cluster: "c", Name: "n", Roles: c.roles})
			require.NoError(t, err)
			if c.has == nil {
				assert.NotContains(t, string(text), "node.roles")
				assert.NotContains(t, string(text), "node.master")
			}
			for _, line := range c.has {
				assert.Contains(t, string(text), line+"\n")
			}
		})
	}
	_, err := Version{7, 9, 3}.Settings(Node{Roles: []string{"data_hot"}})
	assert.EqualError(t, err, `role "data_hot" of Elasticsearch is there from 7.10.0 on, this is 7.9.3`)
	_, err = Version{8, 0, 0}.Settings(Node{Roles: []string{"master"}, More: map[string]string{"node.roles": "data", "node.ml": "true"}})
	assert.ErrorContains(t, err, `setting "node.roles" of Elasticsearch, and roles are given`)
	assert.ErrorContains(t, err, `setting "node.ml" of Elasticsearch, and roles are given`)
}

func TestRolesThatMakeNoSenseAreNamed(t *testing.T) {
	require.NoError(t, CheckRoles(nil))
	require.NoError(t, CheckRoles([]string{"master", "voting_only", "data_frozen"}))
	err := CheckRoles([]string{"boss", "voting_only", "data", "data"})
	assert.ErrorContains(t, err, `role "boss" of Elasticsearch is unknown: use data, data_cold`)
	assert.ErrorContains(t, err, `role "data" is given twice`)
	assert.ErrorContains(t, err, `role "voting_only" goes with role "master" only`)
}

func TestWhoCanBeElected(t *testing.T) {
	for _, c := range []struct {
		roles []string
		more  map[string]string
		want  bool
	}{
		{nil, nil, true},
		{nil, map[string]string{"node.roles": "data,ingest"}, false},
		{nil, map[string]string{"node.roles": `[ "master", data ]`}, true},
		{nil, map[string]string{"node.roles": ""}, false},
		{nil, map[string]string{"node.master": "false"}, false},
		{nil, map[string]string{"node.master": "true"}, true},
		{[]string{}, nil, false},
		{[]string{"master", "data"}, nil, true},
		{[]string{"data"}, nil, false},
		{[]string{"master", "voting_only"}, nil, false},
	} {
		assert.Equal(t, c.want, CanBeElected(c.roles, c.more), "%v %v", c.roles, c.more)
	}
}
