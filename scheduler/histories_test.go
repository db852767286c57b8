package scheduler_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/test/histories"
)

var (
	historySeed  = flag.Uint64("history.seed", 0, "tell the story of this one history")
	historyCount = flag.Uint64("history.count", 10_000, "play so many histories")
)

const (
	underRace       = 300                      // histories
	mesosRepeats    = 10137 * time.Millisecond // not when schedulers do something
	historyAgents   = 5
	historyNodes    = 3
	mishapsEach     = 12
	historyPatience = time.Hour // of a cluster in which nothing goes wrong any more
)

// What the model of the rules plays fast is played here by real schedulers, over HTTP: agents get lost and return, masters fail over,
// connections break, saves fail or seem to, calls and answers are lost, executors end, hosts fall silent, operators give orders, and
// schedulers are stopped, killed at any step, and started. In every other history there are two of them that share a store, and the
// one that led before may not know that it does no more. No call asks for a launch that was not saved, or for the same one twice; nothing is
// launched on a silent host; no scheduler writes after the next one has read; each order is durable when it was answered well and, of
// one scheduler, nothing of it is when it was not; and in the end everything that the operators want runs, and nothing else.
//
// Time is virtual: it passes when all that goes on waits for it. A history is known by its seed, but for what happens in the same
// instant, which may come in any order.
func TestRealSchedulersInRandomHistories(t *testing.T) {
	if *historySeed != 0 {
		c, failure := play(t, *historySeed, broken{}, t.Logf)
		t.Logf("%+v", c)
		require.Empty(t, failure)
		return
	}
	count := *historyCount
	if raceDetector || testing.Short() {
		count = underRace
	}
	began := time.Now()
	seed, failure, total := histories.Find(1, count, func(seed uint64) (counts, string) { return play(t, seed, broken{}, nil) }, (*counts).add)
	t.Logf("%.0f histories a second: %+v", float64(count)/time.Since(began).Seconds(), total)
	require.Empty(t, failure, "go test ./scheduler -run RealSchedulersInRandomHistories -count=20 -v -args -history.seed=%d", seed)
	assert.Greater(t, total.launches, 4*int(count))
	assert.Greater(t, total.terms, 2*int(count))
	for what, n := range map[string]int{"deaths": total.deaths, "fenced writes": total.fenced, "writes over what was not known": total.outdated, "late writes": total.late, "answers that are lost": total.unheard} {
		assert.Greater(t, n, int(count/50), what)
	}
}

// play plays a history in virtual time, and returns what went wrong first.
func play(t *testing.T, seed uint64, b broken, story func(string, ...any)) (c counts, failure string) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, seed, b)
		h.story = story
		h.play()
		c = h.counts
		if wrong := h.wrongs(); len(wrong) > 0 {
			failure = fmt.Sprintf("seed %d: %s: %s", seed, wrong[0], strings.Join(h.tale, "; "))
		}
	})
	return c, failure
}

// counts are what happened.
type counts struct{ launches, saves, terms, deaths, fenced, outdated, late, unheard, seconds int }

func (c *counts) add(one counts) {
	c.launches, c.saves, c.terms, c.deaths = c.launches+one.launches, c.saves+one.saves, c.terms+one.terms, c.deaths+one.deaths
	c.fenced, c.outdated, c.late, c.unheard = c.fenced+one.fenced, c.outdated+one.outdated, c.late+one.late, c.unheard+one.unheard
	c.seconds += one.seconds
}

// history is one of schedulers, a master with its agents, and a keeper of the state.
type history struct {
	t          *testing.T
	rng        *rand.Rand
	seed       uint64
	broken     broken
	master     *mesostest.Master
	keeper     *keeper
	pulse      *pulse // of the hosts; schedulers see it if volumes fence
	rules      coordinator.Rules
	schedulers []*process // one scheduler, or two
	queue      []*process // the schedulers of whose sessions the keeper knows, the one that leads first
	operator   operator
	lost       []string // agents
	tale       []string // what befell, in order
	story      func(string, ...any)
	began      time.Time

	mu       sync.Mutex
	counts   counts
	asked    []int // numbers of nodes that the latest order answered well asks for, then those of orders since that were not
	saved    map[launch]bool
	launched map[coordinator.NodeID]uint64 // the latest epoch
	wrong    []string
}

type launch struct {
	node  coordinator.NodeID
	epoch uint64
}

func newHistory(t *testing.T, seed uint64, b broken) *history {
	h := &history{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), seed: seed, broken: b, began: time.Now(),
		master: mesostest.NewHandler(), keeper: newKeeper(coordinator.NewState("es", historyNodes)), pulse: &pulse{},
		rules: rules(), operator: newOperator(historyNodes), asked: []int{historyNodes}, saved: map[launch]bool{}, launched: map[coordinator.NodeID]uint64{},
	}
	h.master.AutoRun = true
	h.keeper.noFence, h.keeper.noVersions, h.keeper.unwatched = b.noFence, b.noVersions, b.unwatched
	h.keeper.kept, h.keeper.notices, h.keeper.refuses = h.keeps, h.notices, h.refuses
	h.rules.Fencing = seed/2%2 == 0 // else lost nodes wait for their agent, or for forgiveness
	for i := range historyAgents {
		h.master.AddAgent(agent(i + 1))
	}
	for i := range 1 + seed%2 {
		p := newProcess(h, i)
		p.slow = seed%2 == 1 && h.rng.IntN(2) == 0
		h.schedulers = append(h.schedulers, p)
	}
	return h
}

