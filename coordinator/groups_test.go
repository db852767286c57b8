package coordinator_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// grouped is a framework of so many nodes of the default group, and two groups besides.
func grouped(t *testing.T, target int) *script {
	s := &script{t: t, now: t0, state: coordinator.NewState("es", target), rules: coordinator.Rules{
		CPUs: 1000, MemoryMB: 1024, Fencing: true, Settings: coordinator.Settings{HeapMB: 1},
		Groups: []coordinator.Group{
			{Name: "masters", Nodes: 3, CPUs: 500, MemoryMB: 512, Settings: coordinator.Settings{HeapMB: 2, Roles: []string{"master"}}},
			{Name: "data", Nodes: 2, CPUs: 1500, MemoryMB: 2048, NeverMaster: true, Settings: coordinator.Settings{HeapMB: 3, Roles: []string{"data"}}},
		},
	}}
	s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
	return s
}

func groupsOf(s coordinator.State) []string {
	var all []string
	for _, n := range s.Nodes {
		all = append(all, n.Group)
	}
	return all
}

func TestIDsAreOneSequenceInAllGroups(t *testing.T) {
	s := grouped(t, 1)
	assert.Equal(t, []string{"", "masters", "masters", "masters", "data", "data"}, groupsOf(s.state))
	got := of[coordinator.Launch](s.offer("a1", "a2", "a3", "a4", "a5", "a6"))
	require.Len(t, got, 6)
	for i, l := range got {
		g := s.rules.Group(s.node(coordinator.NodeID(i + 1)).Group)
		assert.Equal(t, []any{g.CPUs, g.MemoryMB, g.MemoryMB, g.Settings}, []any{l.CPUs, l.MemoryMB, l.Task.MemoryMB, l.Task.Settings}, "node %d", i+1)
	}
	assert.Equal(t, []string{"es1", "es2", "es3"}, s.state.InitialMasters)

	s.play(coordinator.Scale{At: s.now, Group: "masters", Target: 4})
	s.play(coordinator.Scale{At: s.now, Target: 2})
	assert.Equal(t, []string{"", "masters", "masters", "masters", "data", "data", "masters", ""}, groupsOf(s.state))
	assert.Equal(t, []string{"7@a7/1"}, launches(s.offer("a7")))
	got = of[coordinator.Launch](s.offer("a8"))
	assert.EqualValues(t, 1, got[0].Task.Settings.HeapMB)
}

func TestOnlyNodesThatCanBeElectedFoundACluster(t *testing.T) {
	s := grouped(t, 0)
	s.rules.NeverMaster = true
	s.play(coordinator.Scale{At: s.now, Target: 2})
	s.rules.Groups = append(s.rules.Groups, coordinator.Group{Name: "late", Nodes: 1, CPUs: 1, MemoryMB: 1})
	for _, l := range of[coordinator.Launch](s.offer("a1", "a2", "a3", "a4", "a5", "a6", "a7")) {
		want := []string(nil)
		if s.node(l.Task.Node).Group == "masters" {
			want = []string{"es1", "es2", "es3"}
		}
		assert.Equal(t, want, l.Task.InitialMasters, "node %d", l.Task.Node)
	}

	s = grouped(t, 0)
	s.rules.Groups[0].NeverMaster = true
	for _, l := range of[coordinator.Launch](s.offer("a1")) {
		assert.Empty(t, l.Task.InitialMasters)
	}
	assert.Nil(t, s.state.InitialMasters, "who it is to be is not known yet")
}

