package coordinator_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring/coordinator"
)

// What must hold of a world in which everything may fail, whatever happens in it.

func TestNoHistoryBreaksTheInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, true)
		all := w.happenings()
		all[""] = w.oneWriterEach
		t.Repeat(all)
	})
}

func (w *world) oneWriterEach(t *rapid.T) {
	for id, writers := range w.writers() {
		require.LessOrEqual(t, writers, 1, "node %d", id)
	}
}

// Volumes that don't fence leave the whole promise to the coordinator.
func TestWithoutFencingThereAreNeverTwoWriters(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue { // what breaks this is rare, and a history short
		require.NoError(t, flag.Set("rapid.checks", "1000"))
		defer func() { require.NoError(t, flag.Set("rapid.checks", checks.DefValue)) }()
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, false)
		w.settle(t)
		all := w.happenings()
		all[""] = w.oneWriterEach
		t.Repeat(all)
	})
}

func TestWhateverHappenedTheNodesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, true)
		t.Repeat(w.happenings())
		w.heal()
		for id, n := range w.saved.Nodes {
			require.Empty(t, n.Held, "node %d", id+1)
		}
		if w.saved.Removal != coordinator.Installed {
			require.Equal(t, coordinator.Uninstalled, w.saved.Removal)
			require.Zero(t, count(w.saved))
			require.Empty(t, w.writers())
			return
		}
		require.Equal(t, min(w.saved.Total(), len(w.up)), count(w.saved))
		for id, writers := range w.writers() {
			require.Equal(t, 1, writers, "node %d", id)
		}
	})
}

// check holds one step against the invariants.
func (w *world) check(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	for i, n := range after.Nodes {
		require.EqualValues(w.t, i+1, n.ID)
		if i < len(before.Nodes) {
			require.GreaterOrEqual(w.t, n.Epoch, before.Nodes[i].Epoch, "epochs only grow")
			require.Equal(w.t, before.Nodes[i].Group, n.Group, "a node stays what it is")
		}
	}
	w.checkLaunches(before, after, of[coordinator.Launch](actions))
	w.checkRoles(before, after, e, actions)
	w.checkAnswers(e, actions)
	w.checkMoves(before, after)
	if m, ok := e.(coordinator.Maintenance); ok {
		require.Len(w.t, of[coordinator.AnswerNotice](actions), len(m.Notices))
	}
	w.checkReport(before, after, e, actions)
	w.checkSilence(before, after, e)
}

// checkSilence: without fencing a heartbeat that stands still says nothing. With it, a node on a silent host is lost until the host beats,
// whatever Mesos says of it, or until it is launched elsewhere.
func (w *world) checkSilence(before, after coordinator.State, e coordinator.Event) {
	if _, ok := e.(coordinator.HostSilent); ok && !w.rules.Fencing {
		require.Equal(w.t, phases(before), phases(after))
		require.Empty(w.t, after.Silent)
	}
	for _, n := range after.Nodes {
		host := after.SilentHost(n.Place.Agent)
		if host != "" && after.Silent[host].Kept[n.ID] == "" {
			require.Contains(w.t, []coordinator.Phase{coordinator.Lost, coordinator.Vacant}, n.Phase, "node %d on silent host %s", n.ID, host)
		}
	}
}

func phases(s coordinator.State) []coordinator.Phase {
	var all []coordinator.Phase
	for _, n := range s.Nodes {
		all = append(all, n.Phase)
	}
	return all
}

func (w *world) checkLaunches(before, after coordinator.State, launched []coordinator.Launch) {
	if before.Removal != coordinator.Installed {
		require.Empty(w.t, launched, "nothing is launched any more")
	}
	hosts := map[string]int{}
	for _, n := range after.Nodes {
		if n.Phase != coordinator.Vacant {
			hosts[n.Place.Host]++
		}
	}
	for _, l := range launched {
		require.Empty(w.t, before.SilentHost(l.Task.Place.Agent), "nothing is launched on a silent host")
		n := after.Nodes[l.Task.Node-1]
		require.Equal(w.t, coordinator.Claimed, n.Phase, "nothing is launched that the state to be saved does not say")
		require.Equal(w.t, n.Epoch, l.Task.Epoch)
		require.Equal(w.t, n.Place, l.Task.Place)
		require.Equal(w.t, 1, hosts[n.Place.Host], "one node on a host")
	}
	for _, group := range groupNames {
		if now, then := countOf(after, group), countOf(before, group); now > then {
			require.LessOrEqual(w.t, now, max(after.TargetOf(group), then), "never more than the target of %q", group)
		}
	}
	for _, master := range after.InitialMasters {
		_, id, _, ok := coordinator.ParseVolumeName(master + "data")
		require.True(w.t, ok && after.Nodes[id-1].Group != "data", "%s founds a cluster", master)
	}
}

