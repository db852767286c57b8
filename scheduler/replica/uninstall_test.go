package replica_test

import (
	"net/http"
	"os"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/zookeeper"
)

// ended waits until a scheduler ends by itself, and returns what it logged.
func (p *peer) ended() string {
	p.t.Helper()
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }() // the status is of no interest, what it says is
	eventually(p.t, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}, "it ends")
	content, err := os.ReadFile(p.log)
	require.NoError(p.t, err)
	return string(content)
}

// The order goes to one that stands by; the leader carries it out and ends, and no other one begins anew.
func TestNoneOfSeveralSchedulersOutlivesItsFramework(t *testing.T) {
	p := newPair(t, zookeeper.Run(t), "/uninstall")
	status, body := p.next.ask(http.MethodGet, "/healthz", "")
	assert.Equal(t, http.StatusOK, status, body)
	status, body = p.next.ask(http.MethodPost, "/v1/uninstall", `{"framework":"es"}`)
	require.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, p.first.ended(), "the framework is uninstalled")
	assert.Contains(t, p.next.ended(), "framework es was uninstalled at ")
	assert.Len(t, p.master.Calls(v1.Call_TEARDOWN), 1)
	assert.Empty(t, p.master.Tasks(mesos.TASK_RUNNING))
}
