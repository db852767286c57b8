package executor

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/executor/rundir"
)

// Told is a report of a life.
type Told struct {
	State mesos.TaskState
	Text  string
	Run   coordinator.RunReport
}

// Live runs one life without an agent and hands every report to told.
func Live(wanted context.Context, task coordinator.Task, runtime Runtime, run string, es http.RoundTripper, told func(Told)) {
	reports := make(chan report)
	l := &life{
		task: task, run: rundir.Dir(run), runtime: runtime, reports: reports, log: hclog.NewNullLogger(),
		client: elasticsearch.NewClient("127.0.0.1:9200", es), asked: make(chan struct{}, 1),
	}
	go func() {
		defer close(reports)
		l.live(wanted)
	}()
	for r := range reports {
		told(Told{r.state, r.text, r.run})
	}
}

// Order is a cause that ends a life.
func Order(why string, grace time.Duration) error { return &order{why, grace} }
