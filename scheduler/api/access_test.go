package api_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler/api"
)

const scalePath = "/v1/cluster/elasticsearchNodes"

func tokens(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// show asks with a credential: a token, user:password, or nothing.
func show(t *testing.T, f *fake, access api.Access, credential, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := api.Handler(f, api.Options{Access: access})
	require.NoError(t, err)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if user, password, pair := strings.Cut(credential, ":"); pair {
		r.SetBasicAuth(user, password)
	} else if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWhoMayReadAndWhoMayGiveOrders(t *testing.T) {
	readers, writers := tokens(t, "reader-token\nguest:guest-password\n"), tokens(t, "\n writer-token \nadmin:a:b\n")
	both, writing := api.Access{ReadFile: readers, WriteFile: writers}, api.Access{WriteFile: writers}
	for _, c := range []struct {
		access      api.Access
		credential  string
		read, write int
	}{
		{api.Access{}, "", 200, 200},
		{api.Access{}, "any", 200, 200},
		{writing, "", 200, 401},
		{writing, "reader-token", 200, 401},
		{writing, "writer-token", 200, 200},
		{both, "", 401, 401},
		{both, "reader-token", 200, 403},
		{both, "guest:guest-password", 200, 403},
		{both, "guest:wrong", 401, 401},
		{both, "reader-toke", 401, 401},
		{both, "reader-token\nguest", 401, 401},
		{both, "writer-token", 200, 200},
		{both, "admin:a:b", 200, 200},
	} {
		f := newFake()
		for _, path := range []string{"/v1/nodes", "/v1/status", "/v1/cluster", "/v1/tasks", "/metrics", scalePath} {
			assert.Equal(t, c.read, show(t, f, c.access, c.credential, http.MethodGet, path, "").Code, "%q reads %s", c.credential, path)
		}
		w := show(t, f, c.access, c.credential, http.MethodPut, scalePath, `{"value":5}`)
		assert.Equal(t, c.write, w.Code, "%q gives an order: %s", c.credential, w.Body)
		assert.Len(t, f.orders, map[int]int{200: 1}[c.write])
		if w.Code == http.StatusUnauthorized {
			assert.Equal(t, []string{"Bearer", `Basic realm="mooring"`}, w.Header().Values("WWW-Authenticate"))
			assert.Contains(t, w.Body.String(), "--token-file")
			assert.NotContains(t, w.Body.String(), "writer-token")
		}
	}
}

func TestAgentsAndSupervisorsNeedNoToken(t *testing.T) {
	access := api.Access{ReadFile: tokens(t, "r"), WriteFile: tokens(t, "w")}
	for _, path := range []string{api.ArtifactPath, "/healthz", "/readyz"} {
		assert.Equal(t, http.StatusOK, show(t, newFake(), access, "", http.MethodGet, path, "").Code, path)
	}
}

func TestTokensAreReadAtEachRequest(t *testing.T) {
	access := api.Access{WriteFile: tokens(t, "old")}
	require.NoError(t, access.Check())
	f := newFake()
	require.Equal(t, 200, show(t, f, access, "old", http.MethodPut, scalePath, "4").Code)
	require.NoError(t, os.WriteFile(access.WriteFile, []byte("new"), 0o600))
	assert.Equal(t, 401, show(t, f, access, "old", http.MethodPut, scalePath, "4").Code)
	assert.Equal(t, 200, show(t, f, access, "new", http.MethodPut, scalePath, "4").Code)
	require.NoError(t, os.Chmod(access.WriteFile, 0o644))
	w := show(t, f, access, "new", http.MethodPut, scalePath, "4")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, "nobody is let in on a secret that is none")
	assert.Contains(t, w.Body.String(), "is open to everybody on this machine")
	assert.ErrorContains(t, access.Check(), "is open to everybody on this machine")
	assert.ErrorContains(t, api.Access{ReadFile: "/r"}.Check(), "give --api-write-file, too")
}

func TestWhoStandsByPassesTheTokenOn(t *testing.T) {
	access := api.Access{ReadFile: tokens(t, "reader"), WriteFile: tokens(t, "writer")}
	leader := newFake()
	h, err := api.Handler(leader, api.Options{Access: access})
	require.NoError(t, err)
	s := httptest.NewServer(h)
	defer s.Close()
	f := standby(strings.TrimPrefix(s.URL, "http://"))
	assert.Equal(t, 401, show(t, f, access, "", http.MethodPut, scalePath, "5").Code)
	assert.Equal(t, 403, show(t, f, access, "reader", http.MethodPut, scalePath, "5").Code)
	assert.Equal(t, 200, show(t, f, access, "writer", http.MethodPut, scalePath, "5").Code)
	assert.Len(t, leader.orders, 1)
	assert.Equal(t, 200, show(t, f, access, "reader", http.MethodGet, "/v1/status", "").Code)
	assert.Equal(t, 401, show(t, f, api.Access{}, "stranger", http.MethodPut, scalePath, "5").Code, "the leader looks, too")
	assert.Len(t, leader.orders, 1)
}