func TestEachGroupScalesByItself(t *testing.T) {
	s := grouped(t, 1)
	s.offer("a1", "a2", "a3", "a4", "a5", "a6")
	for id := coordinator.NodeID(1); id <= 6; id++ {
		s.report(id, coordinator.Alive, ready("uuid"))
	}
	got := s.play(coordinator.Scale{At: s.now, Group: "masters", Target: 1})
	assert.Equal(t, []string{"es-3-1", "es-4-1"}, kills(got))
	assert.Equal(t, []any{1, 1, 2, 4}, []any{s.state.Target, s.state.TargetOf("masters"), s.state.TargetOf("data"), s.state.Total()})
	got = s.play(coordinator.Order{At: s.now, Node: 5, Intent: coordinator.Retire})
	assert.Contains(t, kills(got), "es-5-1")
	assert.Equal(t, []any{1, 1, 1}, []any{s.state.Target, s.state.TargetOf("masters"), s.state.TargetOf("data")})
	for _, id := range []coordinator.NodeID{3, 4, 5} {
		s.report(id, coordinator.Over)
	}
	assert.Empty(t, launches(s.after(time.Minute).offer("a7")))
	s.play(coordinator.Scale{At: s.now, Group: "data", Target: 3})
	assert.Equal(t, []string{"5@a5/2", "7@a7/1"}, launches(s.offer("a5", "a7")), "the retired one is taken back, then a new one made")
	assert.Equal(t, "data", s.node(7).Group)
	s.play(coordinator.Order{At: s.now, Node: 5, Intent: coordinator.Retire})
	s.play(coordinator.Order{At: s.now, Node: 5, Intent: coordinator.Keep})
	assert.Equal(t, 3, s.state.TargetOf("data"))
}

func TestWhatAGroupLacksIsSaidByGroup(t *testing.T) {
	s := grouped(t, 0)
	s.rules.Groups[0].Constraints = constraints(t, "rack is r1")
	small := with("a1", "rack:r2")
	small.CPUs = 1000
	got := s.offers(small)
	assert.Equal(t, []coordinator.Note{
		{Node: 1, Text: "no offer fits: 1 without attribute rack:r1"}, {Node: 2, Text: "no offer fits: 1 without attribute rack:r1"},
		{Node: 3, Text: "no offer fits: 1 without attribute rack:r1"}, {Node: 4, Text: "no offer fits: 1 with less than 1.5 CPUs"},
		{Node: 5, Text: "no offer fits: 1 with less than 1.5 CPUs"},
	}, of[coordinator.Note](got))
	assert.Equal(t, "masters: without attribute rack:r1; data: with less than 1.5 CPUs", of[coordinator.Decline](got)[0].Reason)
	down := small
	down.Unavailable = true
	assert.Equal(t, "going down for maintenance", of[coordinator.Decline](s.offers(down))[0].Reason, "what all groups say is said once")
	fits := with("a2", "rack:r2")
	fits.CPUs = 4000
	s.offers(fits, with("a3", "rack:r1"), with("a4", "rack:r1"), with("a5", "rack:r1"))
	fits.Agent, fits.Host = "a6", "h6"
	s.offers(fits)
	assert.Equal(t, "nothing to launch", of[coordinator.Decline](s.offers(with("a7", "rack:r1")))[0].Reason)
}

func TestConstraintsOfAGroupCountItsOwnNodes(t *testing.T) {
	s := grouped(t, 1)
	s.rules.MaxPerHost = 2
	s.rules.Groups[0].Constraints = constraints(t, "at most 1 per rack", "at most 1 per @host")
	got := s.offers(with("a1", "rack:x"), with("a2", "rack:x"), with("a3", "rack:y"))
	assert.Equal(t, []string{"1@a1/1", "2@a2/1", "3@a3/1"}, launches(got))
	assert.Contains(t, of[coordinator.Note](got)[0].Text, "3 taken in this step")
}

func TestAGroupThatIsNotDescribedAnyMoreRunsOnButIsNotLaunched(t *testing.T) {
	s := grouped(t, 0)
	s.offer("a1", "a2", "a3", "a4", "a5")
	for id := coordinator.NodeID(1); id <= 5; id++ {
		s.report(id, coordinator.Alive, ready("uuid"))
	}
	s.rules.Groups = s.rules.Groups[:1]
	assert.Empty(t, kills(s.after(time.Minute).tick()))
	s.report(5, coordinator.Over)
	got := s.after(time.Minute).offer("a5")
	assert.Empty(t, launches(got))
	assert.Equal(t, "its group data is not described any more: describe it in the file of --groups", of[coordinator.Note](got)[0].Text)
	assert.True(t, s.state.Suppressed, "no offer would help")
	s.notice(time.Minute, "a4")
	assert.Empty(t, kills(s.offer("a9")), "it can't come back from where it would be moved")
}

