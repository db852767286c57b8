package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/api"
)

// scriptedScheduler decides as the real one does and launches nothing.
type scriptedScheduler struct{ view scheduler.View }

func (s *scriptedScheduler) View() scheduler.View { return s.view }

func (s *scriptedScheduler) Counters() map[string]int64 { return map[string]int64{} }

func (s *scriptedScheduler) Apply(_ context.Context, e coordinator.Event) error {
	s.view.State, _ = s.view.Rules.Step(s.view.State, e)
	return nil
}

// serveScheduler answers for two nodes, of which the first is ready and the second waits. It returns its address.
func serveScheduler(t *testing.T) (*scriptedScheduler, string) {
	state := coordinator.NewState("es", 2)
	state.FrameworkID = "id-1"
	state.Nodes[0] = coordinator.Node{
		ID: 1, Epoch: 3, Phase: coordinator.Running, Ready: true, Since: time.Now().Add(-90 * time.Minute),
		Place:  coordinator.Place{Agent: "a1", Host: "10.0.0.1", HTTPPort: 9200, TransportPort: 9300},
		Holder: coordinator.Holder{Epoch: 3, Agent: "a1", Host: "hostA"}, Sizes: coordinator.Sizes{Data: 100 << 30},
		Health: coordinator.Health{Status: "yellow", Nodes: 1, Unassigned: 2},
	}
	s := &scriptedScheduler{view: scheduler.View{
		State: state, Loaded: true, Subscribed: "m1:5050", Rules: coordinator.Rules{Fencing: true},
		Notes: map[coordinator.NodeID]coordinator.Note{2: {Node: 2, Text: "no offer fits: 3 with less than 2 ports"}},
	}}
	h, err := api.Handler(s, api.Options{})
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return s, server.URL
}

func TestOrdersToAScheduler(t *testing.T) {
	_, address := serveScheduler(t)
	t.Setenv("MOORING_SCHEDULER", address)
	const table = "" +
		"NODE  EPOCH  PHASE   FOR    HOST      AGENT  WAITS\n" +
		"1     3      ready   1h30m  10.0.0.1  a1     \n" +
		"2     0      vacant  -      -         -      no offer fits: 3 with less than 2 ports\n"
	const volumes = "\n" +
		"VOLUME     NODE  SIZE  HOLDER  EPOCH  STATE\n" +
		"es1config  1     -     hostA   -      in use, as its node told\n" +
		"es1data    1     100g  hostA   -      in use, as its node told\n" +
		"es2config  2     -     -       -      never used\n" +
		"es2data    2     -     -       -      never used\n" +
		"holders are as nodes told when they were launched: with --heartbeats the scheduler reads the leases themselves\n"
	for _, row := range []struct {
		args      []string
		want, err string
	}{
		{[]string{"status"}, "framework es (id-1) at Mesos master m1:5050: 1 of 2 nodes are ready\nthe cluster is yellow, 2 unassigned\n\n" + table + volumes +
			"\nnode 2: no offer fits: 3 with less than 2 ports\n  to do: give Mesos agents that fit, or want fewer nodes (`mooring scale`)\n", "not all is well"},
		{[]string{"nodes"}, table, ""},
		{[]string{"nodes", "2"}, "" +
			"node    2\nname    es2\nphase   vacant\nsince   0001-01-01 00:00:00 UTC\nepoch   0\nvolume  es2config, never used\nvolume  es2data, never used\n" +
			"waits   no offer fits: 3 with less than 2 ports\n", ""},
		{[]string{"nodes", "7"}, "", "node 7: there are nodes 1 to 2"},
		{[]string{"scale", "3"}, "3 nodes are wanted; nodes that are stopped for that keep their volumes, and documents of which only they have a copy cannot be reached without them\n", ""},
		{[]string{"scale", "0"}, "", `number of nodes 0: use {"value": n} with n from 1 to 10000`},
		{[]string{"scale", "3", "--json"}, "{\n  \"value\": 3\n}\n", ""},
		{[]string{"restart", "1"}, "node 1 is restarted later, as epoch 4; its restart waits: nodes [2 3] have not joined. `mooring restart 1 --now` waits for nothing\n", ""},
		{[]string{"restart", "1", "--now"}, "node 1 is stopped and launched again, as epoch 4\n", ""},
		{[]string{"restart", "2"}, "node 2 does not run: it is launched anyway\n", ""},
		{[]string{"keep", "1"}, "node 1 is to run\n", ""},
		{[]string{"retire", "1"}, "node 1 is stopped and not replaced; its volumes es1config and es1data are kept, and documents of which only it has a copy cannot be reached until it runs again (`mooring keep 1`). " +
			"Node 1 is stopped for good, although the cluster is yellow, 2 unassigned\n", ""},
		{[]string{"forgive", "2"}, "node 2 may be launched anywhere (it is vacant now)\n", ""},
		{[]string{"uninstall"}, "", "uninstall stops all nodes of framework es, of which 1 are ready, and has Mesos forget it; the volumes are kept. If that is meant, give --yes"},
		{[]string{"uninstall", "--yes"}, "framework es is uninstalled: its nodes are stopped, then Mesos forgets it and the scheduler ends. `mooring status` shows how far it is.\n" +
			"The volumes are kept: `mooring volumes rm` on a host removes them, `mooring scheduler --new-framework` takes them up again\n", ""},
		{[]string{"nodes", "--scheduler=h:1/x"}, "", `scheduler at "h:1": use http://HOST:PORT, where the scheduler listens (its --listen, by default port 31100), and nothing more`},
	} {
		out, err := order(t, row.args...)
		assert.Equal(t, row.want, out, row.args)
		if row.err == "" {
			assert.NoError(t, err, row.args)
		} else {
			assert.EqualError(t, err, row.err, row.args)
		}
	}
}

