package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/scheduler"
	"mooring/scheduler/store"
	"mooring/scheduler/store/storetest"
	server "mooring/test/zookeeper"
)

var _ scheduler.Store = (*store.ZooKeeper)(nil)

func connect(t testing.TB, address string) *ensemble.Conn {
	t.Helper()
	a, err := ensemble.Parse(address)
	require.NoError(t, err)
	c := ensemble.New(a, ensemble.Options{Setting: "--zookeeper"})
	t.Cleanup(c.Close)
	return c
}

// open opens a store that whoever has it may write, as long as nobody touches the leader's node.
func open(t testing.TB, address string, initial coordinator.State) *store.ZooKeeper {
	t.Helper()
	s, err := store.OpenZooKeeper(connect(t, address), initial, "leader")
	require.NoError(t, err)
	return s.Fenced(func() (*zk.CheckVersionRequest, error) {
		return &zk.CheckVersionRequest{Path: s.Root() + "/leader", Version: 0}, nil
	})
}

// raw is a connection beside the store's.
func raw(t testing.TB, s *server.Server) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{s.Address}, time.Minute, zk.WithLogger(silent{}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func TestStateInZooKeeper(t *testing.T) {
	s := server.Run(t)
	for name, address := range map[string]string{"contract": "zk://" + s.Address + "/a/b", "contract with a password": "zk://me:hush@" + s.Address + "/c"} {
		t.Run(name, func(t *testing.T) {
			storetest.Contract(t, func(initial coordinator.State) scheduler.Store { return open(t, address, initial) })
		})
	}
	t.Run("only who has the password", func(t *testing.T) { onlyWithPassword(t, s) })
	t.Run("only who leads writes", func(t *testing.T) { onlyTheLeader(t, s) })
	t.Run("nobody's write is lost", func(t *testing.T) { twoWriters(t, s) })
	t.Run("writes what changed", func(t *testing.T) { writesWhatChanged(t, s) })
	t.Run("never replaced by an empty one", func(t *testing.T) { neverEmpty(t, s) })
	t.Run("size", func(t *testing.T) { size(t, s) })
	t.Run("too much at once", func(t *testing.T) { tooMuch(t, s) })
	t.Run("server away", func(t *testing.T) { away(t, s) })
}

func onlyWithPassword(t *testing.T, s *server.Server) {
	open(t, "zk://me:hush@"+s.Address+"/guarded", coordinator.NewState("es", 3))
	for _, user := range []string{"", "me:wrong@"} {
		stranger, err := store.OpenZooKeeper(connect(t, "zk://"+user+s.Address+"/guarded"), coordinator.NewState("es", 3))
		if err == nil {
			_, err = stranger.Load(t.Context())
		}
		require.ErrorIs(t, err, zk.ErrNoAuth)
		require.ErrorContains(t, err, "give --zookeeper the user and password that the path was made with")
		require.NotContains(t, err.Error(), "wrong")
	}
	kept := open(t, "zk://me:hush@"+s.Address+"/deeply/guarded", coordinator.NewState("es", 3))
	before, err := kept.Load(t.Context())
	require.NoError(t, err)
	after := before
	after.Target = 4
	require.NoError(t, kept.Save(t.Context(), before, after))
	assert.Subset(t, server.Closed(t, s, "/deeply", "me", "hush"), []string{
		"/deeply/guarded/es/header", "/deeply/guarded/es/nodes/0000000001", "/deeply/guarded/es/leader",
	})
}

func onlyTheLeader(t *testing.T, s *server.Server) {
	address, first := "zk://"+s.Address+"/fence", coordinator.NewState("es", 3)
	old := open(t, address, first)
	_, err := old.Load(t.Context())
	require.NoError(t, err)
	_, err = raw(t, s).Set("/fence/es/leader", []byte("another"), 0)
	require.NoError(t, err)
	next := first
	next.Target = 4
	require.ErrorIs(t, old.Save(t.Context(), first, next), store.ErrFenced)
	require.ErrorIs(t, old.Save(t.Context(), coordinator.State{}, next), store.ErrFenced, "for ever")
	loaded, err := old.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, loaded)

	reader, err := store.OpenZooKeeper(connect(t, address), first)
	require.NoError(t, err)
	require.ErrorContains(t, reader.Save(t.Context(), first, next), "opened to be read")
	over := reader.Fenced(func() (*zk.CheckVersionRequest, error) { return nil, store.ErrFenced })
	require.ErrorIs(t, over.Save(t.Context(), first, first), store.ErrFenced, "with nothing to write, too")
}

