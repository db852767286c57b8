package executor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/executor/rundir"
)

const (
	askTimeout    = 15 * time.Second // for a question to the runtime
	sureTimeout   = time.Minute      // to find out whether a container is gone, beyond the time it may take to end
	retryPause    = time.Second      // after an error of the runtime
	beatInterval  = 2 * time.Second  // the node waits thirty times as long
	pollInterval  = time.Second / 2  // between two questions to Elasticsearch
	healthEvery   = 3 * time.Second  // between two looks at the cluster's health, so that a recovery is not a storm of updates
	maxMisses     = 10               // answers without a cluster, in a row, before a node counts as outside of it
	maxStatusText = 2000             // bytes of a message; schedulers keep and show it
)

// report is one thing to tell the scheduler.
type report struct {
	state mesos.TaskState
	text  string
	run   coordinator.RunReport
}

// order ends a life: it is the cause with which the context of [life.live] ends.
type order struct {
	why   string
	grace time.Duration // for Elasticsearch to end by itself
}

func (o *order) Error() string { return o.why }

// unsure says that something of the node may still live.
type unsure struct{ err error }

func (u *unsure) Error() string {
	return fmt.Sprintf("cannot tell whether the container is gone: %v", u.err)
}

func (u *unsure) Unwrap() error { return u.err }

// life is one launch of a node, from the order to run it to its terminal state.
type life struct {
	task     coordinator.Task
	endpoint string // of the agent
	runtime  Runtime
	driver   Driver // nil if there is none that could be asked
	client   *elasticsearch.Client
	reports  chan<- report
	log      hclog.Logger

	mu  sync.Mutex
	run rundir.Dir // becomes that of an earlier executor if its container is adopted

	asked  chan struct{}         // the scheduler wants to be told again; holds one
	last   coordinator.RunReport // told to the scheduler
	misses int                   // of Elasticsearch, in a row
	self   elasticsearch.Self    // empty until it is known
	health coordinator.Health    // seen last; empty unless this node is the elected master
	looked time.Time             // when, at that
}

// live runs the task until it ends by itself or wanted ends, whose cause is an order then. The last report it sends is a
// terminal one.
func (l *life) live(wanted context.Context) {
	var beats sync.WaitGroup // and what else goes on while the node runs
	defer beats.Wait()
	beating, stopBeats := context.WithCancel(wanted) // an order to stop ends them too: the node shall stop even if no word gets through
	defer stopBeats()

	l.last.Host, _ = l.about(wanted) // told before anything is begun: should this host die, its heartbeat says so
	l.tell(report{state: mesos.TASK_STARTING, run: l.last})
	container, err := l.begin(wanted)
	if err == nil {
		beats.Go(func() { l.beat(beating) })
		beats.Go(func() { l.sweep(beating) })
		l.log.Info("container runs", "container", container.ID)
		l.last.Host, l.last.Sizes = l.about(wanted)
		l.tell(report{state: mesos.TASK_RUNNING, text: "container " + containerName(l.task) + " runs", run: l.last})
		err = l.watch(wanted, container)
	}
	if wanted.Err() != nil {
		err = context.Cause(wanted) // whatever else went wrong is of no interest then
	}
	stopBeats()
	l.end(context.WithoutCancel(wanted), err)
}

// begin brings the container of this launch to run, and ends one of an earlier launch first.
func (l *life) begin(wanted context.Context) (Container, error) {
	if wanted.Err() != nil {
		return Container{}, wanted.Err() // while the driver was asked
	}
	found, err := l.find(wanted)
	if err != nil {
		return Container{}, err
	}
	next, err := decide(found, l.task)
	if err != nil {
		return Container{}, err
	}
	switch next {
	case adopt:
		l.setDir(rundir.Dir(found.Labels[labelRun]))
		l.log.Info("container adopted", "container", found.ID)
		return *found, nil
	case replace:
		l.log.Info("ending what an earlier launch left", "container", found.ID, "launch", found.Labels[labelEpoch])
		if err := l.clear(context.WithoutCancel(wanted), l.patience()); err != nil {
			return Container{}, err
		}
	case start:
	}
	if err := l.dir().SetTask(l.task); err != nil {
		return Container{}, &failure{oneLine(err), coordinator.FaultAgent}
	}
	l.freeVolumes(wanted)
	container, err := l.runtime.Start(wanted, specOf(l.task, string(l.dir()), l.endpoint))
	if err != nil {
		return Container{}, &failure{oneLine(err), startFault(err)}
	}
	return container, nil
}

func (l *life) dir() rundir.Dir {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.run
}

func (l *life) setDir(run rundir.Dir) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run = run
}

// setSeeds tells the node where the others are.
func (l *life) setSeeds(seeds []string) error { return l.dir().SetSeeds(seeds) }

// tellAgain has the scheduler told once more what it was told last: of a task whose agent was away Mesos says only that it runs.
func (l *life) tellAgain() {
	select {
	case l.asked <- struct{}{}:
	default: // that is about to happen
	}
}

