package silence_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
	"mooring/plugin/silence"
	"mooring/plugin/store"
	server "mooring/test/zookeeper"
)

// shelf is a source of leases that can be away, hang, and count who reads.
type shelf struct {
	silence.Source // of heartbeats, for which nobody asks

	mu      sync.Mutex
	away    error
	hangs   chan struct{} // nil: it answers
	reads   []string
	torn    string // volume whose lease cannot be read
	holder  string
	passes  int
	at, top int // reads under way, and the most there were
}

func (s *shelf) Leases() (silence.Leases, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes++
	return s, s.away
}

func (*shelf) ReadBeat(string) (lease.Heartbeat, error) { panic("nobody's concern") }
func (*shelf) Hosts() ([]string, error)                 { panic("nobody's concern") }

func (s *shelf) Size(string) (int64, error) { return 7, nil }

func (s *shelf) Current(volume string) (lease.Lease, error) {
	s.mu.Lock()
	s.reads = append(s.reads, volume)
	s.at++
	s.top = max(s.top, s.at)
	hangs, torn, l := s.hangs, s.torn, lease.Lease{Epoch: 3, State: lease.Held, Identity: identity(s.holder)}
	s.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	s.mu.Lock()
	s.at--
	s.mu.Unlock()
	if volume == torn {
		return lease.Lease{}, errors.New("unreadable")
	}
	return l, nil
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// seen is what it has noted so far.
func (s *shelf) seen() (reads []string, passes, top int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads, s.passes, s.top
}

func TestWhoHoldsVolumesIsReadWhenAskedAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{holder: "a", torn: "w"}
		l := silence.NewLeased(s)
		found, at, err := l.Leases(t.Context(), []string{"v", "w"})
		require.NoError(t, err)
		assert.Equal(t, map[string]coordinator.Lease{"v": {Host: "a", Epoch: 3, State: "held", Size: 7}, "w": {Error: "unreadable"}}, found, "what is wrong with one says nothing of the other")
		assert.Equal(t, time.Now(), at)

		s.set(func(s *shelf) { s.holder = "b" })
		time.Sleep(time.Second)
		found, _, err = l.Leases(t.Context(), []string{"v"})
		require.NoError(t, err)
		assert.Equal(t, "a", found["v"].Host, "read a moment ago")
		found, _, err = l.Leases(t.Context(), []string{"v", "x"})
		require.NoError(t, err)
		assert.Equal(t, "b", found["x"].Host, "not read yet")
		time.Sleep(3 * time.Second)
		_, _, err = l.Leases(t.Context(), []string{"v"})
		require.NoError(t, err)
		_, passes, _ := s.seen()
		assert.Equal(t, 3, passes)
	})
}

func TestAStoreThatHangsKeepsNobodyWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{holder: "a"}
		l := silence.NewLeased(s)
		_, read, err := l.Leases(t.Context(), []string{"v"})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		hangs := make(chan struct{})
		s.set(func(s *shelf) { s.hangs, s.holder, s.reads = hangs, "b", nil })
		for range 3 {
			began := time.Now()
			found, at, err := l.Leases(t.Context(), []string{"v"})
			require.EqualError(t, err, "the store of leases does not answer")
			assert.Equal(t, []any{"a", read}, []any{found["v"].Host, at}, "what was read last, and when")
			assert.Less(t, time.Since(began), 5*time.Second)
		}
		reads, _, _ := s.seen()
		assert.Equal(t, []string{"v"}, reads, "one reader waits for it, however many ask")
		s.set(func(s *shelf) { s.hangs = nil })
		close(hangs)
		synctest.Wait()
		found, _, err := l.Leases(t.Context(), []string{"v"})
		require.NoError(t, err)
		assert.Equal(t, "b", found["v"].Host)

		time.Sleep(time.Minute)
		s.set(func(s *shelf) { s.away = errors.New("store is missing") })
		_, _, err = l.Leases(t.Context(), []string{"v"})
		require.EqualError(t, err, "store is missing")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = l.Leases(ctx, []string{"v"})
		require.Error(t, err, "whoever leaves is not waited for")
		synctest.Wait()
	})
}

// A framework of a thousand nodes must not open everything at once.
func TestManyLeasesAreReadAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		s := &shelf{holder: "a", hangs: hangs}
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprint("v", i))
		}
		l := silence.NewLeased(s)
		_, _, err := l.Leases(t.Context(), names)
		require.Error(t, err)
		_, _, top := s.seen()
		assert.Equal(t, 8, top)
		close(hangs)
		found, _, err := l.Leases(t.Context(), names)
		require.NoError(t, err)
		assert.Len(t, found, 100)
	})
}

// held checks what is shown of a volume that a host takes and gives back.
func held(t *testing.T, source silence.Source, place beating, size int64) {
	t.Helper()
	look := func() coordinator.Lease {
		found, _, err := silence.NewLeased(source).Leases(t.Context(), []string{"v"})
		require.NoError(t, err)
		return found["v"]
	}
	assert.Equal(t, coordinator.Lease{Size: size}, look(), "never held")
	next := lease.Lease{}.Next("v", identity("a"))
	next.Unguarded = true
	taken, err := place.Create(lease.Lease{}, next)
	require.NoError(t, err)
	assert.Equal(t, coordinator.Lease{Host: "a", Epoch: 1, State: "held", Unguarded: true, Size: size}, look())
	given := taken.Next("v", identity("b"))
	given.State = lease.Released
	_, err = place.Create(taken, given)
	require.NoError(t, err)
	assert.Equal(t, coordinator.Lease{Epoch: 2, State: "released", Size: size}, look(), "nobody holds it")
}

func TestHoldersInFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, "")
	require.NoError(t, err)
	require.NoError(t, s.Announce(store.Volume{Format: 1, ID: store.NewID(), Name: "v", Size: 5 << 30}))
	held(t, silence.InFiles(dir), s.Leases(), 5<<30)
	found, _, err := silence.NewLeased(silence.InFiles(dir)).Leases(t.Context(), []string{"nosuch"})
	require.NoError(t, err)
	assert.Equal(t, map[string]coordinator.Lease{"nosuch": {}}, found)
}

func TestHoldersInZooKeeper(t *testing.T) {
	t.Parallel()
	address, err := ensemble.Parse("zk://" + server.Run(t).Address + "/mooring")
	require.NoError(t, err)
	e := zookeeper.New(address, nil)
	t.Cleanup(e.Close)
	id := store.NewID()
	require.NoError(t, e.Prepare(id))
	_, err = e.Leases(id).Beat(lease.Heartbeat{Identity: identity("a"), Sequence: 1})
	require.NoError(t, err)
	held(t, silence.InZooKeeper(e, lease.Auto), e.Leases(id), 0)
}