// twoWriters is about what the fence should make impossible.
func twoWriters(t *testing.T, s *server.Server) {
	address, first := "zk://"+s.Address+"/two", coordinator.NewState("es", 3)
	one, two := open(t, address, first), open(t, address, first)
	_, err := one.Load(t.Context())
	require.NoError(t, err)
	_, err = two.Load(t.Context())
	require.NoError(t, err)
	changed := func(epoch uint64) coordinator.State {
		next := first
		next.Nodes = append([]coordinator.Node(nil), first.Nodes...)
		next.Nodes[1].Epoch = epoch
		return next
	}
	require.NoError(t, one.Save(t.Context(), first, changed(1)))
	require.ErrorIs(t, two.Save(t.Context(), first, changed(2)), zk.ErrBadVersion)
	loaded, err := one.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, changed(1), loaded)
}

func writesWhatChanged(t *testing.T, s *server.Server) {
	state := coordinator.NewState("es", 3)
	kept := open(t, "zk://"+s.Address+"/little", state)
	_, err := kept.Load(t.Context())
	require.NoError(t, err)
	next := state
	next.Nodes = append([]coordinator.Node(nil), state.Nodes...)
	next.Nodes[1].Epoch = 1
	require.NoError(t, kept.Save(t.Context(), state, next))
	require.NoError(t, kept.Save(t.Context(), coordinator.State{}, next), "what is there already is not written again")
	c, versions := raw(t, s), map[string]int32{}
	for _, node := range []string{"header", "nodes/0000000001", "nodes/0000000002", "nodes/0000000003"} {
		_, stat, err := c.Get("/little/es/" + node)
		require.NoError(t, err)
		versions[node] = stat.Version
	}
	require.Equal(t, map[string]int32{"header": 0, "nodes/0000000001": 0, "nodes/0000000002": 1, "nodes/0000000003": 0}, versions)
}

