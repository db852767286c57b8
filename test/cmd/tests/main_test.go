package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	passes  = "func TestPasses(t *testing.T) { t.Log(\"all is well\") }\n"
	skips   = "func TestSkips(t *testing.T) { t.Run(\"mounting\", func(t *testing.T) { t.Skip(\"takes root\") }) }\n"
	fails   = "func TestFails(t *testing.T) { t.Error(\"it is broken\") }\n"
	panics  = "func TestPanics(t *testing.T) { panic(\"out of order\") }\n"
	exits   = "func TestExits(t *testing.T) { os.Exit(3) }\nvar _ = os.Exit\n"
	unbuilt = "func TestUnbuilt(t *testing.T) { nothing() }\n"
)

// module is a module of one package with tests.
func module(t *testing.T, tests ...string) string {
	t.Helper()
	dir, imports := t.TempDir(), "import \"testing\"\n"
	content := strings.Join(tests, "")
	if strings.Contains(content, "os.") {
		imports += "import \"os\"\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example\n\ngo 1.26\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package example\n\n"+imports+content), 0o600))
	return dir
}

func TestASkippedTestIsToldAndFailsARunWithoutSkips(t *testing.T) {
	dir := module(t, passes, skips)
	const told = "example TestSkips/mounting: a_test.go:5: takes root"

	var out strings.Builder
	require.NoError(t, run(t.Context(), dir, []string{"-vet=off", "."}, false, &out))
	assert.Contains(t, out.String(), told)

	out.Reset()
	err := run(t.Context(), dir, []string{"-vet=off", "."}, true, &out)
	require.ErrorContains(t, err, told)
	require.ErrorContains(t, err, "1 tests were skipped")
}

func TestARunWithoutSkipsPassesAndShowsWhatGoTestShows(t *testing.T) {
	dir := module(t, passes)
	var out strings.Builder
	require.NoError(t, run(t.Context(), dir, []string{"-vet=off", "."}, true, &out))
	assert.Regexp(t, `^ok\s+example\s+[0-9.]+s\n$`, out.String())

	out.Reset()
	require.NoError(t, run(t.Context(), dir, []string{"-vet=off", "-v", "."}, true, &out))
	assert.Contains(t, out.String(), "all is well")
}

func TestAFailureIsShownAndFailsTheRun(t *testing.T) {
	for content, shown := range map[string]string{fails: "it is broken", panics: "out of order", exits: "=== RUN   TestExits", unbuilt: "undefined: nothing"} {
		var out strings.Builder
		err := run(t.Context(), module(t, passes, content), []string{"-vet=off", "."}, false, &out)
		require.ErrorContains(t, err, "exit status 1", shown)
		assert.Contains(t, out.String(), shown)
		assert.Contains(t, out.String(), "FAIL\texample")
		assert.NotContains(t, out.String(), "all is well")
	}
}

func TestWhatGoTestSaysIsUnreadable(t *testing.T) {
	require.ErrorContains(t, newReport(&strings.Builder{}, false).read(strings.NewReader("no JSON")), "read what go test says")
}
