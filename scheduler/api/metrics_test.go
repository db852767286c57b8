package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is counted but not in the list of metrics would not be shown at all, and what is shown is to be documented.
func TestEveryMetricIsShownAndDocumented(t *testing.T) {
	_, shown := ask(t, newFake(), "GET", "/metrics", "")
	manual, err := os.ReadFile("../../docs/operating-nodes.md")
	require.NoError(t, err)
	sources, err := os.ReadDir("..")
	require.NoError(t, err)
	names := regexp.MustCompile(`mooring_[a-z_]+`)
	counted := 0
	for _, source := range sources {
		if !strings.HasSuffix(source.Name(), ".go") || strings.HasSuffix(source.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile("../" + source.Name())
		require.NoError(t, err)
		for _, name := range names.FindAllString(string(text), -1) {
			counted++
			assert.Contains(t, shown, "# TYPE "+name+" counter\n", "counted in %s", source.Name())
		}
	}
	assert.Greater(t, counted, 8)
	for _, name := range names.FindAllString(shown, -1) {
		assert.Contains(t, string(manual), "`"+name, "documented")
	}
	for _, name := range names.FindAllString(string(manual), -1) {
		assert.Contains(t, shown, "# TYPE "+name+" ", "there is one")
	}
}
