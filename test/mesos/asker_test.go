package mesos_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/recordio"
)

// asker has the framework's subscription in place of its scheduler. It does nothing but ask after tasks and listen.
type asker struct {
	t         *testing.T
	client    *http.Client
	master    string
	framework string
	stream    string // ID of the subscription
	events    *recordio.Reader
	questions int
}

// askInstead ends the scheduler and subscribes in its place, wanting no offers.
func (p pair) askInstead() *asker {
	p.t().Helper()
	p.rig.stop()
	a := &asker{
		t: p.t(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		master: p.Master, framework: p.scheduler.View().State.FrameworkID,
	}
	info := &mesos.FrameworkInfo{User: "root", Name: "es", Roles: []string{"*"}, Checkpoint: new(true), FailoverTimeout: new(time.Hour.Seconds())}
	for _, capability := range []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_PARTITION_AWARE, mesos.FrameworkInfo_Capability_MULTI_ROLE, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
	} {
		info.Capabilities = append(info.Capabilities, mesos.FrameworkInfo_Capability{Type: capability})
	}
	subscribe := calls.Subscribe(info).With(calls.SubscribeTo(a.framework))
	subscribe.Subscribe.SuppressedRoles = info.Roles
	response := a.send(subscribe, http.StatusOK)
	a.t.Cleanup(func() { require.NoError(a.t, response.Body.Close()) })
	a.stream, a.events = response.Header.Get("Mesos-Stream-Id"), recordio.NewReader(response.Body, 1<<20)
	require.Equal(a.t, v1.Event_SUBSCRIBED, a.next().Type)
	return a
}

// send sends a call. The answer's stream, if it has one, ends with the test.
func (a *asker) send(call *v1.Call, status int) *http.Response {
	a.t.Helper()
	body, err := call.Marshal()
	require.NoError(a.t, err)
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	a.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.master+"/api/v1/scheduler", bytes.NewReader(body))
	require.NoError(a.t, err)
	request.Header = http.Header{"Content-Type": {"application/x-protobuf"}, "Accept": {"application/x-protobuf"}}
	if a.stream != "" {
		request.Header.Set("Mesos-Stream-Id", a.stream)
	}
	response, err := a.client.Do(request)
	require.NoError(a.t, err)
	require.Equal(a.t, status, response.StatusCode)
	return response
}

func (a *asker) next() *v1.Event {
	a.t.Helper()
	record, err := a.events.Next()
	require.NoError(a.t, err)
	event := new(v1.Event)
	require.NoError(a.t, event.Unmarshal(record))
	return event
}

// reconcile asks after tasks, as those of their agents; naming none, after all that the master has to tell.
func (a *asker) reconcile(tasks ...coordinator.TaskRef) {
	a.t.Helper()
	agents := map[string]string{}
	for _, t := range tasks {
		agents[t.Task] = t.Agent
	}
	call := calls.Reconcile(calls.ReconcileTasks(agents))
	call.FrameworkID = &mesos.FrameworkID{Value: a.framework}
	require.NoError(a.t, a.send(call, http.StatusAccepted).Body.Close())
}

// hears asks after tasks, or implicitly, and returns all that Mesos says of any, "ID STATE", until it answers the question that comes after
// this one, after a task that never was.
func (a *asker) hears(tasks ...coordinator.TaskRef) (said []string) {
	a.t.Helper()
	a.questions++
	last := fmt.Sprintf("never-was-%d", a.questions)
	a.reconcile(tasks...)
	a.reconcile(coordinator.TaskRef{Task: last})
	for {
		event := a.next()
		if event.Type != v1.Event_UPDATE {
			continue
		}
		status := event.Update.Status
		if status.TaskID.Value == last {
			return said
		}
		said = append(said, status.TaskID.Value+" "+strings.TrimPrefix(status.GetState().String(), "TASK_"))
	}
}
