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
		`{"master_node":"m","metadata":{"cluster_uuid":"u"}}`:    {Joined: true, Cluster: "u"},
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

func TestVersionAndHealth(t *testing.T) {
	client, _ := serve(t, http.StatusOK, `{"nodes":{"abc":{"version":"8.19.5"}}}`)
	version, err := client.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, "8.19.5", version)

	client, _ = serve(t, http.StatusOK, `{}`)
	_, err = client.Version(t.Context())
	require.ErrorContains(t, err, "names no node")

	client, _ = serve(t, http.StatusOK, `{"status":"green","number_of_nodes":3}`)
	health, err := client.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, elasticsearch.Health{Status: "green", Nodes: 3}, health)
}

func TestBadAnswers(t *testing.T) {
	client, _ := serve(t, http.StatusServiceUnavailable, `{}`)
	_, err := client.Health(t.Context())
	require.ErrorContains(t, err, "answered 503 Service Unavailable")

	client, _ = serve(t, http.StatusOK, `<html>`)
	_, err = client.Membership(t.Context())
	require.ErrorContains(t, err, "read answer of Elasticsearch")

	_, err = elasticsearch.NewClient("127.0.0.1:1", nil).Membership(t.Context())
	require.ErrorContains(t, err, "ask Elasticsearch")
}
