package replica_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/mesostest"
	"mooring/test/zookeeper"
)

const (
	histories      = 4
	mishapsEach    = 6
	historyAgents  = 4 // as newMaster has
	shortBreath    = time.Second
	longBreath     = 10 * time.Second // the other one leads by then
	historiesNodes = 2                // at first
)

// Two schedulers share a state in a real ZooKeeper: they are killed and replaced, frozen, and cut off from it or from its answers while
// there is something to save; agents get lost, executors end, and orders are given to either of them. Whoever led before may still
// try to act. Nothing is launched twice, or by one whose launch nobody knows of, and no order is lost that was answered well.
func TestTwoSchedulersInRandomHistories(t *testing.T) {
	t.Parallel()
	server := zookeeper.Run(t)
	t.Run("all", func(t *testing.T) {
		for seed := range uint64(histories) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				h := newRivals(t, server, seed)
				h.befall(h.leading(), int(seed)) // whatever else: killed, frozen, cut off, not answered
				for range mishapsEach {
					i := h.rng.IntN(2)
					if h.rng.IntN(2) == 0 {
						i = max(h.leading(), 0)
					}
					h.befall(i, h.rng.IntN(8))
				}
				h.heal()
			})
		}
	})
}

// rival is a scheduler, and what is wrong with it.
type rival struct {
	*peer
	proxy             *zookeeper.Proxy // between it and ZooKeeper
	dead, frozen, cut bool
}

type rivals struct {
	t       *testing.T
	rng     *rand.Rand
	master  *mesostest.Master
	path    string
	both    []*rival
	lost    []string // agents
	targets []int    // that the latest order answered well asks for, then those of orders since that were not
	history []string // what befell, in order
}

func newRivals(t *testing.T, server *zookeeper.Server, seed uint64) *rivals {
	h := &rivals{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), master: newMaster(t), path: fmt.Sprintf("/history-%d", seed), targets: []int{historiesNodes},
	}
	t.Cleanup(func() { t.Logf("seed %d: %s", seed, strings.Join(h.history, "; ")) })
	for range 2 {
		r := &rival{proxy: zookeeper.NewProxy(t, server)}
		h.both = append(h.both, r)
		h.start(r)
	}
	eventually(t, func() bool { return settled(h.master, historiesNodes) }, "the nodes run")
	return h
}

func (h *rivals) start(r *rival) {
	r.peer, r.dead = start(h.t, h.master, "zk://me:hush@"+r.proxy.Address+h.path), false
}

func (h *rivals) happens(format string, args ...any) {
	h.history = append(h.history, fmt.Sprintf(format, args...))
}

// leading tells which one says that it leads; negative: none of those that answer.
func (h *rivals) leading() int {
	return slices.IndexFunc(h.both, func(r *rival) bool {
		if r.dead || r.frozen {
			return false
		}
		c, ok := r.cluster()
		return ok && !c.Standby && c.Master != ""
	})
}

// befall has a mishap of some kind befall one of the two.
func (h *rivals) befall(i, kind int) {
	r := h.both[i]
	switch {
	case kind == 0 && !r.dead:
		h.happens("scheduler %d is killed", i)
		r.signal(syscall.SIGKILL)
		r.dead, r.frozen = true, false
	case kind == 1 && !r.dead && !r.frozen:
		h.happens("scheduler %d is frozen", i)
		r.signal(syscall.SIGSTOP)
		r.frozen = true
		h.failTask()
	case kind == 2 || kind == 3:
		h.happens("scheduler %d is cut off (%d)", i, kind)
		if kind == 2 {
			r.proxy.Cut()
		} else {
			r.proxy.Mute()
		}
		r.cut = true
		h.failTask()
	case kind == 4:
		agent := fmt.Sprintf("agent-%d", 1+h.rng.IntN(historyAgents))
		if h.returnAll(); h.rng.IntN(3) > 0 {
			h.happens("%s is lost", agent)
			h.master.LoseAgent(agent)
			h.lost = append(h.lost, agent)
		}
	case kind == 5:
		h.happens("the connection to the master breaks")
		h.master.Cut()
	case kind > 5 && !h.both[0].frozen && !h.both[1].frozen && !r.dead: // else nobody knows when an order is carried out
		h.order(i, 1+h.rng.IntN(historyAgents-1))
	}
	h.breathe()
	h.mend(func() bool { return h.rng.IntN(2) == 0 })
}