func neverEmpty(t *testing.T, s *server.Server) {
	c := raw(t, s)
	set := func(node, data string) func(root string) error {
		return func(root string) error { _, err := c.Set(root+"/"+node, []byte(data), -1); return err }
	}
	remove := func(node string) func(root string) error {
		return func(root string) error { return c.Delete(root+"/"+node, -1) }
	}
	const node = "nodes/0000000002"
	number := 0
	for name, harm := range map[string]struct {
		do   func(root string) error
		says string
	}{
		"header missing":  {remove("header"), `record "header" is missing: restore it from a backup, give another path, or delete`},
		"node missing":    {remove(node), "record of node 2 is missing: restore it"},
		"no JSON":         {set(node, "{"), `record "nodes/0000000002": not readable`},
		"another record":  {set(node, "{}"), `record "nodes/0000000002": not a record of mooring`},
		"swapped":         {set("header", `{"version":1,"node":{"id":1}}`), `record "header": not a record of mooring`},
		"a newer version": {set("header", `{"version":3}`), "written by a newer mooring (record version 3, this one knows up to 2): run that version again"},
	} {
		t.Run(name, func(t *testing.T) {
			number++
			path := fmt.Sprintf("/harm%d", number)
			open(t, "zk://"+s.Address+path, coordinator.NewState("es", 3))
			require.NoError(t, harm.do(path+"/es"))
			_, err := open(t, "zk://"+s.Address+path, coordinator.NewState("es", 3)).Load(t.Context())
			require.ErrorContains(t, err, harm.says)
			require.ErrorContains(t, err, "zk://"+s.Address+path+"/es")
		})
	}
	t.Run("all missing", func(t *testing.T) {
		_, err := c.Create("/bare", nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
		_, err = c.Create("/bare/es", nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
		_, err = open(t, "zk://"+s.Address+"/bare", coordinator.NewState("es", 3)).Load(t.Context())
		require.ErrorContains(t, err, "delete /bare/es to begin anew")
	})
}

// busy is a state of nodes that run, each with a problem behind it.
func busy(nodes int) coordinator.State {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	state := coordinator.NewState("elasticsearch", nodes)
	state.FrameworkID, state.ClusterUUID = "5e3d4f86-7c1b-4f7a-9a53-0d1f6c5b2a10-0000", "uLLLxHyBR5G8Gzsbn9KLMg"
	for i := range state.Nodes {
		agent := fmt.Sprintf("5e3d4f86-7c1b-4f7a-9a53-0d1f6c5b2a10-S%d", i)
		state.Nodes[i] = coordinator.Node{
			ID: coordinator.NodeID(i + 1), Epoch: 12, Phase: coordinator.Running, Since: at, Begun: true, Settled: true, Asked: at, Ready: true, Joined: true,
			Place:   coordinator.Place{Agent: agent, Host: "10.100.200.1", HTTPPort: 31000, TransportPort: 31001, Zone: "zone-1"},
			Holder:  coordinator.Holder{Epoch: 11, Agent: agent, Host: "host-0123456789ab"},
			Problem: "executor terminated: the agent was removed",
		}
	}
	return state
}

// size is about the aims for 1,000 nodes: less than 1 MB in all, no big record, and one transaction can change all of them.
func size(t *testing.T, s *server.Server) {
	total, largest := stored(t, s, "/size", 1000)
	t.Logf("1,000 nodes take %d bytes", total)
	assert.Less(t, total, 1_000_000)
	assert.Less(t, largest, 2<<10)
}

// stored saves busy nodes below a path, and returns what their records and the header take, in bytes.
func stored(t testing.TB, s *server.Server, path string, nodes int) (total, largest int) {
	address, first := "zk://me:hush@"+s.Address+path, coordinator.NewState("elasticsearch", nodes)
	kept := open(t, address, first)
	_, err := kept.Load(t.Context())
	require.NoError(t, err)
	state := busy(nodes)
	require.NoError(t, kept.Save(t.Context(), first, state))
	loaded, err := open(t, address, first).Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, state, loaded)

	c := raw(t, s)
	require.NoError(t, c.AddAuth("digest", []byte("me:hush")))
	names, _, err := c.Children(path + "/elasticsearch/nodes")
	require.NoError(t, err)
	require.Len(t, names, nodes)
	for _, name := range append(names, "../header") {
		_, stat, err := c.Exists(path + "/elasticsearch/" + strings.TrimPrefix("nodes/"+name, "nodes/../"))
		require.NoError(t, err)
		total, largest = total+int(stat.DataLength), max(largest, int(stat.DataLength))
	}
	return total, largest
}

// BenchmarkStateInZooKeeper writes and reads the state of 1,000 busy nodes, and reports what its records take.
func BenchmarkStateInZooKeeper(b *testing.B) {
	s, round := server.Run(b), 0
	for b.Loop() {
		round++
		total, largest := stored(b, s, fmt.Sprintf("/round%d", round), 1000)
		b.ReportMetric(float64(total)/1e6, "MB")
		b.ReportMetric(float64(largest), "bytes/record")
	}
}

func tooMuch(t *testing.T, s *server.Server) {
	_, err := store.OpenZooKeeper(connect(t, "zk://"+s.Address+"/large"), coordinator.NewState("es", 10000))
	require.ErrorContains(t, err, "10000 nodes change at once")
	require.ErrorContains(t, err, "begin with fewer nodes, and scale in smaller steps")
	first := coordinator.NewState("es", 3)
	kept := open(t, "zk://"+s.Address+"/large", first)
	_, err = kept.Load(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, kept.Save(t.Context(), first, coordinator.NewState("es", 9000)), "scale in smaller steps")
	require.NoError(t, kept.Save(t.Context(), first, coordinator.NewState("es", 100)), "a smaller step")
}

// away is about a write whose fate is unknown: afterwards all is as it was asked for.
func away(t *testing.T, s *server.Server) {
	first := coordinator.NewState("es", 3)
	proxy := server.NewProxy(t, s)
	kept := open(t, "zk://"+proxy.Address+"/away", first)
	_, err := kept.Load(t.Context())
	require.NoError(t, err)
	proxy.Cut()
	next := first
	next.Target = 5
	require.Error(t, kept.Save(t.Context(), first, next))
	proxy.Join()
	require.Eventually(t, func() bool { return kept.Save(t.Context(), coordinator.State{}, next) == nil }, time.Minute, 10*time.Millisecond)
	loaded, err := kept.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, next, loaded)
}
