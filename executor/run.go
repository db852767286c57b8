package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/executor/rundir"
)

const (
	// shutdownMargin is left of the agent's grace period for removing the container and for the last update.
	shutdownMargin = 3 * time.Second
	// ackTimeout bounds the wait for the last acknowledgement while the agent does not promise to come back.
	ackTimeout = 10 * time.Second
)

// TokenVariable holds the secret by which an agent that authenticates executors knows this one.
const TokenVariable = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

// Options are what an executor can be told beyond Mesos' own environment.
type Options struct {
	RunDir string       // shared with the node; "run" in the sandbox if empty
	Driver Driver       // of the volumes; nil if it cannot be asked
	Log    hclog.Logger // nil is silent
}

// executor connects the agent with the one life that it asks for. Its fields belong to the goroutine of loop.
type executor struct {
	env     config.Config
	agent   *agent
	runtime Runtime
	driver  Driver // may be nil
	runDir  string
	log     hclog.Logger

	info    mesos.TaskInfo          // what the agent launched
	life    *life                   // of that; nil before
	order   context.CancelCauseFunc // ends the life
	reports chan report             // of the life

	ending bool             // no task will be accepted or none is left
	shut   bool             // the agent shuts this executor down
	linger <-chan time.Time // then nobody waits for acknowledgements any longer
	lost   error            // why there is no agent any more
}

