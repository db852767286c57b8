package main

import (
	"bytes"
	"context"
	"encoding/json"
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
		"NODE  EPOCH  PHASE   FOR    HOST      AGENT  VOLUMES                  HELD BY  WAITS\n" +
		"1     3      ready   1h30m  10.0.0.1  a1     es1config,es1data(100g)  hostA    \n" +
		"2     0      vacant  -      -         -      es2config,es2data        -        no offer fits: 3 with less than 2 ports\n"
	for _, row := range []struct {
		args      []string
		want, err string
	}{
		{[]string{"status"}, "framework es (id-1) at Mesos master m1:5050: 1 of 2 nodes are ready\n\n" + table +
			"\nnode 2: no offer fits: 3 with less than 2 ports\n  to do: give Mesos agents that fit, or want fewer nodes (`mooring scale`)\n", "not all is well"},
		{[]string{"nodes"}, table, ""},
		{[]string{"nodes", "2"}, "" +
			"node    2\nname    es2\nphase   vacant\nsince   0001-01-01 00:00:00 UTC\nepoch   0\nvolume  es2config\nvolume  es2data\n" +
			"waits   no offer fits: 3 with less than 2 ports\n", ""},
		{[]string{"nodes", "7"}, "", "node 7: there are nodes 1 to 2"},
		{[]string{"scale", "3"}, "3 nodes are wanted; nodes that are stopped for that keep their volumes\n", ""},
		{[]string{"scale", "0"}, "", `number of nodes 0: use {"value": n} with n from 1 to 10000`},
		{[]string{"scale", "3", "--json"}, "{\n  \"value\": 3\n}\n", ""},
		{[]string{"restart", "1"}, "node 1 is stopped and launched again, as epoch 4\n", ""},
		{[]string{"restart", "2"}, "node 2 does not run: it is launched anyway\n", ""},
		{[]string{"keep", "1"}, "node 1 is to run\n", ""},
		{[]string{"retire", "1"}, "node 1 is stopped and not replaced; its volumes es1config and es1data are kept\n", ""},
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
		"HTTP       10.0.0.1:9200\ntransport  10.0.0.1:9300\nvolume     es1config, held by hostA (epoch 3 of the node)\nvolume     es1data, 100g, held by hostA (epoch 3 of the node)\n", out)
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
	assert.Equal(t, "1 nodes of group data are wanted; nodes that are stopped for that keep their volumes\n", out)
	_, err = order(t, "scale", "1", "--group=date")
	require.EqualError(t, err, `group "date": there are default, data`)
	out, err = order(t, "status")
	require.Error(t, err, "not all is well")
	assert.Contains(t, out, "1 of 3 nodes are ready\n\ngroup default: 1 of 2 nodes are ready\ngroup data: 0 of 1 nodes are ready\n\nNODE  GROUP    EPOCH  PHASE")
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