// order is the command line "mooring ARGS".
func order(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	var line commandLine
	parser, err := kong.New(&line, append(options(), kong.Writers(&out, &out))...)
	require.NoError(t, err)
	parsed, err := parser.Parse(args)
	require.NoError(t, err)
	parsed.BindTo(t.Context(), (*context.Context)(nil))
	err = parsed.Run()
	return out.String(), err
}

func TestStatusAsJSONAndWhenAllIsWell(t *testing.T) {
	s, address := serveScheduler(t)
	s.view.State.Target = 1
	out, err := order(t, "status", "--json", "--scheduler", address)
	require.NoError(t, err)
	var status api.Status
	require.NoError(t, json.Unmarshal([]byte(out), &status))
	assert.Equal(t, "hostA", status.Nodes[0].Holder.Host)
	out, err = order(t, "status", "--scheduler", address)
	require.NoError(t, err)
	assert.Contains(t, out, "\nall is well\n")
}

func TestANodeInAllDetail(t *testing.T) {
	s, address := serveScheduler(t)
	s.view.State.Nodes[0].Since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	out, err := order(t, "nodes", "1", "--scheduler", address)
	require.NoError(t, err)
	assert.Equal(t, ""+
		"node       1\nname       es1\nphase      ready\nsince      2026-01-02 03:04:05 UTC\nepoch      3\ntask       es-1-3\nhost       10.0.0.1\nagent      a1\n"+
		"HTTP       10.0.0.1:9200\ntransport  10.0.0.1:9300\nvolume     es1config, in use, as its node told: host hostA\nvolume     es1data, 100g, in use, as its node told: host hostA\n", out)
}

