package executor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// send makes a Mesos status of a report and sends it to the agent.
func (e *executor) send(ctx context.Context, info mesos.TaskInfo, r report) {
	data, err := json.Marshal(r.run)
	if err != nil {
		e.log.Error("status without data", "error", err) // a struct of plain fields always has a JSON form
	}
	source := mesos.SOURCE_EXECUTOR
	now := float64(time.Now().UnixMicro()) / 1e6
	e.agent.send(ctx, mesos.TaskStatus{
		TaskID:     info.TaskID,
		State:      &r.state,
		Message:    &r.text,
		Source:     &source,
		Data:       data,
		ExecutorID: &mesos.ExecutorID{Value: e.env.ExecutorID},
		Timestamp:  &now,
		UUID:       newUUID(),
	})
}

// newUUID is random, version 4 of RFC 4122: agents look at the form (Mesos 1.11).
func newUUID() []byte {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func isTerminal(state mesos.TaskState) bool {
	switch state {
	case mesos.TASK_KILLED, mesos.TASK_FAILED, mesos.TASK_LOST, mesos.TASK_ERROR:
		return true
	default:
		return false
	}
}
