package scheduler_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/mesostest"
)

// How long things are on their way.
const (
	usualWay   = 10 * time.Millisecond
	longestWay = 3 * time.Second
)

// process is a scheduler's: what lies between it and the master is a server of its own, what lies between it and the keeper is a desk.
type process struct {
	*history
	number uint64
	server *http.Server
	served sync.WaitGroup
	wire   *mesostest.Wire
	chance *rand.Rand // of its own, since processes go on side by side
	run    *run       // nil: it stands by, or is dead
	away   bool       // it does not run, and is dead or stopped

	mu      sync.Mutex
	conns   map[net.Conn]bool
	dead    bool // nothing that it does reaches anybody
	cut     bool // it does not reach the keeper
	slow    bool // whatever it does takes its time on the way
	atWrite hitch
	atCall  hitch
}

// run is a term of a scheduler.
type run struct {
	scheduler *scheduler.Scheduler
	term      int
	cancel    context.CancelFunc
	result    chan error
}

// hitch is what befalls a process at something that it does.
type hitch struct {
	armed bool
	after int          // so many others, of writes
	call  v1.Call_Type // which, of calls
	meets fate
	dies  bool // the process, at the same time
}

func (h hitch) String() string {
	what := "a write"
	if h.call != v1.Call_UNKNOWN {
		what = h.call.String()
	}
	text := what + " " + [...]string{"is done", "is refused", "is done, which is not heard", "comes late", "is forgotten"}[h.meets]
	if h.dies {
		text += ", and it dies"
	}
	return text
}

func newProcess(h *history, number uint64) *process {
	p := &process{history: h, number: number, chance: rand.New(rand.NewPCG(h.seed, number+1)), wire: mesostest.NewWire(), conns: map[net.Conn]bool{}}
	p.server = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ConnState: p.connState}
	p.served.Go(func() { _ = p.server.Serve(p.wire) })
	return p
}

func (p *process) close() {
	p.stop()
	p.server.Close()
	p.served.Wait()
}

func (p *process) connState(c net.Conn, s http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s == http.StateNew {
		p.conns[c] = true
	}
	if s == http.StateClosed {
		delete(p.conns, c)
	}
}

func (p *process) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// die ends the process for all others.
func (p *process) die() {
	p.count(func(c *counts) { c.deaths++ })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	for c := range p.conns {
		c.Close()
	}
}

// ServeHTTP passes the process' calls on to the master.
func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	call := new(v1.Call)
	if err != nil || call.Unmarshal(body) != nil {
		panic(http.ErrAbortHandler)
	}
	met := p.meetsCall(call)
	if met == refused {
		panic(http.ErrAbortHandler)
	}
	p.onTheWay(body)
	if call.Type == v1.Call_SUBSCRIBE && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // other calls are carried out although who sent them is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.master.ServeHTTP(w, r)
	if met == unheard {
		panic(http.ErrAbortHandler)
	}
}

func (p *process) meetsCall(call *v1.Call) fate {
	p.mu.Lock()
	dead := p.dead
	hit := !dead && p.atCall.armed && p.atCall.call == call.Type
	hitch := p.atCall
	p.atCall.armed = p.atCall.armed && !hit
	p.mu.Unlock()
	if dead {
		return refused
	}
	p.sees(call)
	if !hit {
		return done
	}
	return p.meets(hitch)
}

// meetsWrite tells what becomes of a write, or of a read.
func (p *process) meetsWrite(before, after coordinator.State) fate {
	write := after.Framework != ""
	p.mu.Lock()
	hit, lost := false, p.dead || p.cut
	hitch := p.atWrite
	if write && !lost && hitch.armed {
		hit = hitch.after == 0
		p.atWrite.armed = !hit
		p.atWrite.after--
	}
	p.mu.Unlock()
	if lost {
		return refused
	}
	p.onTheWay([]byte{byte(len(after.Nodes))})
	if write && p.broken.forgets != nil && p.broken.forgets(before, after) {
		return forgotten
	}
	if !hit {
		return done
	}
	return p.meets(hitch)
}

// meets has a hitch befall the process.
func (p *process) meets(h hitch) fate {
	p.count(func(c *counts) { c.unheard++ })
	p.happens("scheduler %d: %s", p.number, h)
	if h.dies {
		p.die()
	}
	return h.meets
}

// onTheWay takes the time that something takes from here to there, which depends on what it is, and when.
func (p *process) onTheWay(what []byte) {
	p.mu.Lock()
	most := usualWay
	if p.slow {
		most = longestWay
	}
	p.mu.Unlock()
	time.Sleep(time.Duration(digest(p.seed, uint64(time.Since(p.began)), what) % uint64(most)))
}