// find looks for a container of this node, and keeps looking for a while when the runtime does not answer.
func (l *life) find(ctx context.Context) (*Container, error) {
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	for {
		container, ok, err := l.ask(ctx)
		switch {
		case err == nil && ok:
			return &container, nil
		case err == nil:
			return nil, nil
		case !sleep(ctx, retryPause):
			return nil, &unsure{err}
		}
	}
}

func (l *life) ask(ctx context.Context) (Container, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return l.runtime.Find(ctx, containerName(l.task))
}

// patience is how long Elasticsearch may take to end by itself.
func (l *life) patience() time.Duration {
	return time.Duration(l.task.Settings.StopSeconds) * time.Second
}

// clear ends and removes the container of this or an earlier launch. When it returns without an error there is none, hence
// nothing of them that writes to the volumes. A container that this launch must not touch stays.
func (l *life) clear(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+sureTimeout)
	defer cancel()
	for {
		container, ok, err := l.ask(ctx)
		if err == nil && !ok {
			return nil
		}
		if err == nil {
			if _, theirs := decide(&container, l.task); theirs != nil {
				return nil
			}
			err = l.remove(ctx, container.ID, grace)
		}
		if err == nil {
			continue // to see that it is gone
		}
		l.log.Warn("container not removed yet", "container", container.ID, "error", err)
		if !sleep(ctx, retryPause) {
			return &unsure{err}
		}
	}
}

func (l *life) remove(ctx context.Context, id string, grace time.Duration) error {
	if err := l.runtime.Stop(ctx, id, grace); err != nil {
		return err
	}
	return l.runtime.Remove(ctx, id)
}

// watch returns why the life ends: a failure, or the order that ended wanted.
func (l *life) watch(wanted context.Context, container Container) error {
	waiting, stopWaiting := context.WithCancel(wanted)
	var waiter sync.WaitGroup
	defer waiter.Wait()
	defer stopWaiting()
	ended := make(chan Exit, 1)
	waiter.Go(func() { l.wait(waiting, container.ID, ended) })

	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-wanted.Done():
			return context.Cause(wanted)
		case exit := <-ended:
			return l.explain(exit)
		case <-ticker.C:
			if err := l.look(wanted); err != nil {
				return err
			}
		case <-l.asked:
			l.tell(report{state: mesos.TASK_RUNNING, text: "runs, as before", run: l.last})
		}
	}
}

// wait sends how the container ended. A runtime that does not answer is asked again: the container may well be alive.
func (l *life) wait(ctx context.Context, id string, ended chan<- Exit) {
	for {
		exit, err := l.runtime.Wait(ctx, id)
		if err == nil || errors.Is(err, ErrGone) {
			ended <- exit
			return
		}
		if ctx.Err() == nil {
			l.log.Warn("waiting for the container again", "container", id, "error", err)
		}
		if !sleep(ctx, retryPause) {
			return
		}
	}
}

func (l *life) explain(exit Exit) error {
	status, ok, err := l.dir().Status()
	if err != nil || !ok {
		return explain(exit, nil, l.task)
	}
	return explain(exit, &status, l.task)
}

// end makes sure that nothing of this launch is left, and sends the terminal state.
func (l *life) end(ctx context.Context, why error) {
	ordered, isOrder := errors.AsType[*order](why)
	failed, isFailure := errors.AsType[*failure](why)
	switch {
	case isOrder:
		l.tell(report{state: mesos.TASK_KILLING, text: ordered.why})
		if err := l.clear(ctx, ordered.grace); err != nil {
			l.tell(lost(err))
			return
		}
		l.tell(report{state: mesos.TASK_KILLED, text: ordered.why, run: coordinator.RunReport{Fault: coordinator.FaultNone}})
	case isFailure:
		if err := l.clear(ctx, 0); err != nil {
			l.tell(lost(fmt.Errorf("%s; %w", failed.text, err)))
			return
		}
		l.tell(report{state: mesos.TASK_FAILED, text: failed.text, run: coordinator.RunReport{Fault: failed.fault}})
	default:
		l.tell(lost(why))
	}
}

// lost is the terminal state of a node of which something may still live.
func lost(why error) report {
	return report{state: mesos.TASK_LOST, text: oneLine(why), run: coordinator.RunReport{Fault: coordinator.FaultAgent}}
}

func (l *life) tell(r report) {
	r.text = strings.ToValidUTF8(r.text[:min(len(r.text), maxStatusText)], "")
	l.reports <- r
}

// beat shows the node that its executor lives.
func (l *life) beat(ctx context.Context) {
	count, err := l.dir().LastBeat() // an adopted node knows the beats of another executor
	for {
		count++
		if err = errors.Join(err, l.dir().Beat(count)); err != nil {
			l.log.Error("the node will stop unless it sees that its executor lives", "error", err)
		}
		if !sleep(ctx, beatInterval) {
			return
		}
		err = nil
	}
}
