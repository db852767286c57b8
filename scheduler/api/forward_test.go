package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/api"
)

// standby is a scheduler that stands by for another one.
func standby(leader string) *fake {
	f := newFake()
	f.view.Standby, f.view.Leader, f.view.Subscribed = true, leader, ""
	return f
}

func serve(t *testing.T, f *fake) string {
	t.Helper()
	h, err := api.Handler(f, api.Options{})
	require.NoError(t, err)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestWhoStandsByPassesOrdersOn(t *testing.T) {
	leader := newFake()
	f := standby(serve(t, leader))
	status, body := ask(t, f, http.MethodPut, "/v1/cluster/elasticsearchNodes", `{"value":5}`)
	assert.Equal(t, http.StatusOK, status)
	assert.JSONEq(t, `{"value":5}`, body)
	require.Len(t, leader.orders, 1)
	assert.Equal(t, 5, leader.orders[0].(coordinator.Scale).Target)
	assert.Empty(t, f.orders)

	status, body = ask(t, f, http.MethodPost, "/v1/nodes/7/retire", "")
	assert.Equal(t, http.StatusNotFound, status, "the leader's own answer")
	assert.Contains(t, body, "node 7: there are nodes 1 to 3")
}

func TestWhoStandsByAnswersReads(t *testing.T) {
	f := standby("leader:31100")
	status, body := ask(t, f, http.MethodGet, "/v1/cluster", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `"leader":"leader:31100"`)
	assert.Contains(t, body, `"standby":true`)
	status, body = ask(t, f, http.MethodGet, "/readyz", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "standing by, the scheduler at leader:31100 leads\n", body)
	_, body = ask(t, f, http.MethodGet, "/metrics", "")
	assert.Contains(t, body, "mooring_leading 0\n")

	f.view.StoreError = "read state: no server can be reached"
	for _, path := range []string{"/v1/cluster", "/v1/nodes", "/v1/tasks", "/v1/cluster/elasticsearchNodes", "/readyz"} {
		status, body = ask(t, f, http.MethodGet, path, "")
		assert.Equal(t, http.StatusServiceUnavailable, status, path)
		assert.Contains(t, body, "no server can be reached", path)
	}
}

func TestOrdersThatReachNoLeader(t *testing.T) {
	for name, c := range map[string]struct{ leader, says string }{
		"nobody leads":                 {"", "no scheduler leads at this moment: try again in a few seconds"},
		"the leader is dead":           {"127.0.0.1:1", "the scheduler that leads, at 127.0.0.1:1, does not answer"},
		"the other one stands by, too": {serve(t, standby("somewhere:1")), "no scheduler leads at this moment"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, standby(c.leader), http.MethodPost, "/v1/nodes/1/restart", "")
			assert.Equal(t, http.StatusServiceUnavailable, status)
			assert.Contains(t, body, c.says)
		})
	}
	status, body := ask(t, standby(""), http.MethodGet, "/readyz", "")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "no other scheduler leads")
}

func TestWhatIsWrongIsAskedOfTheLeader(t *testing.T) {
	f := standby(serve(t, newFake()))
	f.view.State.Target = 99
	var s api.Status
	get(t, f, "/v1/status", &s)
	assert.Equal(t, []any{"master:5050", 3}, []any{s.Master, s.Target})
	for _, p := range s.Problems {
		assert.NotZero(t, p.Node, "nothing is wrong with the scheduler: %v", p)
	}
}

func TestWhoStandsByIsHealthy(t *testing.T) {
	f := standby("leader:31100")
	f.view.Turned = time.Time{}
	status, body := ask(t, f, http.MethodGet, "/healthz", "")
	assert.Equal(t, http.StatusOK, status, body)
}
