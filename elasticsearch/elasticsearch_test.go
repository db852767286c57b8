package elasticsearch_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/elasticsearch"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

func node() elasticsearch.Node {
	return elasticsearch.Node{
		Cluster: "logs", Name: "elasticsearch2", Host: "10.0.0.7", HTTPPort: 31000, TransportPort: 31001,
		DataPath: "/data/elasticsearch", LogsPath: "/data/logs",
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestSettings(t *testing.T) {
	first := node()
	first.InitialMasters = []string{"elasticsearch1", "elasticsearch2", "elasticsearch3"}
	users := node()
	users.Cluster = `a "cluster": # {of} 'odd' characters`
	users.More = map[string]string{
		"xpack.security.enabled":           "true",
		"indices.memory.index_buffer_size": "20%",
		"node.attr.rack":                   "r1: yes",
		"node.roles":                       "master,data",
	}
	for name, n := range map[string]elasticsearch.Node{"joined": node(), "first": first, "users": users} {
		for _, version := range []string{"7.17.28", "8.19.5", "9.2.0"} {
			t.Run(name+"-"+version, func(t *testing.T) {
				v, err := elasticsearch.ParseVersion(version)
				require.NoError(t, err)
				got, err := v.Settings(n)
				require.NoError(t, err)
				golden(t, name+".yml", got)
			})
		}
	}
}

func TestSettingsRefused(t *testing.T) {
	for key, want := range map[string]string{
		"path.data":                        `setting "path.data" of Elasticsearch is made by Mooring itself: leave it out`,
		"cluster.initial_master_nodes.0":   `setting "cluster.initial_master_nodes.0" of Elasticsearch is made by Mooring itself: leave it out`,
		"discovery":                        `setting "discovery" of Elasticsearch is made by Mooring itself: leave it out`,
		"a b":                              `setting "a b" of Elasticsearch: write the name with dots, as in indices.memory.index_buffer_size`,
		"x: y\ncluster.name":               `setting "x: y\ncluster.name" of Elasticsearch: write the name with dots, as in indices.memory.index_buffer_size`,
		"discovery.zen.ping.unicast.hosts": `setting "discovery.zen.ping.unicast.hosts" of Elasticsearch is made by Mooring itself: leave it out`,
	} {
		assert.EqualError(t, elasticsearch.CheckSettings(map[string]string{key: "x"}), want)
		n := node()
		n.More = map[string]string{key: "x"}
		_, err := elasticsearch.Version{Major: 8}.Settings(n)
		assert.Error(t, err)
	}
	assert.NoError(t, elasticsearch.CheckSettings(map[string]string{"node.attr.rack": "r1", "http.max_content_length": "1mb"}))
}

func TestVersions(t *testing.T) {
	parse := func(text string) elasticsearch.Version {
		v, err := elasticsearch.ParseVersion(text)
		require.NoError(t, err)
		return v
	}
	require.Equal(t, elasticsearch.Version{Major: 9, Minor: 2}, parse("9.2.0-SNAPSHOT"))
	require.Equal(t, "8.19.5", parse("8.19.5").String())
	for _, bad := range []string{"", "8", "8.19", "v8.19.5", "8.19.5.1", "99999999999999999999.0.0"} {
		_, err := elasticsearch.ParseVersion(bad)
		require.ErrorContains(t, err, "write it as 8.19.5", bad)
	}
	for _, good := range []string{"7.7.0", "7.17.28", "8.0.0", "9.9.9"} {
		require.NoError(t, parse(good).Check())
	}
	for _, bad := range []string{"2.4.6", "6.8.23", "7.6.2", "10.0.0"} {
		require.EqualError(t, parse(bad).Check(), "version "+bad+" of Elasticsearch is not supported: use 7.7 or later, 8 or 9")
	}
	assert.True(t, parse("7.17.28").Less(parse("8.0.0")))
	assert.True(t, parse("8.9.0").Less(parse("8.19.0")))
	assert.False(t, parse("8.19.5").Less(parse("8.19.5")))
}

func TestFindVersion(t *testing.T) {
	v, err := elasticsearch.FindVersion(fstest.MapFS{
		"lib/elasticsearch-cli-8.19.5.jar": {}, "lib/elasticsearch-8.19.5.jar": {}, "lib/elasticsearch-core-8.19.5.jar": {},
	})
	require.NoError(t, err)
	require.Equal(t, elasticsearch.Version{Major: 8, Minor: 19, Patch: 5}, v)

	_, err = elasticsearch.FindVersion(fstest.MapFS{"lib/lucene-core.jar": {}})
	require.EqualError(t, err, "no lib/elasticsearch-VERSION.jar in the image: use an image of Elasticsearch")
	_, err = elasticsearch.FindVersion(fstest.MapFS{"bin/sh": {}})
	require.ErrorContains(t, err, "look for Elasticsearch's libraries")
}

func TestHeap(t *testing.T) {
	assert.NoError(t, elasticsearch.CheckHeap(512, 1024))
	assert.EqualError(t, elasticsearch.CheckHeap(513, 1024), "heap of 513 MB does not fit into 1024 MB of memory: use at most half of it, 512 MB")
	assert.EqualError(t, elasticsearch.CheckHeap(31744, 1<<20), "heap of 31744 MB: use less than 31744 MB, more would make every pointer twice as large")
	assert.EqualError(t, elasticsearch.CheckHeap(0, 1024), "heap of 0 MB: use at least 1 MB, in practice 128 MB or more")
}

func TestJVMOptions(t *testing.T) {
	options := []string{"-XX:-UseG1GC", "-XX:+UseSerialGC"}
	require.NoError(t, elasticsearch.CheckJavaOptions(options))
	require.Equal(t, elasticsearch.Header+"\n-Xms128m\n-Xmx128m\n-XX:-UseG1GC\n-XX:+UseSerialGC\n",
		string(elasticsearch.JVMOptions(128, options)))
	require.Equal(t, elasticsearch.Header+"\n-Xms1024m\n-Xmx1024m\n", string(elasticsearch.JVMOptions(1024, nil)))
	for _, bad := range []string{"", "UseSerialGC", "-Da=b\n-Xmx9g", "-Xmx9g", "-Xms1m"} {
		require.Error(t, elasticsearch.CheckJavaOptions([]string{bad}), bad)
	}
}

func TestSeeds(t *testing.T) {
	require.Equal(t, elasticsearch.Header+"\n10.0.0.1:31001\n[fd00::2]:31001\n", string(elasticsearch.Seeds([]string{"10.0.0.1:31001", "[fd00::2]:31001"})))
	require.Equal(t, elasticsearch.Header+"\n", string(elasticsearch.Seeds(nil)))
}