// checkRoles: offers that are accepted together are to one role, which the node's group may use; a node that waits is offered what it
// needs, so a role is never at peace that a node could use.
func (w *world) checkRoles(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	if e, ok := e.(coordinator.Offers); ok {
		roles := map[string]string{}
		for _, o := range e.Offers {
			roles[o.ID] = o.Role
		}
		for _, l := range of[coordinator.Launch](actions) {
			for _, id := range l.Offers {
				require.Equal(w.t, roles[l.Offers[0]], roles[id])
				g := w.rules.Group(after.Nodes[l.Task.Node-1].Group)
				require.True(w.t, g.Role == "" || g.Role == roles[id], "%s for group %s", roles[id], g.Name)
			}
		}
	}
	if after.Removal != coordinator.Installed || after.Subscribed.IsZero() {
		return
	}
	launched := map[string]int{}
	for _, n := range after.Nodes {
		if n.Phase != coordinator.Vacant {
			launched[n.Group]++
		}
	}
	for i, wanted := range after.Wanted() {
		n := after.Nodes[i]
		due := wanted && n.Held == "" && !w.now.Before(n.NotBefore)
		if due && (n.Phase == coordinator.Lost || n.Phase == coordinator.Vacant && launched[n.Group] < after.TargetOf(n.Group)) {
			require.False(w.t, after.Suppressed, "node %d waits", n.ID)
			require.NotContains(w.t, after.Quiet, w.rules.Group(n.Group).Role, "node %d waits", n.ID)
		}
	}
}

// groupNames are those of all groups that a world may have.
var groupNames = []string{"", "data", "masters"}

// countOf counts the nodes of a group that run or may run.
func countOf(s coordinator.State, group string) int {
	launched := 0
	for _, n := range s.Nodes {
		if n.Group == group && n.Phase != coordinator.Vacant {
			launched++
		}
	}
	return launched
}

// checkMoves: a node is moved only while all others that are wanted have joined.
func (w *world) checkMoves(before, after coordinator.State) {
	for i, n := range after.Nodes {
		if n.Intent != coordinator.Move || before.Nodes[i].Intent == coordinator.Move {
			continue
		}
		for j, wanted := range after.Wanted() {
			other := after.Nodes[j]
			require.True(w.t, i == j || !wanted || other.Phase == coordinator.Running && other.Ready && other.Intent == coordinator.Keep, "node %d moves, node %d is unwell", i+1, j+1)
		}
	}
}

func count(s coordinator.State) int {
	launched := 0
	for _, n := range s.Nodes {
		if n.Phase != coordinator.Vacant {
			launched++
		}
	}
	return launched
}

// checkAnswers: every offer gets exactly one answer, and nothing else is answered.
func (w *world) checkAnswers(e coordinator.Event, actions []coordinator.Action) {
	var asked, answered []string
	if e, ok := e.(coordinator.Offers); ok {
		for _, o := range e.Offers {
			asked = append(asked, o.ID)
		}
	}
	for _, l := range of[coordinator.Launch](actions) {
		answered = append(answered, l.Offers...)
	}
	for _, d := range of[coordinator.Decline](actions) {
		answered = append(answered, d.Offers...)
	}
	require.ElementsMatch(w.t, asked, answered)
}

// checkReport: a report is acknowledged once if asked for, and one of another epoch changes no node.
func (w *world) checkReport(before, after coordinator.State, e coordinator.Event, actions []coordinator.Action) {
	r, ok := e.(coordinator.Report)
	if !ok {
		require.Empty(w.t, of[coordinator.Acknowledge](actions))
		return
	}
	require.Len(w.t, of[coordinator.Acknowledge](actions), len(r.UUID))
	id, epoch, _ := coordinator.ParseTaskID("es", r.Task)
	if before.Nodes[id-1].Epoch != epoch {
		require.Equal(w.t, before.Nodes[id-1].Phase, after.Nodes[id-1].Phase)
		require.Equal(w.t, before.Nodes[id-1].Epoch, after.Nodes[id-1].Epoch)
		if r.Outcome == coordinator.Alive {
			require.Contains(w.t, actions, coordinator.Kill{Task: r.Task, Agent: r.Agent})
		}
	}
}

// writers counts the containers that may write the volumes of a node.
func (w *world) writers() map[coordinator.NodeID]int {
	writers := map[coordinator.NodeID]int{}
	for _, task := range w.tasks {
		if task.alive {
			writers[task.node]++
		}
	}
	return writers
}
