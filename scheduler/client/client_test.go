package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring/coordinator"
	"mooring/scheduler"
	"mooring/scheduler/api"
	"mooring/scheduler/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// framework is a scheduler that decides but launches nothing.
type framework struct {
	state coordinator.State
	err   error
}

func (f *framework) View() scheduler.View {
	return scheduler.View{State: f.state, Loaded: true, Subscribed: "m:5050"}
}

func (f *framework) Counters() map[string]int64 { return map[string]int64{} }

func (f *framework) Apply(_ context.Context, e coordinator.Event) error {
	if f.err == nil {
		f.state, _ = coordinator.Rules{}.Step(f.state, e)
	}
	return f.err
}

// serve answers for a framework of three nodes.
func serve(t *testing.T) (*framework, *client.Client) {
	f := &framework{state: coordinator.NewState("es", 3)}
	h, err := api.Handler(f, api.Options{})
	require.NoError(t, err)
	return f, reach(t, h)
}

func reach(t *testing.T, h http.Handler) *client.Client {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, nil)
	require.NoError(t, err)
	return c
}

func TestOrdersArriveAndAreSeen(t *testing.T) {
	f, c := serve(t)
	ctx := t.Context()
	require.NoError(t, c.Scale(ctx, 4))
	assert.Equal(t, 4, f.state.Target)
	n, err := c.Order(ctx, 2, "retire")
	require.NoError(t, err)
	assert.Equal(t, coordinator.Retire, n.Intent)
	assert.Equal(t, 3, f.state.Target)
	n, err = c.Node(ctx, 2)
	require.NoError(t, err)
	assert.Equal(t, "es2", n.Name)
	nodes, err := c.Nodes(ctx)
	require.NoError(t, err)
	assert.Len(t, nodes, 4)
	s, err := c.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, "m:5050", s.Master)
	cluster, err := c.Cluster(ctx)
	require.NoError(t, err)
	assert.Equal(t, 3, cluster.Target)
	require.NoError(t, c.Ready(ctx))
	_, err = c.Uninstall(ctx, "other")
	require.ErrorContains(t, err, `use {"framework": "es"}`)
	s, err = c.Uninstall(ctx, "es")
	require.NoError(t, err)
	assert.Equal(t, "stopping", s.Removal)
}

func TestTheSchedulersOwnWordsComeThrough(t *testing.T) {
	f, c := serve(t)
	_, err := c.Order(t.Context(), 9, "restart")
	require.EqualError(t, err, "node 9: there are nodes 1 to 3")
	require.EqualError(t, c.Scale(t.Context(), 0), `number of nodes 0: use {"value": n} with n from 1 to 10000`)
	f.err = errors.New("save state: disk full")
	require.EqualError(t, c.Scale(t.Context(), 5), "save state: disk full")
}

func TestWhoIsNoScheduler(t *testing.T) {
	c := reach(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }))
	_, err := c.Nodes(t.Context())
	require.ErrorContains(t, err, "answers 502 Bad Gateway: <html>")
	c = reach(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	_, err = c.Nodes(t.Context())
	require.ErrorContains(t, err, `answers "hello", which no scheduler of mooring does: use http://HOST:PORT`)
}

func TestNobodyAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	c, err := client.New(address, nil)
	require.NoError(t, err)
	_, err = c.Status(t.Context())
	unreachable, ok := errors.AsType[client.Unreachable](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, address, unreachable.Address)
	assert.ErrorContains(t, err, "no scheduler answers at "+address+" (dial tcp ")
	assert.ErrorContains(t, err, "give --scheduler=http://HOST:PORT or set MOORING_SCHEDULER")
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"http://h:31100", "h:31100", "https://h", "http://h:1/"} {
		_, err := client.New(good, nil)
		assert.NoError(t, err, good)
	}
	for bad, says := range map[string]string{
		"":                  `scheduler "": use http://HOST:PORT`,
		"zk://h:2181":       `scheduler "zk://h:2181": use http://HOST:PORT`,
		"http://h/v1/nodes": `scheduler at "h": use http://HOST:PORT`,
		"http://u:hush@h:1": `scheduler at "h:1": use http://HOST:PORT`,
		"http://h:1?a=b":    `scheduler at "h:1": use http://HOST:PORT`,
	} {
		_, err := client.New(bad, nil)
		assert.ErrorContains(t, err, says, bad)
		assert.NotContains(t, err.Error(), "hush")
	}
}

func TestAClientShowsItsToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("token\nuser:pass:word"), 0o600))
	h, err := api.Handler(&framework{state: coordinator.NewState("es", 3)}, api.Options{Access: api.Access{ReadFile: file, WriteFile: file}})
	require.NoError(t, err)
	c := reach(t, h)
	require.ErrorContains(t, c.Scale(t.Context(), 4), "give --token-file or set MOORING_TOKEN_FILE")
	for _, token := range []string{"token", "user:pass:word"} {
		c.As(token)
		require.NoError(t, c.Scale(t.Context(), 4), token)
	}
	c.As("wrong")
	require.ErrorContains(t, c.Scale(t.Context(), 4), "does not know the token")
}