// failTask gives whoever has a subscription something to save.
func (h *rivals) failTask() {
	if tasks := h.master.Tasks(mesos.TASK_RUNNING); len(tasks) > 0 {
		task := tasks[h.rng.IntN(len(tasks))].TaskID.Value
		h.happens("%s fails", task)
		h.master.Update(task, mesos.TASK_FAILED, nil)
	}
}

func (h *rivals) returnAll() {
	h.happens("%v return", h.lost)
	for _, agent := range h.lost {
		h.master.ReturnAgent(agent)
	}
	h.lost = nil
}

// order tells a scheduler how many nodes to run, and whether it said that it does.
func (h *rivals) order(i, target int) bool {
	status, text := h.both[i].ask(http.MethodPut, "/v1/cluster/elasticsearchNodes", fmt.Sprintf(`{"value":%d}`, target))
	h.happens("scheduler %d is told to run %d nodes and answers %d %s", i, target, status, strings.TrimSpace(text))
	if status == http.StatusOK {
		h.targets = nil
	}
	h.targets = append(h.targets, target)
	return status == http.StatusOK
}

// mend mends those of the schedulers' troubles that which says yes to.
func (h *rivals) mend(which func() bool) {
	for i, r := range h.both {
		if r.cut && which() {
			h.happens("scheduler %d is no more cut off", i)
			r.proxy.Join()
			r.cut = false
		}
		if r.frozen && which() {
			h.happens("scheduler %d goes on", i)
			r.signal(syscall.SIGCONT)
			r.frozen = false
		}
		if r.dead && which() {
			h.happens("scheduler %d is started again", i)
			h.start(r)
		}
	}
}

// breathe lets what was begun go on: for a moment, or until the next one could lead.
func (h *rivals) breathe() {
	breath := shortBreath
	if len(h.history) < 3 || h.rng.IntN(2) == 0 {
		breath = longBreath
	}
	for deadline := time.Now().Add(breath); time.Now().Before(deadline) && !settled(h.master, h.targets[0]); {
		time.Sleep(pause)
	}
}

func (h *rivals) heal() {
	h.mend(func() bool { return true })
	h.returnAll()
	leader := -1
	eventually(h.t, func() bool {
		leader = h.leading()
		return leader >= 0
	}, "one leads")
	c, _ := h.both[leader].cluster()
	require.Contains(h.t, h.targets, c.Target, "the number of nodes is that of the latest order that was answered well, or of one since")
	eventually(h.t, func() bool { return h.order(leader, 3) || h.order(1-leader, 3) }, "an order is taken")
	eventually(h.t, func() bool { return settled(h.master, 3) }, "it is carried out")
	eventually(h.t, func() bool { return len(h.both[leader].nodes()) >= 3 && h.known(h.both[leader]) }, "what runs is known")
	neverTwice(h.t, h.master, h.both[leader].peer)
}

// known tells whether a scheduler shows what runs: one that stands by looks every now and then.
func (h *rivals) known(r *rival) bool {
	var shown []string
	for _, n := range r.nodes() {
		if n.Phase == coordinator.Running {
			shown = append(shown, coordinator.TaskID("es", n.ID, n.Epoch))
		}
	}
	var running []string
	for _, task := range h.master.Tasks(mesos.TASK_RUNNING) {
		running = append(running, task.TaskID.Value)
	}
	return slices.Equal(shown, running)
}
