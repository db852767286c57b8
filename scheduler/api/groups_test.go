package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/api"
)

// grouped has a node of a group that is described, and one of a group that is not any more.
func grouped() *fake {
	f := newFake()
	s := &f.view.State
	s.Groups = map[string]int{"data": 1, "old": 1}
	s.Nodes = append(s.Nodes,
		coordinator.Node{ID: 4, Group: "data", Phase: coordinator.Running, Ready: true}, coordinator.Node{ID: 5, Group: "old", Phase: coordinator.Running},
	)
	f.view.Rules.Groups = []coordinator.Group{
		{Name: "data", CPUs: 2500, MemoryMB: 4096, Role: "hot", NeverMaster: true, Constraints: []coordinator.Constraint{{Attribute: "rack", Kind: coordinator.AtMost, Max: 1}},
			Settings: coordinator.Settings{HeapMB: 2048, Roles: []string{"data"}}},
		{Name: "next", CPUs: 1000, MemoryMB: 1024, Settings: coordinator.Settings{HeapMB: 512, Roles: []string{}}},
	}
	return f
}

func TestGroupsAreShown(t *testing.T) {
	var groups []api.Group
	get(t, grouped(), "/v1/groups", &groups)
	assert.Equal(t, []api.Group{
		{Name: "default", Described: true, Target: 3, Ready: 1, Nodes: []coordinator.NodeID{1, 2, 3}, CPUs: 1.5, MemoryMB: 2048},
		{Name: "data", Described: true, Target: 1, Ready: 1, Nodes: []coordinator.NodeID{4}, CPUs: 2.5, MemoryMB: 4096, HeapMB: 2048, Roles: []string{"data"},
			MesosRole: "hot", Constraints: []string{"at most 1 per rack"}},
		{Name: "next", Described: true, Nodes: []coordinator.NodeID{}, CPUs: 1, MemoryMB: 1024, HeapMB: 512, Roles: []string{}},
		{Name: "old", Target: 1, Nodes: []coordinator.NodeID{5}},
	}, groups)
	var one api.Group
	get(t, grouped(), "/v1/groups/data", &one)
	assert.Equal(t, groups[1], one)
	var status api.Status
	get(t, grouped(), "/v1/status", &status)
	assert.Equal(t, []any{5, groups}, []any{status.Target, status.Groups})
	assert.Contains(t, status.Problems, api.Problem{
		What: "group old is not described any more: its nodes run on, but none of them is launched",
		Do:   "describe it in the file of --groups and start the scheduler again, or want none of it: `mooring scale 0 --group=old`",
	})
	status = api.Status{}
	get(t, newFake(), "/v1/status", &status)
	assert.Empty(t, status.Groups, "there is only the default one")
	_, metrics := ask(t, grouped(), "GET", "/metrics", "")
	assert.Contains(t, metrics, `mooring_group_wanted{group="default"} 3`)
	assert.Contains(t, metrics, `mooring_group_ready{group="data"} 1`)
	assert.Contains(t, metrics, "mooring_nodes_wanted 5\n")
}

func TestAGroupIsScaled(t *testing.T) {
	for group, want := range map[string]coordinator.Scale{
		"data": {Group: "data", Target: 7}, "old": {Group: "old", Target: 7}, "next": {Group: "next", Target: 7}, "default": {Target: 7},
	} {
		f := grouped()
		status, body := ask(t, f, "PUT", "/v1/groups/"+group, `{"value":7}`)
		require.Equal(t, http.StatusOK, status, body)
		require.Len(t, f.orders, 1)
		got := f.orders[0].(coordinator.Scale)
		got.At = want.At
		assert.Equal(t, want, got)
	}
	f := grouped()
	status, body := ask(t, f, "PUT", "/v1/groups/data", `0`)
	assert.Equal(t, http.StatusOK, status, body)
}

func TestAGroupIsNotScaledToNonsense(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"unknown":   {"/v1/groups/nodes", "1", http.StatusNotFound, `group \"nodes\": there are default, data, next, old`},
		"negative":  {"/v1/groups/data", "-1", http.StatusBadRequest, "number of nodes -1: use"},
		"too many":  {"/v1/groups/data", "10001", http.StatusBadRequest, "with n from 0 to 10000"},
		"no number": {"/v1/groups/data", `{"nodes":1}`, http.StatusBadRequest, "with n from 0 to 10000"},
		"headless":  {"/v1/groups/default", "0", http.StatusConflict, "no node that can be elected master would be left without group default: use at least 1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := grouped()
			status, body := ask(t, f, "PUT", c.path, c.body)
			assert.Equal(t, c.status, status)
			assert.Contains(t, body, c.says)
			assert.Empty(t, f.orders)
		})
	}
	f := grouped()
	f.view.State.Groups["next"] = 1
	status, body := ask(t, f, "PUT", "/v1/groups/default", "0")
	assert.Equal(t, http.StatusOK, status, body)
	f.view.State.Removal = coordinator.Stopping
	status, _ = ask(t, f, "PUT", "/v1/groups/data", "2")
	assert.Equal(t, http.StatusConflict, status)
}
