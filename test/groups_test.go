package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
)

const twoGroups = `
groups:
- name: masters
  nodes: 1
  roles: [master]
  mesos-role: "*"
  constraints: ["rack is r1"]
- name: data
  nodes: 2
  roles: [data, ingest]
  mesos-role: search
  constraints: ["at most 1 per rack"]
  settings: {node.attr.box: large}
  data-volume-options: {size: 3g, fs: xfs}
`

// agents gives the first three hosts other agents for one story: two racks, one host that is reserved statically, one in part and
// dynamically.
func agents(t *testing.T) (dynamic, static *cell.Host) {
	t.Helper()
	ctx := within(t)
	dynamic, static = shared.Hosts[0], shared.Hosts[1]
	for i, to := range []cell.AgentOptions{
		{Attributes: "rack:r1"},
		{Attributes: "rack:r2", Resources: "cpus(search):2;mem(search):4096;disk:10000;ports(search):[9500-9599]"},
		{Attributes: "rack:r1"},
	} {
		h := shared.Hosts[i]
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
			defer cancel()
			require.NoError(t, h.Become(ctx, cell.AgentOptions{}))
		})
		require.NoError(t, h.Become(ctx, to))
	}
	require.NoError(t, dynamic.Reserve(ctx, "search", `[
		{"name":"cpus","type":"SCALAR","scalar":{"value":1}}, {"name":"mem","type":"SCALAR","scalar":{"value":1024}},
		{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":9350,"end":9359}]}}]`))
	return dynamic, static
}

// A dedicated master and data nodes go where their groups say, by rack and by role: what is reserved, statically or dynamically,
// is used first; volumes are of the size that the group's are. Each group is scaled by itself, what keeps a node waiting is named, and nothing is lost.
func TestStoryGroupsGoWhereTheyBelong(t *testing.T) {
	ctx := within(t)
	dynamic, static := agents(t)
	file := filepath.Join(t.TempDir(), "groups.yaml")
	require.NoError(t, os.WriteFile(file, []byte(twoGroups), 0o600))
	d := deployed(t, deploy.Options{Framework: "groups", Image: elasticsearch8, Flags: []string{"--role=*", "--role=search", "--max-per-host=2", "--groups=" + file}})
	nodes, err := d.AwaitNodes(ctx, 3)
	require.NoError(t, err)
	assert.Equal(t, []string{"masters", "data", "data"}, []string{nodes[0].Group, nodes[1].Group, nodes[2].Group})
	assert.Contains(t, []string{dynamic.Address, shared.Hosts[2].Address}, nodes[0].Place.Host, "rack r1")
	assert.ElementsMatch(t, []string{dynamic.Address, static.Address}, []string{nodes[1].Place.Host, nodes[2].Place.Host}, "what is reserved comes first")
	assert.Equal(t, []string{"groups2config", "groups2data"}, nodes[1].Volumes)
	want := map[string]map[string]float64{"STATIC": {"cpus": 0.5, "mem": 1024, "ports": 2}, "DYNAMIC": {"cpus": 0.5, "mem": 1024}}
	for kind, h := range map[string]*cell.Host{"STATIC": static, "DYNAMIC": dynamic} {
		used, err := h.Used(ctx)
		require.NoError(t, err)
		of := reserved(used, cell.Reservation{Type: kind, Role: "search"})
		if h == dynamic {
			delete(of, "ports") // the usual ones are taken where Mesos offers to this role what is not reserved, too
		}
		assert.Equal(t, want[kind], of, h.Name)
	}
	assert.Equal(t, map[string]string{"groups1": "m", "groups2": "di", "groups3": "di"}, elasticsearchRoles(t, d, nodes[0]))
	for i, want := range []string{"data image 100GiB ext4", "data image 3GiB xfs", "data image 3GiB xfs"} {
		assert.Equal(t, want, docker(t, host(t, nodes[i].Place.Host), "volume", "inspect", "--format", "{{.Status.class}} {{.Status.backend}} {{.Status.size}} {{.Status.fs}}", nodes[i].Volumes[1]))
		assert.Equal(t, "config dir", docker(t, host(t, nodes[i].Place.Host), "volume", "inspect", "--format", "{{.Status.class}} {{.Status.backend}}", nodes[i].Volumes[0]), "the options are those of the data volume")
	}
	l := write(t, d, 2)

	_, err = d.Operate(ctx, "scale", "3", "--group=data")
	require.NoError(t, err)
	await(t, "the reason", func() error {
		nodes, err = d.Nodes(ctx)
		if err == nil && !(strings.Contains(nodes[len(nodes)-1].Waits, "of a rack with 1 node(s) already") && strings.Contains(nodes[len(nodes)-1].Waits, "without attribute rack")) {
			err = fmt.Errorf("the last node is %+v", nodes[len(nodes)-1])
		}
		return err
	})
	_, err = d.Operate(ctx, "scale", "0", "--group=masters")
	require.ErrorContains(t, err, "no node that can be elected master would be left")

	require.NoError(t, d.Kill())
	require.NoError(t, d.Start(ctx))
	_, err = d.Operate(ctx, "scale", "2", "--group=data")
	require.NoError(t, err)
	require.NoError(t, d.Order(ctx, 3, "restart"))
	require.NoError(t, d.AwaitRelaunch(ctx, nodes[2]))
	require.NoError(t, d.AwaitCluster(ctx, 3, "green"))
	again, err := d.Nodes(ctx)
	require.NoError(t, err)
	assert.Equal(t, []any{"data", nodes[2].Place.Host, "data"}, []any{again[2].Group, again[2].Place.Host, again[3].Group})
	var status string
	await(t, "all to be well", func() error { status, err = d.Operate(ctx, "status"); return err }) // it hears of the cluster's health now and then
	assert.Contains(t, status, "group masters: 1 of 1 nodes are ready\n")
	assert.Regexp(t, `\ngroups1data +1 +100g .*\n(.*\n)?groups2data +2 +3g `, status)
	t.Log(status)
	audit(t, l)
}

// reserved adds up what is used of what is reserved in one way; of ports it counts them.
func reserved(used []cell.Resource, how cell.Reservation) map[string]float64 {
	sum := map[string]float64{}
	for _, r := range used {
		if !slices.Contains(r.Reservations, how) {
			continue
		}
		if r.Scalar != nil {
			sum[r.Name] += r.Scalar.Value
		}
		if r.Ranges != nil {
			for _, ports := range r.Ranges.Range {
				sum[r.Name] += float64(ports.End - ports.Begin + 1)
			}
		}
	}
	return sum
}

// elasticsearchRoles asks Elasticsearch for the roles of its nodes, one letter each. The one that is asked has to be the master.
func elasticsearchRoles(t *testing.T, d *deploy.Deployment, n deploy.Node) map[string]string {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+n.HTTP()+"/_cat/nodes?h=name,node.role,master&format=json", nil)
	require.NoError(t, err)
	response, err := d.Client().Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var nodes []struct {
		Name   string `json:"name"`
		Roles  string `json:"node.role"`
		Master string `json:"master"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&nodes))
	roles := map[string]string{}
	for _, node := range nodes {
		roles[node.Name] = node.Roles
		assert.Equal(t, node.Name == fmt.Sprintf("groups%d", n.ID), node.Master == "*", "%s", node.Name)
	}
	return roles
}