func TestVolumesAreShownByTheirLeases(t *testing.T) {
	leased := func(name, holder, state string) api.Volume {
		return api.Volume{Name: name, Node: 1, Size: 1 << 30, Holder: holder, Epoch: 5, State: state, Source: api.FromLease}
	}
	for name, c := range map[string]struct {
		list api.VolumeList
		want string
	}{
		"two holders": {api.VolumeList{LeasesRead: time.Now(), Volumes: []api.Volume{leased("es1config", "hostA", "held"), leased("es1data", "hostB", "unattended")}}, "" +
			"VOLUME     NODE  SIZE  HOLDER  EPOCH  STATE\n" +
			"es1config  1     1g    hostA   5      held\n" +
			"es1data    1     1g    hostB   5      unattended\n"},
		"nobody": {api.VolumeList{LeasesRead: time.Now(), Volumes: []api.Volume{leased("es1config", "", "released"), {Name: "es1data", Node: 1, Source: api.FromLease}}}, "" +
			"VOLUME     NODE  SIZE  HOLDER  EPOCH  STATE\n" +
			"es1config  1     1g    -       5      released\n" +
			"es1data    1     -     -       -      never held\n"},
		"old": {api.VolumeList{LeasesRead: time.Now().Add(-time.Minute), LeasesError: "the store does not answer", Volumes: []api.Volume{leased("es1data", "hostB", "held")}}, "" +
			"VOLUME   NODE  SIZE  HOLDER  EPOCH  STATE\n" +
			"es1data  1     1g    hostB   5      held\n" +
			"leases could not be read now (the store does not answer): these are of 1m0s ago\n"},
		"none": {api.VolumeList{LeasesError: "there is no store", Volumes: []api.Volume{{Name: "es1data", Node: 1, Holder: "hostA", State: "last used", Source: api.FromNode}}}, "" +
			"VOLUME   NODE  SIZE  HOLDER  EPOCH  STATE\n" +
			"es1data  1     -     hostA   -      last used, as its node told\n" +
			"leases could not be read (there is no store): holders are as nodes told when they were launched\n"},
		"one unreadable": {api.VolumeList{LeasesRead: time.Now(), Volumes: []api.Volume{{Name: "es1data", Node: 1, Source: api.FromNode, Error: "no permission"}}}, "" +
			"VOLUME   NODE  SIZE  HOLDER  EPOCH  STATE\n" +
			"es1data  1     -     -       -      its lease could not be read: no permission\n"},
	} {
		var out bytes.Buffer
		require.NoError(t, show(&out, false, nil, func(w io.Writer) { writeVolumes(w, c.list) }))
		assert.Equal(t, "\n"+c.want, out.String(), name)
	}
	unguarded := leased("es1data", "hostA", "held")
	unguarded.Unguarded = true
	assert.Equal(t, [][2]string{{"volume", "es1data, 1g, held, unguarded: host hostA, epoch 5"}}, volumeRows(api.VolumeList{Volumes: []api.Volume{unguarded, {Name: "es2data", Node: 2}}}, 1))
}

func TestTimesForPeople(t *testing.T) {
	for ago, want := range map[time.Duration]string{3 * time.Second: "3s", 61 * time.Second: "1m1s", 25 * time.Hour: "25h0m", 50 * time.Hour: "2d"} {
		assert.Equal(t, want, since(time.Now().Add(-ago)))
	}
	assert.Equal(t, "-", since(time.Time{}))
}

func TestOrdersToGroups(t *testing.T) {
	s, address := serveScheduler(t)
	t.Setenv("MOORING_SCHEDULER", address)
	s.view.Rules.Groups = []coordinator.Group{{Name: "data", NeverMaster: true}}
	out, err := order(t, "scale", "1", "--group=data")
	require.NoError(t, err)
	assert.Equal(t, "1 nodes of group data are wanted; nodes that are stopped for that keep their volumes, and documents of which only they have a copy cannot be reached without them\n", out)
	_, err = order(t, "scale", "1", "--group=date")
	require.EqualError(t, err, `group "date": there are default, data`)
	out, err = order(t, "status")
	require.Error(t, err, "not all is well")
	assert.Contains(t, out, "1 of 3 nodes are ready\nthe cluster is yellow, 2 unassigned\n\ngroup default: 1 of 2 nodes are ready\ngroup data: 0 of 1 nodes are ready\n\nNODE  GROUP    EPOCH  PHASE")
	assert.Contains(t, out, "\n3     data     0      vacant")
	out, err = order(t, "nodes", "3")
	require.NoError(t, err)
	assert.Contains(t, out, "\ngroup   data\n")
}

func TestTheTokenOfAnOperatorIsInAFile(t *testing.T) {
	for content, says := range map[string]string{"": "is empty", "one\ntwo": "has more than one line"} {
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		t.Setenv("MOORING_TOKEN_FILE", file)
		line, err := parse(t, "status")
		require.NoError(t, err)
		_, err = line.Status.client()
		require.ErrorContains(t, err, says)
	}
}