func (h *history) alone() bool { return len(h.schedulers) == 1 }

// play plays the history, until something is wrong or all is well in the end.
func (h *history) play() {
	ctx := h.t.Context()
	h.t.Cleanup(func() {
		for _, p := range h.schedulers {
			p.close()
		}
		time.Sleep(longestWay) // time ends with this: what is on its way arrives before
	})
	var mesosTime sync.WaitGroup
	ended := make(chan struct{})
	mesosTime.Go(func() { h.repeat(ended) })
	defer mesosTime.Wait()
	defer close(ended)
	for range mishapsEach {
		if h.attend(); len(h.wrongs()) > 0 || ctx.Err() != nil {
			break
		}
		h.befall()
		h.pause()
	}
	if len(h.wrongs()) == 0 {
		h.heal()
	}
	h.counts.seconds = int(time.Since(h.began).Seconds())
}

// repeat does what Mesos does again and again: it offers what was declined a while ago, and agents repeat what was not acknowledged.
func (h *history) repeat(ended <-chan struct{}) {
	every := time.NewTicker(mesosRepeats)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			h.master.Resend()
			h.master.Offer()
		case <-ended:
			return
		}
	}
}

func (h *history) happens(format string, args ...any) {
	text := fmt.Sprintf("%.3fs ", time.Since(h.began).Seconds()) + fmt.Sprintf(format, args...)
	h.mu.Lock()
	h.tale = append(h.tale, text)
	h.mu.Unlock()
	if h.story != nil {
		h.story("%s", text)
	}
}

// notices keeps what should not be.
func (h *history) notices(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noticesLocked(format, args...)
}

func (h *history) noticesLocked(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

func (h *history) wrongs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.wrong)
}

func (h *history) count(change func(*counts)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.counts)
}

// keeps looks at what is kept from now on.
func (h *history) keeps(before, after coordinator.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.saves++
	for i, n := range after.Nodes {
		epoch := uint64(0)
		if i < len(before.Nodes) {
			epoch = before.Nodes[i].Epoch
		}
		if n.Epoch < h.launched[n.ID] {
			h.noticesLocked("node %d goes back to epoch %d, and was launched at %d", n.ID, n.Epoch, h.launched[n.ID])
		}
		if host := after.SilentHost(n.Place.Agent); n.Epoch > epoch && host != "" {
			h.noticesLocked("node %d is to be launched on %s, which is silent", n.ID, host)
		}
		if n.Phase == coordinator.Claimed {
			h.saved[launch{n.ID, n.Epoch}] = true
		}
	}
	if !h.alone() && !slices.Contains(h.asked, after.Target) {
		h.noticesLocked("%d nodes are kept as wanted, and the orders ask for one of %v", after.Target, h.asked)
	}
}

func (h *history) refuses(err error) {
	h.count(func(c *counts) {
		if errors.Is(err, errFenced) {
			c.fenced++
		} else {
			c.outdated++
		}
	})
}

// sees looks at a call before the master does.
func (h *history) sees(call *v1.Call) {
	if call.Type != v1.Call_ACCEPT {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range call.Accept.Operations {
		for _, task := range o.Launch.TaskInfos {
			id, epoch, _ := coordinator.ParseTaskID("es", task.TaskID.Value)
			if !h.saved[launch{id, epoch}] {
				h.noticesLocked("%s is launched, and was not saved", task.TaskID.Value)
			}
			if epoch <= h.launched[id] {
				h.noticesLocked("%s is launched, and epoch %d was", task.TaskID.Value, h.launched[id])
			}
			h.launched[id] = max(h.launched[id], epoch)
			h.counts.launches++
		}
	}
}

// pause lets what was begun go on: to where all waits, for less than a call takes, for a moment, or for long.
func (h *history) pause() {
	switch n := h.rng.IntN(8); {
	case n < 2:
	case n < 4:
		time.Sleep(h.within(30 * time.Millisecond))
	case n < 7:
		time.Sleep(h.within(3 * time.Second))
	default:
		time.Sleep(h.within(40 * time.Second))
	}
	synctest.Wait()
}

func (h *history) within(most time.Duration) time.Duration {
	return time.Duration(h.rng.Int64N(int64(most)))
}

func (h *history) runningTasks() []string {
	ids := []string{}
	for _, t := range h.master.Tasks(mesos.TASK_RUNNING) {
		ids = append(ids, t.TaskID.Value)
	}
	return ids
}