func TestOffersAreAskedForByRole(t *testing.T) {
	s := grouped(t, 0)
	s.rules.Roles = []string{"*", "hot", "small"}
	s.rules.Groups[0].Role, s.rules.Groups[1].Role = "small", "hot"
	got := s.after(time.Minute).tick()
	assert.Equal(t, []coordinator.Revive{{Roles: []string{"hot", "small"}}}, of[coordinator.Revive](got))
	assert.Equal(t, []coordinator.Suppress{{Roles: []string{"*"}}}, of[coordinator.Suppress](got))
	got = s.offers(to("*", "o1", "a1"), to("small", "o2", "a2"), to("small", "o3", "a3"), to("small", "o4", "a4"), to("small", "o5", "a5"))
	assert.Equal(t, []string{"1@a2/1", "2@a3/1", "3@a4/1"}, launches(got))
	assert.Equal(t, "no offer fits: 2 not offered to role hot, 3 taken in this step", of[coordinator.Note](got)[0].Text)
	assert.Equal(t, []coordinator.Suppress{{Roles: []string{"*", "small"}}}, of[coordinator.Suppress](got))
	got = s.offers(to("hot", "o6", "a6"), to("hot", "o7", "a7"))
	assert.Equal(t, []string{"4@a6/1", "5@a7/1"}, launches(got))
	assert.Equal(t, []coordinator.Suppress{{}}, of[coordinator.Suppress](got))
	for id := coordinator.NodeID(1); id <= 5; id++ {
		s.report(id, coordinator.Alive, ready("uuid"))
	}
	got = s.report(1, coordinator.Gone)
	assert.Equal(t, []coordinator.Revive{{Roles: []string{"small"}}}, of[coordinator.Revive](got))
	got = s.report(4, coordinator.Gone)
	assert.Equal(t, []coordinator.Revive{{Roles: []string{"hot", "small"}}}, of[coordinator.Revive](got))
}

// A state of a time without groups is one of a framework whose nodes are all of the default group.
func TestAStateWithoutGroupsIsThatOfOneGroup(t *testing.T) {
	old := []byte(`{"framework":"es","framework_id":"f1","target":2}`)
	var state coordinator.State
	require.NoError(t, json.Unmarshal(old, &state))
	for _, node := range []string{
		`{"id":1,"epoch":3,"phase":"running","since":"2026-01-01T00:00:00Z","place":{"agent":"a1","host":"h1","http_port":9200,"transport_port":9300,"zone":"z1"},"ready":true,"joined":true}`,
		`{"id":2,"epoch":1,"phase":"vacant","since":"2026-01-01T00:00:00Z","place":{}}`,
	} {
		var n coordinator.Node
		require.NoError(t, json.Unmarshal([]byte(node), &n))
		state.Nodes = append(state.Nodes, n)
	}
	s := &script{t: t, now: t0, state: state, rules: coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true, SpreadBy: "rack"}}
	s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
	s.report(1, coordinator.Alive, ready("uuid"))
	assert.Equal(t, []string{"2@a3/2"}, launches(s.offers(with("a2", "rack:z1"), with("a3", "rack:z2"))))
	saved, err := json.Marshal(s.state)
	require.NoError(t, err)
	node, err := json.Marshal(s.node(2))
	require.NoError(t, err)
	for _, word := range []string{"group", "values", "quiet", "region"} {
		assert.NotContains(t, string(saved)+string(node), word, "what is saved can be read by who knows no groups")
	}
}
