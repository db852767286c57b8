package node

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"mooring/coordinator"
	"mooring/executor/rundir"
)

// Defaults of [Options].
const (
	DefaultRunDir = "/run/mooring"
	DefaultHome   = "/usr/share/elasticsearch" // in the official images

	defaultTick = time.Second
	// silentTicks without a sign of the executor mean that nobody will stop this node when it must stop. Ticks are counted,
	// not time: after a freeze of the whole host the executor gets its turn before it is given up.
	silentTicks = 60

	refusedCode = 1 // exit code when Elasticsearch was not started

	uidElasticsearch = 1000 // and group 0: the user of the official images from 6 on
)

// Options are the circumstances of a node. The zero value is right in a container of an official image.
type Options struct {
	RunDir  string                     // shared with the executor; DefaultRunDir if empty
	Home    string                     // of Elasticsearch; DefaultHome if empty
	Mounted func(string) (bool, error) // whether a path is a mount; the kernel's word if nil
	Output  io.Writer                  // of Elasticsearch; standard output if nil
	Tick    time.Duration              // between two looks at run directory and volumes; 1 s if 0
	Log     hclog.Logger               // nil is silent
}

func (o Options) withDefaults() Options {
	if o.RunDir == "" {
		o.RunDir = DefaultRunDir
	}
	if o.Home == "" {
		o.Home = DefaultHome
	}
	if o.Mounted == nil {
		o.Mounted = mountinfo.Mounted
	}
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if o.Tick == 0 {
		o.Tick = defaultTick
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o
}

// credential makes Elasticsearch run without root's rights; it refuses to run with them. Without them from the start there
// is nothing to drop.
func (o Options) credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: uidElasticsearch, Gid: 0}
}

// owner is who files must belong to.
func (o Options) owner() owner {
	if os.Geteuid() != 0 {
		return owner{os.Geteuid(), os.Getegid()}
	}
	return owner{uidElasticsearch, 0}
}

// node is one life of an Elasticsearch node.
type node struct {
	o     Options
	run   rundir.Dir
	task  coordinator.Task
	owner owner
	log   hclog.Logger

	marker marker // what both volumes say
	seeds  string // what the seed file says
	marked string // cluster that the executor may count on finding in it
	beat   uint64 // latest count of the executor
	still  int    // ticks since it changed
}

// Run runs the node that the run directory describes, until it ends. The end of ctx lets Elasticsearch end by itself within
// the task's time; SIGQUIT kills it at once. The exit code is Elasticsearch's own; an error says why it was not started. No
// process of Elasticsearch lives when Run returns. It waits for every child of this process: call it in a process that has
// no others.
func Run(ctx context.Context, o Options) (exitCode int, err error) {
	n := &node{o: o.withDefaults()}
	n.run, n.owner = rundir.Dir(n.o.RunDir), n.o.owner()
	unix.Umask(0o002) // as the official images do
	if n.task, err = n.run.Task(); err != nil {
		return refusedCode, err
	}
	n.log = n.o.Log.With("node", n.task.Node, "epoch", n.task.Epoch)
	n.say(rundir.Status{Phase: rundir.Checking})
	env, err := n.prepare()
	if err != nil {
		return refusedCode, n.refused(err)
	}
	kill := make(chan os.Signal, 1)
	signal.Notify(kill, syscall.SIGQUIT) // before there is something to kill: the signal would end this process alone
	defer signal.Stop(kill)
	c, err := startChild(n.o, env)
	if err != nil {
		return refusedCode, n.refused(err)
	}
	n.log.Info("elasticsearch started", "pid", c.pid)
	n.say(rundir.Status{Phase: rundir.Started})
	end := n.watch(ctx, kill, c)
	n.log.Info("elasticsearch ended", "code", end.Code, "reason", end.Text)
	n.say(end)
	return end.Code, nil
}

// refused tells the executor why Elasticsearch was not started.
func (n *node) refused(err error) error {
	n.say(rundir.Status{Phase: rundir.Refused, Text: strings.ReplaceAll(err.Error(), "\n", "; "), Fault: fault(err)})
	return err
}

// say reports to the executor. A node whose word does not get through runs on; the executor sees its end anyway.
func (n *node) say(s rundir.Status) {
	s.Marked = n.marked
	if err := n.run.SetStatus(s); err != nil {
		n.log.Warn("status not written", "phase", s.Phase, "error", err)
	}
}