// Run does what the Mesos agent asks for that started this process, as its environment says. It returns when the node has
// ended and the agent knows of it, when the agent shuts it down or stays away for too long; the end of ctx is like a shutdown.
// An error says what was wrong with the environment or that the agent was lost.
func Run(ctx context.Context, runtime Runtime, o Options) error {
	env, err := config.FromEnv()
	if err != nil {
		return fmt.Errorf("an executor is started by a Mesos agent, whose variables are missing here: %w", err)
	}
	if o.RunDir == "" {
		o.RunDir = filepath.Join(env.Sandbox, "run")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	log := o.Log.With("agent", env.AgentEndpoint)
	e := &executor{
		env: env, runtime: runtime, driver: o.Driver, runDir: o.RunDir, log: log, reports: make(chan report),
		agent: newAgent(env, os.Getenv(TokenVariable), log),
	}
	working := context.WithoutCancel(ctx) // what is under way when ctx ends is brought to its end
	subscribed, unsubscribe := context.WithCancel(working)
	lost := make(chan error, 1)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer unsubscribe()
	workers.Go(func() { lost <- e.agent.run(subscribed) })
	e.loop(ctx, lost, &workers)
	return e.lost
}

// loop is the one place where things happen in order.
func (e *executor) loop(ctx context.Context, lost <-chan error, workers *sync.WaitGroup) {
	asked, working := ctx.Done(), context.WithoutCancel(ctx)
	for !e.over() {
		select {
		case event := <-e.agent.events:
			e.handle(working, event, workers)
		case r := <-e.reports:
			e.tell(working, r)
		case e.lost = <-lost:
			lost = nil
			e.log.Error("agent lost", "error", e.lost)
			e.stop("the agent is gone", e.patience())
		case <-asked:
			asked = nil
			e.stop("the executor was asked to end", e.shutdownGrace())
		case <-e.linger:
			e.log.Warn("last update not acknowledged in time")
			return
		}
	}
}

// over says whether there is nothing left to do or to wait for.
func (e *executor) over() bool {
	return e.ending && (e.agent.outbox.empty() || e.lost != nil)
}

func (e *executor) handle(ctx context.Context, event mesosexec.Event, workers *sync.WaitGroup) {
	switch event.Type {
	case mesosexec.Event_SUBSCRIBED:
		e.log.Info("subscribed")
		e.agent.flush(ctx)
	case mesosexec.Event_LAUNCH:
		e.launch(ctx, event.Launch.Task, workers)
	case mesosexec.Event_KILL:
		e.kill(event.Kill)
	case mesosexec.Event_ACKNOWLEDGED:
		e.agent.outbox.acknowledge(event.Acknowledged.TaskID.Value, event.Acknowledged.UUID)
	case mesosexec.Event_MESSAGE:
		e.message(event.Message.Data)
	case mesosexec.Event_SHUTDOWN:
		e.shut = true
		if e.ending {
			e.await()
		}
		e.stop("the agent shuts the executor down", e.shutdownGrace())
	case mesosexec.Event_ERROR:
		e.log.Error("agent reports an error", "error", event.Error.Message)
		e.stop("the agent reports an error", e.shutdownGrace())
	case mesosexec.Event_LAUNCH_GROUP, mesosexec.Event_HEARTBEAT, mesosexec.Event_UNKNOWN:
		e.log.Debug("event passed over", "type", event.Type)
	}
}

// launch begins the one life of this executor. Whatever else is launched is refused.
func (e *executor) launch(ctx context.Context, info mesos.TaskInfo, workers *sync.WaitGroup) {
	if e.life != nil && info.TaskID == e.info.TaskID {
		return // the agent repeats itself
	}
	e.agent.outbox.addTask(info)
	task, err := taskOf(info)
	switch {
	case e.life != nil || e.ending:
		err = fmt.Errorf("this executor runs task %q only: launch each task with an executor of its own", e.info.TaskID.Value)
	case err == nil:
		e.begin(ctx, info, task, workers)
		return
	}
	e.log.Error("task refused", "error", err)
	e.send(ctx, info, report{state: mesos.TASK_ERROR, text: oneLine(err)})
	if e.life == nil {
		e.finish()
	}
}

func (e *executor) begin(ctx context.Context, info mesos.TaskInfo, task coordinator.Task, workers *sync.WaitGroup) {
	wanted, order := context.WithCancelCause(ctx)
	e.log = e.log.With("node", task.Node, "epoch", task.Epoch)
	l := &life{
		task: task, run: rundir.Dir(e.runDir), endpoint: e.env.AgentEndpoint, runtime: e.runtime, driver: e.driver, reports: e.reports, log: e.log,
		client: elasticsearch.NewClient(coordinator.Address(task.Place.Host, task.Place.HTTPPort), nil), asked: make(chan struct{}, 1),
	}
	e.info, e.life, e.order = info, l, order
	workers.Go(func() {
		defer order(nil)
		l.live(wanted)
	})
}

// kill stops the node in the time that the scheduler gives it, or else in the task's own.
func (e *executor) kill(kill *mesosexec.Event_Kill) {
	if e.life == nil || kill.TaskID != e.info.TaskID {
		e.log.Warn("kill of an unknown task passed over", "task", kill.TaskID.Value)
		return
	}
	grace := e.life.patience()
	for _, policy := range []*mesos.KillPolicy{e.info.KillPolicy, kill.KillPolicy} {
		if policy != nil && policy.GracePeriod != nil {
			grace = time.Duration(policy.GracePeriod.Nanoseconds)
		}
	}
	e.stop("killed by the scheduler", grace)
}

// patience is the time that the task itself gives Elasticsearch to end.
func (e *executor) patience() time.Duration {
	if e.life == nil {
		return 0
	}
	return e.life.patience()
}

// shutdownGrace is what remains for Elasticsearch before the agent kills this process.
func (e *executor) shutdownGrace() time.Duration {
	return max(0, min(e.patience(), e.env.ExecutorShutdownGracePeriod-shutdownMargin))
}

// stop orders the life to end; the first order counts. Without a life there is nothing to wait for.
func (e *executor) stop(why string, grace time.Duration) {
	e.log.Info("stopping", "reason", why, "grace", grace)
	if e.life == nil {
		e.finish()
		return
	}
	e.order(&order{why, grace})
}

// message takes over where the other nodes are now. A scheduler that does not know whether this one has joined asks for it: Mesos tells
// it that the task runs, without what was said along with it.
func (e *executor) message(data []byte) {
	var news struct {
		Seeds []string `json:"seeds"`
		Tell  bool     `json:"tell"`
	}
	if err := json.Unmarshal(data, &news); err != nil || news.Seeds == nil || e.life == nil {
		e.log.Warn("message of the scheduler passed over", "error", err)
		return
	}
	if err := e.life.setSeeds(news.Seeds); err != nil {
		e.log.Warn("seeds not handed to the node", "error", err)
	}
	if news.Tell {
		e.life.tellAgain()
	}
}

// tell sends a status of the task, the last one of which ends the executor's work.
func (e *executor) tell(ctx context.Context, r report) {
	e.log.Info("task reported", "state", r.state.String(), "text", r.text)
	e.send(ctx, e.info, r)
	if isTerminal(r.state) {
		e.finish()
	}
}

// finish waits only for acknowledgements from now on.
func (e *executor) finish() {
	if !e.ending {
		e.ending = true
		e.await()
	}
}

// await bounds the wait for acknowledgements. An agent that shuts executors down because it terminates, or because the framework
// does, takes their updates but acknowledges none (seen with Mesos 1.11), and waits for them to end.
func (e *executor) await() {
	wait := ackTimeout
	switch {
	case e.shut:
		wait = shutdownMargin
	case e.env.Checkpoint:
		wait = max(wait, e.env.RecoveryTimeout)
	}
	e.linger = time.After(wait)
}