// lead begins a term of the process.
func (p *process) lead() {
	p.count(func(c *counts) { c.terms++ })
	term := p.keeper.begin()
	p.happens("scheduler %d leads, term %d", p.number, term)
	options := scheduler.Options{ExecutorPath: "/usr/bin/mooring", Roles: []string{"test"}}
	if p.rules.Fencing {
		options.Heartbeats = p.pulse.begin
	}
	options = options.Within(p.wire.Dial, func(most time.Duration) time.Duration { return time.Duration(p.chance.Int64N(int64(most))) })
	s, err := scheduler.New([]string{"master:5050"}, p.rules, &desk{keeper: p.keeper, term: term, fate: p.meetsWrite}, options)
	require.NoError(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p.run = &run{scheduler: s, term: term, cancel: cancel, result: make(chan error, 1)}
	go func(r *run) { r.result <- s.Run(ctx) }(p.run)
}

// stop ends the scheduler in an orderly way.
func (p *process) stop() error {
	if p.run == nil {
		return nil
	}
	p.run.cancel()
	err := <-p.run.result
	p.run = nil
	return err
}

// ended tells whether the scheduler has ended by itself, and why.
func (p *process) ended() (bool, error) {
	if p.run == nil {
		return false, nil
	}
	select {
	case err := <-p.run.result:
		p.run.cancel()
		p.run = nil
		return true, err
	default:
		return false, nil
	}
}

// attend has writes arrive that were given up, and schedulers do what they do by themselves, or with those who look after them: those
// that ended begin anew, one that waits leads when it is its turn, and one whose term is over notices, sooner or later.
func (h *history) attend() {
	if h.rng.IntN(2) == 0 {
		if there, err := h.keeper.arrive(); there {
			h.happens("a write arrives late: %v", err)
			h.count(func(c *counts) { c.late++ })
		}
	}
	for _, p := range h.schedulers {
		h.bury(p)
		mayCome := !p.isDead() && !p.isCut()
		if i := slices.Index(h.queue, p); i >= 0 && !mayCome && h.rng.IntN(2) == 0 {
			h.happens("the session of scheduler %d is over", p.number)
			h.queue = slices.Delete(h.queue, i, i+1)
		}
		if p.away && h.rng.IntN(2) == 0 {
			h.rise(p)
		}
		if p.stale() && h.rng.IntN(4) == 0 {
			h.standBy(p)
		}
		if !p.away && p.run == nil && !p.isCut() && !slices.Contains(h.queue, p) {
			h.queue = append(h.queue, p)
		}
	}
	if len(h.queue) > 0 {
		if p := h.queue[0]; p.run == nil && !p.away && !p.isCut() {
			p.lead()
		}
	}
}

// stale tells whether the process schedules although its term is over, or its session.
func (p *process) stale() bool {
	return p.run != nil && (p.run.term != p.keeper.current() || !slices.Contains(p.queue, p))
}

func (h *history) rise(p *process) {
	h.happens("scheduler %d is started", p.number)
	p.away = false
	p.change(func() { p.dead, p.cut, p.slow, p.atCall, p.atWrite = false, false, false, hitch{}, hitch{} })
	if i := slices.Index(h.queue, p); i >= 0 { // of its last life
		h.queue = slices.Delete(h.queue, i, i+1)
	}
}

func (h *history) standBy(p *process) {
	h.happens("scheduler %d stands by", p.number)
	_ = p.stop() // it may have been sent away meanwhile
}

// bury ends a scheduler that has died, and looks at why one has ended by itself.
func (h *history) bury(p *process) {
	if p.isDead() {
		if p.away {
			return
		}
		h.happens("scheduler %d has died", p.number)
		_ = p.stop()
		p.away = true
		if h.alone() {
			h.queue = nil // the lock of the store goes with the process
		}
		return
	}
	current := p.run != nil && p.run.term == h.keeper.current()
	over, err := p.ended()
	switch {
	case !over:
	case h.alone() || err == nil || current && !errors.Is(err, errAway) && !strings.Contains(err.Error(), "another scheduler"):
		h.notices("scheduler %d ends by itself: %v", p.number, err)
	default:
		h.happens("scheduler %d ends: %s", p.number, err)
	}
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// digest is a number that depends on all of these, and looks like any other.
func digest(seed, now uint64, what []byte) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, []uint64{seed, now})
	h.Write(what)
	return h.Sum64()
}
