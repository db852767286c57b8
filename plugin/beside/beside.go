// Package beside keeps a program running beside the driver, as a process of its own: neither a crash of it nor the memory that it
// takes is the driver's. It starts the program, starts it again when it ends or when what it is told changes, and ends it with the
// driver. It knows nothing of what the program does. Start at Run.
package beside

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Times that hold where Options have zeros.
const (
	DefaultLook  = 3 * time.Second  // between two looks at what the program is told
	DefaultPause = time.Second      // before the program is started again; it doubles each time
	MostPause    = 30 * time.Second // the longest of these
	DefaultGrace = 5 * time.Second  // to end in order; less than a managed plugin gets
	// Steady is how long a program runs until it counts as one that runs.
	Steady = 10 * time.Second
)

// Options say what is run.
type Options struct {
	Name    string   // of the program, in messages
	Command []string // absolute path and arguments
	// Input is what the program reads on standard input, where no other user sees it. It is asked for again and again; the program is
	// started anew with what has changed. An error says why there is nothing to start with; a program that runs goes on with what it has.
	Input func() ([]byte, error)

	Look   time.Duration // 0 means DefaultLook
	Pause  time.Duration // 0 means DefaultPause
	Grace  time.Duration // 0 means DefaultGrace
	Memory uint64        // bytes of data that the program may have; the kernel refuses it more; 0 is no limit
	Log    hclog.Logger  // nil is silent
}

// Program is run beside the driver.
type Program struct {
	options Options
	log     hclog.Logger

	// Of the one goroutine of Run.
	told  told
	child *child           // nil: none runs
	next  <-chan time.Time // when one is started again; nil: now
	pause time.Duration

	mu      sync.Mutex
	refused string // why there is nothing to start with
	ended   string // how the program ended that ran last, until it is steady again
}

// New is a program that is yet to Run.
func New(o Options) *Program {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{{&o.Look, DefaultLook}, {&o.Pause, DefaultPause}, {&o.Grace, DefaultGrace}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return &Program{options: o, log: o.Log, pause: o.Pause}
}

// Trouble says why the program does not run as it should, "" if it does.
func (p *Program) Trouble() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, text := range []string{p.refused, p.ended} {
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// Run keeps the program running until ctx ends, and returns when it has ended, too.
func (p *Program) Run(ctx context.Context) {
	// The kernel ends the program when the thread that started it ends, so that it does not outlive this process, whatever happens
	// to that.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	looks := time.NewTicker(p.options.Look)
	defer looks.Stop()
	p.look()
	for {
		p.start()
		select {
		case <-ctx.Done():
			p.stop()
			return
		case <-looks.C:
			p.look()
		case <-p.child.steady():
			p.note(&p.ended, "")
			p.child.timer, p.pause = nil, p.options.Pause
		case err := <-p.child.end():
			p.over(err)
		case <-p.next:
			p.next = nil
		}
	}
}

// look asks for what the program is to be told, and stops it when that has changed. It is started again by start.
func (p *Program) look() {
	changed, err := p.told.look(p.options.Input)
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
		if p.child != nil {
			text = fmt.Sprintf("the %s goes on with what it was told before: %s", p.options.Name, text)
		}
	}
	if p.note(&p.refused, text) && text != "" {
		p.log.Error("not started as told", "program", p.options.Name, "error", text)
	}
	if !changed {
		return
	}
	p.note(&p.ended, "")
	p.next, p.pause = nil, p.options.Pause
	if p.child != nil {
		p.log.Info("started anew with what has changed", "program", p.options.Name)
		p.stop()
	}
}

// start starts the program if it should run and does not.
func (p *Program) start() {
	if p.child != nil || p.next != nil || !p.told.known {
		return
	}
	child, err := begin(p.options, p.told.inForce)
	if err != nil {
		p.over(err)
		return
	}
	p.child = child
	p.log.Info("started", "program", p.options.Name, "pid", child.cmd.Process.Pid)
}

// stop ends the program in order.
func (p *Program) stop() {
	if p.child == nil {
		return
	}
	if err := p.child.stop(p.options.Grace); err != nil {
		p.log.Warn("ended", "program", p.options.Name, "error", err)
	}
	p.child = nil
}

// over notes that the program ended by itself, or could not be started, and when it is started again.
func (p *Program) over(err error) {
	text := fmt.Sprintf("the %s ended", p.options.Name)
	if err != nil {
		text += ": " + err.Error()
	}
	p.note(&p.ended, text)
	p.log.Error("ended by itself", "program", p.options.Name, "error", err, "again in", p.pause)
	p.child, p.next = nil, time.After(p.pause)
	p.pause = min(2*p.pause, MostPause)
}

// note keeps a text for Trouble, and tells whether it is another one.
func (p *Program) note(where *string, text string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed, *where = *where != text, text
	return changed
}
