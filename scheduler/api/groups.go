package api

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"mooring/coordinator"
	"mooring/scheduler"
)

const groupForm = `use {"value": n} with n from 0 to 10000`

// Group is an element of the answer to GET /v1/groups. What the scheduler was told of it is left out if it was told nothing.
type Group struct {
	Name        string               `json:"name"`
	Described   bool                 `json:"described"` // the scheduler was told what its nodes need; otherwise none is launched
	Target      int                  `json:"target"`
	Ready       int                  `json:"ready"` // nodes that have joined the cluster
	Nodes       []coordinator.NodeID `json:"nodes"`
	CPUs        float64              `json:"cpus,omitempty"`
	MemoryMB    int64                `json:"memory_mb,omitempty"`
	HeapMB      int64                `json:"heap_mb,omitempty"`
	Roles       []string             `json:"elasticsearch_roles,omitzero"` // none given: all that Elasticsearch gives by itself
	MesosRole   string               `json:"mesos_role,omitempty"`
	Constraints []string             `json:"constraints,omitempty"`
}

func (a *server) groups(*http.Request) (any, error) {
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	return groupsOf(v), nil
}

// groupsOf are all groups that have nodes, or may have some, the default one first.
func groupsOf(v scheduler.View) []Group {
	names := map[string]bool{}
	for name := range v.State.Groups {
		names[name] = true
	}
	for _, g := range v.Rules.Groups {
		names[g.Name] = true
	}
	var groups []Group
	for _, name := range append([]string{""}, slices.Sorted(maps.Keys(names))...) {
		groups = append(groups, groupOf(v, name))
	}
	return groups
}

func groupOf(v scheduler.View, name string) Group {
	g := Group{Name: cmp.Or(name, coordinator.DefaultGroup), Target: v.State.TargetOf(name), Nodes: []coordinator.NodeID{}}
	for _, n := range v.State.Nodes {
		if n.Group == name {
			g.Nodes = append(g.Nodes, n.ID)
			g.Ready += int(flag(n.Ready))
		}
	}
	if told := v.Rules.Group(name); told != nil {
		g.Described, g.CPUs, g.MemoryMB, g.HeapMB = true, float64(told.CPUs)/1000, told.MemoryMB, told.Settings.HeapMB
		g.Roles, g.MesosRole, g.Constraints = told.Settings.Roles, told.Role, constraintsOf(told.Constraints)
	}
	return g
}

// groupIn is the group that a request is about, by the name that the state knows it by.
func (a *server) groupIn(r *http.Request) (scheduler.View, string, error) {
	v, err := a.view()
	if err != nil {
		return v, "", err
	}
	var known []string
	for _, g := range groupsOf(v) {
		if known = append(known, g.Name); g.Name == r.PathValue("group") {
			return v, nameInState(g.Name), nil
		}
	}
	return v, "", problem{http.StatusNotFound, fmt.Sprintf("group %q: there are %s", r.PathValue("group"), strings.Join(known, ", "))}
}

func nameInState(name string) string {
	if name == coordinator.DefaultGroup {
		return ""
	}
	return name
}

func (a *server) group(r *http.Request) (any, error) {
	v, name, err := a.groupIn(r)
	if err != nil {
		return nil, err
	}
	return groupOf(v, name), nil
}

// scaleGroup sets how many nodes of a group are wanted. Somebody must remain who can be elected.
func (a *server) scaleGroup(r *http.Request) (any, error) {
	v, name, err := a.groupIn(r)
	if err != nil {
		return nil, err
	}
	n, err := number(r, 0, groupForm)
	if err != nil {
		return nil, err
	}
	if err := a.installed(); err != nil {
		return nil, err
	}
	if n == 0 && electable(v, name) == 0 {
		return nil, problem{http.StatusConflict, fmt.Sprintf("no node that can be elected master would be left without group %s: use at least 1", r.PathValue("group"))}
	}
	if err := a.apply(r, coordinator.Scale{At: now(), Group: name, Target: n}); err != nil {
		return nil, err
	}
	return groupOf(a.scheduler.View(), name), nil
}

// electable counts the wanted nodes that can be elected master, one group left out.
func electable(v scheduler.View, but string) int {
	count := 0
	for _, name := range append(slices.Collect(maps.Keys(v.State.Groups)), "") {
		if g := v.Rules.Group(name); name != but && g != nil && !g.NeverMaster {
			count += v.State.TargetOf(name)
		}
	}
	return count
}

// problemsOfGroups are those of groups that the scheduler was not told of, though nodes of them are wanted.
func problemsOfGroups(v scheduler.View) []Problem {
	var all []Problem
	for _, name := range slices.Sorted(maps.Keys(v.State.Groups)) {
		if v.State.Groups[name] > 0 && v.Rules.Group(name) == nil {
			all = append(all, Problem{
				What: fmt.Sprintf("group %s is not described any more: its nodes run on, but none of them is launched", name),
				Do:   fmt.Sprintf("describe it in the file of --groups and start the scheduler again, or want none of it: `mooring scale 0 --group=%s`", name),
			})
		}
	}
	return all
}
