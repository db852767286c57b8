package elasticsearch_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/elasticsearch"
)

// serve answers every question with the same text and remembers the latest.
func serve(t *testing.T, status int, answer string) (client *elasticsearch.Client, asked *string) {
	t.Helper()
	asked = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.Method + " " + r.URL.String()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return elasticsearch.NewClient(strings.TrimPrefix(server.URL, "http://"), nil), asked
}

func TestMembership(t *testing.T) {
	for answer, want := range map[string]elasticsearch.Membership{
		`{"master_node":"m","metadata":{"cluster_uuid":"u"}}`:    {Joined: true, Master: "m", Cluster: "u"},
		`{"metadata":{"cluster_uuid":"u"}}`:                      {Cluster: "u"},
		`{"master_node":"m","metadata":{"cluster_uuid":"_na_"}}`: {},
		`{"metadata":{"cluster_uuid":"_na_"}}`:                   {},
		`{}`:                                                     {},
	} {
		client, asked := serve(t, http.StatusOK, answer)
		got, err := client.Membership(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got, answer)
		require.Equal(t, "GET /_cluster/state/master_node,metadata?local=true&filter_path=master_node,metadata.cluster_uuid", *asked)
	}
}

func TestSelf(t *testing.T) {
	client, _ := serve(t, http.StatusOK, `{"nodes":{"abc":{"version":"8.19.5"}}}`)
	self, err := client.Self(t.Context())
	require.NoError(t, err)
	require.Equal(t, elasticsearch.Self{ID: "abc", Version: "8.19.5"}, self)

	client, _ = serve(t, http.StatusOK, `{}`)
	_, err = client.Self(t.Context())
	require.ErrorContains(t, err, "names no node")
}

// Elasticsearch 7.17 answers 408 when it still has something to do, with the whole health.
func TestHealth(t *testing.T) {
	const answer = `{"status":"yellow","number_of_nodes":3,"initializing_shards":1,"number_of_in_flight_fetch":2,"relocating_shards":3,
		"delayed_unassigned_shards":4,"unassigned_shards":5,"active_shards":6}`
	for _, status := range []int{http.StatusOK, http.StatusRequestTimeout} {
		client, asked := serve(t, status, answer)
		health, err := client.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, elasticsearch.Health{Status: "yellow", Nodes: 3, Initializing: 1, Fetching: 2, Relocating: 3, Delayed: 4, Unassigned: 5}, health)
		require.Contains(t, *asked, "GET /_cluster/health?local=true&wait_for_events=languid&timeout=1s&")
	}
	client, _ := serve(t, http.StatusRequestTimeout, `{}`)
	_, err := client.Health(t.Context())
	require.ErrorContains(t, err, "the answer has no status")
}

func TestBadAnswers(t *testing.T) {
	client, _ := serve(t, http.StatusServiceUnavailable, `{}`)
	_, err := client.Health(t.Context())
	require.ErrorContains(t, err, "answered 503 Service Unavailable")

	client, _ = serve(t, http.StatusRequestTimeout, `{}`) // in which nothing was waited for
	_, err = client.Membership(t.Context())
	require.ErrorContains(t, err, "answered 408 Request Timeout")

	client, _ = serve(t, http.StatusOK, `<html>`)
	_, err = client.Membership(t.Context())
	require.ErrorContains(t, err, "read answer of Elasticsearch")

	_, err = elasticsearch.NewClient("127.0.0.1:1", nil).Membership(t.Context())
	require.ErrorContains(t, err, "ask Elasticsearch")
}
