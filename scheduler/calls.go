package scheduler

import (
	"encoding/json"
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"mooring/coordinator"
)

// subscribeCall registers the framework, or takes it up again when its ID is known: then the ID goes into both fields, since
// with one alone Mesos answers 400.
func (o Options) subscribeCall(s coordinator.State, principal string) *v1.Call {
	info := &mesos.FrameworkInfo{
		User:            o.User,
		Name:            s.Framework,
		FailoverTimeout: ptr(o.FailoverTimeout.Seconds()),
		Checkpoint:      ptr(true), // Mesos never allows a change of this later
		Roles:           o.Roles,
		Capabilities: capabilities(
			mesos.FrameworkInfo_Capability_PARTITION_AWARE,
			mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
			mesos.FrameworkInfo_Capability_MULTI_ROLE,
			mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
			mesos.FrameworkInfo_Capability_REGION_AWARE,
		),
	}
	if principal != "" {
		info.Principal = ptr(principal)
	}
	call := calls.Subscribe(info).With(calls.SubscribeTo(s.FrameworkID))
	call.Subscribe.SuppressedRoles = o.suppressed(s)
	return call
}

func capabilities(types ...mesos.FrameworkInfo_Capability_Type) []mesos.FrameworkInfo_Capability {
	all := make([]mesos.FrameworkInfo_Capability, len(types))
	for i, t := range types {
		all[i].Type = t
	}
	return all
}

// call turns an action into a call; nil for those that are none.
func (o Options) call(a coordinator.Action, offers map[string]*mesos.Offer) (*v1.Call, error) {
	switch a := a.(type) {
	case coordinator.Launch:
		return o.accept(a, offers)
	case coordinator.Decline:
		return calls.Decline(offerIDs(a.Offers)...).With(calls.RefuseSeconds(a.Refuse)), nil
	case coordinator.Kill:
		return calls.Kill(a.Task, a.Agent), nil
	case coordinator.Acknowledge:
		return calls.Acknowledge(a.Agent, a.Task, []byte(a.UUID)), nil
	case coordinator.Reconcile:
		return reconcile(a.Tasks), nil
	case coordinator.Suppress:
		return calls.SuppressWith(a.Roles), nil
	case coordinator.Revive:
		return calls.ReviveWith(a.Roles), nil
	case coordinator.Seeds:
		return seeds(a)
	case coordinator.AnswerNotice:
		if a.Accept {
			return calls.AcceptInverseOffers(offerIDs(a.Notices)...).With(calls.RefuseSeconds(a.Refuse)), nil
		}
		return calls.DeclineInverseOffers(offerIDs(a.Notices)...).With(calls.RefuseSeconds(a.Refuse)), nil
	case coordinator.Teardown:
		return &v1.Call{Type: v1.Call_TEARDOWN}, nil
	case coordinator.Note:
		return nil, nil
	}
	panic(fmt.Sprintf("scheduler: no call for action %T", a))
}

func (o Options) accept(l coordinator.Launch, offers map[string]*mesos.Offer) (*v1.Call, error) {
	accepted := make([]*mesos.Offer, len(l.Offers))
	for i, id := range l.Offers {
		if accepted[i] = offers[id]; accepted[i] == nil {
			return nil, fmt.Errorf("offer %s for %s is not at hand", id, l.Task.ID())
		}
	}
	task, err := o.taskInfo(l, accepted)
	if err != nil {
		return nil, err
	}
	launch := calls.OfferOperations{calls.OpLaunch(task)}
	return calls.Accept(launch.WithOffers(offerIDs(l.Offers)...)), nil
}

func offerIDs(ids []string) []mesos.OfferID {
	all := make([]mesos.OfferID, len(ids))
	for i, id := range ids {
		all[i].Value = id
	}
	return all
}

func reconcile(tasks []coordinator.TaskRef) *v1.Call {
	agents := make(map[string]string, len(tasks))
	for _, t := range tasks {
		agents[t.Task] = t.Agent
	}
	return calls.Reconcile(calls.ReconcileTasks(agents))
}

// seedsMessage is what an executor is told while its node runs.
type seedsMessage struct {
	Seeds []string `json:"seeds"`
	Tell  bool     `json:"tell,omitempty"` // the state that was told last, again
}

func seeds(s coordinator.Seeds) (*v1.Call, error) {
	data, err := json.Marshal(seedsMessage{Seeds: s.Seeds, Tell: s.Ask})
	if err != nil {
		return nil, fmt.Errorf("encode seeds for %s: %w", s.Task, err)
	}
	return calls.Message(s.Agent, s.Task, data), nil // an executor's ID is its task's
}
