package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/doctor"
	"mooring/plugin/store"
	"mooring/scheduler/api"
)

// answered is an order with --json: the answer has to be one document of a type, with nothing in it that the type does not know.
type answered struct {
	order string
	check func(t *testing.T, out []byte)
	err   string
}

// as decodes an answer and compares what the test names of it.
func as[T any](want any, named func(T) any) func(*testing.T, []byte) {
	return func(t *testing.T, out []byte) {
		t.Helper()
		decoder := json.NewDecoder(bytes.NewReader(out))
		decoder.DisallowUnknownFields()
		var answer T
		require.NoError(t, decoder.Decode(&answer), "%s", out)
		assert.False(t, decoder.More(), "one document: %s", out)
		assert.Equal(t, want, named(answer))
	}
}

// inJSON gives all orders, and checks that no verb below a command is left out.
func inJSON(t *testing.T, verbs []*kong.Node, orders []answered, flags ...string) {
	t.Helper()
	given := map[string]bool{}
	for _, o := range orders {
		args := strings.Fields(o.order)
		var out, aside bytes.Buffer
		var line commandLine
		parser, err := kong.New(&line, append(options(), kong.Writers(&out, &aside))...)
		require.NoError(t, err)
		parsed, err := parser.Parse(append(append(args, "--json"), flags...))
		require.NoError(t, err, o.order)
		given[parsed.Selected().Path()] = true
		parsed.BindTo(t.Context(), (*context.Context)(nil))
		if err = parsed.Run(); o.err == "" {
			require.NoError(t, err, o.order)
		} else {
			require.EqualError(t, err, o.err, o.order)
		}
		t.Run(o.order, func(t *testing.T) { o.check(t, out.Bytes()) })
	}
	for _, verb := range verbs {
		assert.True(t, given[verb.Path()], "%s is in the table", verb.Path())
	}
}

// model is the command line as it is.
func model(t *testing.T) *kong.Node {
	t.Helper()
	parser, err := kong.New(&commandLine{}, options()...)
	require.NoError(t, err)
	return parser.Model.Node
}

func TestEveryOrderToASchedulerAnswersInJSON(t *testing.T) {
	s, address := serveScheduler(t)
	s.view.Rules.Groups = []coordinator.Group{{Name: "data", NeverMaster: true}}
	var verbs []*kong.Node
	for _, command := range model(t).Children {
		if command.Group != nil && command.Group.Key == "operators" {
			verbs = append(verbs, command)
		}
	}
	require.Len(t, verbs, 8)
	node := func(n api.Node) any { return []any{n.ID, n.Name, n.Phase, n.Intent} }
	inJSON(t, verbs, []answered{
		{"status", as([]any{"es", 1, 2, coordinator.NodeID(2), "hostA"}, func(s api.Status) any {
			return []any{s.Framework, s.Ready, len(s.Nodes), s.Problems[0].Node, s.Volumes[1].Holder}
		}), "not all is well"},
		{"nodes", as([]any{2, uint64(3), "hostA", "no offer fits: 3 with less than 2 ports"}, func(n []api.Node) any {
			return []any{len(n), n[0].Epoch, n[0].Holder.Host, n[1].Waits}
		}), ""},
		{"nodes 1", as([]any{coordinator.NodeID(1), []string{"es1config", "es1data"}, int64(100 << 30)}, func(n api.Node) any { return []any{n.ID, n.Volumes, n.Sizes.Data} }), ""},
		{"restart 1", as([]any{coordinator.NodeID(1), "es1", coordinator.Running, coordinator.Restart}, node), ""},
		{"keep 1", as([]any{coordinator.NodeID(1), "es1", coordinator.Running, coordinator.Keep}, node), ""},
		{"retire 1", as([]any{coordinator.NodeID(1), "es1", coordinator.Running, coordinator.Retire}, node), ""},
		{"forgive 2", as([]any{coordinator.NodeID(2), "es2", coordinator.Vacant, coordinator.Keep}, node), ""},
		{"scale 3", as(map[string]int{"value": 3}, func(v map[string]int) any { return v }), ""},
		{"scale 1 --group=data", as(map[string]int{"value": 1}, func(v map[string]int) any { return v }), ""},
		{"uninstall --yes", as([]any{"es", true}, func(s api.Status) any { return []any{s.Framework, s.Removal != ""} }), ""},
	}, "--scheduler="+address)
}

func TestEveryOrderForVolumesAnswersInJSON(t *testing.T) {
	state := t.TempDir()
	serveAdmin(t, state, &scriptedDriver{findings: []doctor.Finding{{Kind: "k", Volume: "v", What: "w", Why: "y", Fix: "f", Fixable: true}}})
	var verbs []*kong.Node
	for _, command := range model(t).Children {
		if command.Name == "volumes" {
			verbs = command.Children
		}
	}
	require.Len(t, verbs, 14)
	inJSON(t, verbs, []answered{
		{"volumes ls", as([]any{"hostA", 2, "es1data", uint64(7)}, func(s admin.Survey) any {
			return []any{s.Host, len(s.Volumes), s.Volumes[0].Name, s.Volumes[0].Epoch}
		}), ""},
		{"volumes inspect v", as([]any{"v", "hostB", true}, func(d admin.Detail) any { return []any{d.Name, d.Holder, d.Unguarded} }), ""},
		{"volumes rm v", as("v", func(r store.Removed) any { return r.Name }), ""},
		{"volumes trash", as("4711", func(r []store.Removed) any { return r[0].ID }), ""},
		{"volumes restore v --id=47", as("47", func(r store.Removed) any { return r.ID }), ""},
		{"volumes grow v 20g", as(store.Size(20<<30), func(g admin.Grown) any { return g.To }), ""},
		{"volumes snapshot v s --copy", as("s", func(s backend.Snapshot) any { return s.Name }), ""},
		{"volumes snapshots v", as(int64(10<<30), func(s []backend.Snapshot) any { return s[0].Size }), ""},
		{"volumes clone v@s w", as([]any{"w", "v@s"}, func(v store.Volume) any { return []any{v.Name, v.From} }), ""},
		{"volumes fsck v", as([]any{"ext4", true}, func(c backend.Check) any { return []any{c.FS, c.Sound} }), ""},
		{"volumes fsck w", as(false, func(c backend.Check) any { return c.Sound }), "the file system has errors"},
		{"volumes drain", as([]any{"hostA", 1}, func(d admin.Drain) any { return []any{d.Host, len(d.Held)} }), ""},
		{"volumes drain --undo", as(true, func(d admin.Drain) any { return d.Since.IsZero() }), ""},
		{"volumes takeover v --force --reason=burnt", as(uint64(3), func(a admin.Taken) any { return a.Epoch }), ""},
		{"volumes gone burnt --reason=PSU", as([]any{"v", "w"}, func(g admin.Gone) any { return []any{g.Taken[0].Volume, g.Left[0].Volume} }),
			"not all of the host's volumes were taken over"},
		{"volumes doctor --docker-host=", as("k", func(r admin.Report) any { return string(r.Findings[0].Kind) }), "there are findings"},
		{"volumes doctor --fix --docker-host=", as([]any{"v", 0}, func(r admin.Report) any { return []any{r.Repairs[0].Volume, len(r.Findings)} }), ""},
	}, "--state-dir="+state)
}
