package groups_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/mistake"
	"mooring/scheduler/groups"
)

func rules() coordinator.Rules {
	return coordinator.Rules{
		CPUs: 1000, MemoryMB: 2048, Roles: []string{"*", "hot"}, Require: map[string]string{"disk": "fast"},
		Settings: coordinator.Settings{
			Cluster: "logs", Image: "e", Driver: "mooring", HeapMB: 1024, JavaOptions: []string{"-Da=1"},
			Elasticsearch: map[string]string{"a.b": "1", "c.d": "1", "node.roles": "master"}, DriverOptions: map[string]string{"trash": "1h"},
		},
	}
}

func TestGroupsAreRead(t *testing.T) {
	got, err := groups.Parse([]byte(`
# who is elected
groups:
- name: masters
  nodes: 3
  cpus: 0.5
  memory: 1024
  roles: [master]
  constraints:
  - spread over @zone
  - at most 1 per @host
- name: data
  nodes: 2
  memory: 8192
  heap: 3000
  roles: [data, ingest]
  mesos-role: hot
  settings: {c.d: "2", node.attr.box: warm}
  java-options: ["-Xss1m"]
  volume-options: {takeover: manual}
  data-volume-options: {size: 500g}
- name: front
  nodes: 0
  roles: []
- {name: same-as-flags, nodes: 1}
`), rules())
	require.NoError(t, err)
	base := rules().Settings
	masters, data, front := base, base, base
	masters.HeapMB, masters.Roles = 512, []string{"master"}
	masters.Elasticsearch = map[string]string{"a.b": "1", "c.d": "1"}
	data.HeapMB, data.Roles, data.JavaOptions = 3000, []string{"data", "ingest"}, []string{"-Xss1m"}
	data.Elasticsearch = map[string]string{"a.b": "1", "c.d": "2", "node.attr.box": "warm"}
	data.DriverOptions, data.DataOptions = map[string]string{"trash": "1h", "takeover": "manual"}, map[string]string{"size": "500g"}
	front.Roles, front.Elasticsearch = []string{}, masters.Elasticsearch
	assert.Equal(t, []coordinator.Group{
		{Name: "masters", Nodes: 3, CPUs: 500, MemoryMB: 1024, Settings: masters, Constraints: []coordinator.Constraint{
			{Attribute: "@zone", Kind: coordinator.Spread}, {Attribute: "@host", Kind: coordinator.AtMost, Max: 1},
		}},
		{Name: "data", Nodes: 2, CPUs: 1000, MemoryMB: 8192, Role: "hot", Settings: data, NeverMaster: true},
		{Name: "front", CPUs: 1000, MemoryMB: 2048, Settings: front, NeverMaster: true},
		{Name: "same-as-flags", Nodes: 1, CPUs: 1000, MemoryMB: 2048, Settings: base},
	}, got)
	assert.Equal(t, map[string]string{"trash": "1h", "takeover": "manual", "size": "500g"}, data.VolumeOptions(coordinator.Data))
	assert.Equal(t, map[string]string{"trash": "1h", "takeover": "manual"}, data.VolumeOptions(coordinator.Config))
	assert.Equal(t, rules(), func() coordinator.Rules {
		r := rules()
		_, _ = groups.Parse([]byte("groups: [{name: a, nodes: 1, settings: {x.y: z}}]"), r)
		return r
	}(), "the default group stays as it is")
}

func TestAllMistakesAreSaidAtOnce(t *testing.T) {
	_, err := groups.Parse([]byte(`groups:
- name: Data
  nodes: -1
  cpus: 0.1
  memory: 1000
  heap: 600
  roles: [boss, voting_only]
  mesos-role: cold
  constraints: [rack = r1, at most 0 per rack]
  java-options: [-Xmx1g]
  settings: {node.name: x, node.roles: data}
- name: default
  nodes: 1
- name: data
  nodes: many
  colour: red
- name: data
  nodes: 1
- nodes: 1
- name: idle
`), rules())
	require.Error(t, err)
	var mistakes mistake.List
	require.ErrorAs(t, err, &mistakes)
	for line, texts := range map[int][]string{
		2:  {`name "Data": use a lower-case letter`},
		3:  {"nodes -1: use 0 to 10000"},
		4:  {"cpus 0.1: use at least 0.2"},
		6:  {"heap of 600 MB does not fit into 1000 MB of memory"},
		7:  {`role "boss" of Elasticsearch is unknown`, `role "voting_only" goes with role "master" only`},
		8:  {`mesos-role "cold": the framework has *, hot; give it with --role, too`},
		9:  {`constraint "rack = r1" is not understood`, `constraint "at most 0 per rack": use at least 1`},
		10: {`option "-Xmx1g" for Java`},
		11: {`setting "node.name" of Elasticsearch is made by Mooring itself`, `setting "node.roles" of Elasticsearch, and roles are given`},
		12: {`name "default" is that of the group which the options`},
		15: {"cannot unmarshal !!str `many` into int"},
		16: {`key "colour" is unknown: a group has name, nodes, cpus`},
		17: {"group data was there before"},
		19: {`name "": use a lower-case letter`},
		20: {"group idle without nodes"},
	} {
		for _, text := range texts {
			assert.Condition(t, func() bool {
				for _, m := range mistakes {
					if m.Line == line && len(m.Text) >= len(text) && m.Text[:len(text)] == text {
						return true
					}
				}
				return false
			}, "line %d: %s in %v", line, text, err)
		}
	}
	assert.IsNonDecreasing(t, linesOf(mistakes))
	for text, says := range map[string]string{
		"":           "no groups: the file begins with",
		"groups: []": "no groups: the file begins with",
		"groups: [{name: a, nodes: 1}]\n---\nx: 1": "line 2: a second document",
		"groups: 3":                    "cannot unmarshal",
		"a: [":                         "not YAML: line 1",
		"group: [{name: a}]":           `line 1: key "group" is unknown: the file has groups only`,
		"groups: [{name: a, name: b}]": "already defined",
	} {
		_, err := groups.Parse([]byte(text), rules())
		assert.ErrorContains(t, err, says, text)
	}
}

func linesOf(mistakes mistake.List) []int {
	var lines []int
	for _, m := range mistakes {
		lines = append(lines, m.Line)
	}
	return lines
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("groups:\n- {name: a, nodes: 1, roles: [], cpus: .nan, constraints: [same x]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := groups.Parse(data, rules())
		if err == nil {
			assert.NotEmpty(t, got)
		}
	})
}
