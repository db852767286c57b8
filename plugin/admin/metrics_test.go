package admin_test

import (
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/admin"
)

// What is measured is in the manual, and what the manual says is measured is.
func TestEveryMetricOfTheDriverIsDocumented(t *testing.T) {
	w := httptest.NewRecorder()
	admin.Probes(&driver{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	shown := map[string]bool{}
	for _, family := range regexp.MustCompile(`(?m)^# TYPE (\w+) (?:gauge|counter)$`).FindAllStringSubmatch(w.Body.String(), -1) {
		shown[family[1]] = true
	}
	assert.Greater(t, len(shown), 10)
	manual, err := os.ReadFile("../../docs/operating-volumes.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(manual), "\n| metric | |\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`(mooring_[a-z_]+)").FindAllStringSubmatch(table, -1) {
		documented[name[1]] = true
	}
	assert.Equal(t, shown, documented)
	for _, name := range regexp.MustCompile(`mooring_[a-z_]+`).FindAllString(string(manual), -1) {
		assert.True(t, shown[name], "%s is measured", name)
	}
	for line := range strings.Lines(w.Body.String()) {
		if name, _, _ := strings.Cut(line, "{"); !strings.HasPrefix(line, "#") {
			assert.True(t, shown[strings.Fields(name)[0]], "%q has a type", line)
		}
	}
}

// Anybody may ask for measurements; orders and volumes are for the operator's socket only.
func TestWhoMeasuresCanDoNothingElse(t *testing.T) {
	d := &driver{}
	probes := admin.Probes(d)
	for request, want := range map[string]int{
		"GET /metrics": 200, "GET /healthz": 200, "GET /readyz": 200, "POST /healthz": 405, "DELETE /v1/volumes/v": 404, "PUT /v1/drain": 404,
		"GET /v1/volumes": 404, "POST /v1/volumes/v/takeover": 404, "GET /v1/doctor": 404, "GET /": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		probes.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(`{"reason":"x","force":true}`)))
		assert.Equal(t, want, w.Code, request)
	}
	assert.Empty(t, d.disposed)
	assert.Empty(t, d.order)
}
