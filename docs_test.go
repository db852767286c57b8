package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	namedTest    = regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Z]\\w+)(?:/([^`*']+))?`")
)

// testSources are the texts of the files with tests, by the names of the tests in them.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := map[string]string{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		content, err := os.ReadFile(name)
		for _, found := range declaredTest.FindAllStringSubmatch(string(content), -1) {
			sources[found[1]] += string(content)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	return sources
}

func documents(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return append(all, "README.md", "CHANGELOG.md")
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}

func TestTheTestsThatDocumentsNameExist(t *testing.T) {
	sources := testSources(t)
	for _, document := range documents(t) {
		for _, named := range namedTest.FindAllStringSubmatch(read(t, document), -1) {
			source, exists := sources[named[1]]
			assert.True(t, exists, "%s names %s", document, named[1])
			if named[2] != "" {
				assert.Contains(t, source, strconv.Quote(named[2]), "%s names a part of %s", document, named[1])
			}
		}
	}
}

// Of what is numbered in a table nothing is left out, and each row has its test.
func TestEveryRowOfTheTablesHasATest(t *testing.T) {
	for document, tables := range map[string][]int{"docs/acceptance.md": {20}, "docs/mesos.md": {30, 18, 21, 6}} {
		var rows []int // so far, by table
		for line := range strings.Lines(read(t, document)) {
			cells := strings.Split(line, " | ")
			switch number, err := strconv.Atoi(strings.TrimPrefix(cells[0], "| ")); {
			case strings.HasPrefix(line, "| # |"):
				rows = append(rows, 0)
			case err == nil:
				last := &rows[len(rows)-1]
				*last++
				assert.Equal(t, *last, number, document)
				assert.Regexp(t, namedTest, cells[len(cells)-1], "%s, row %d", document, number)
			}
		}
		assert.Equal(t, tables, rows, document)
	}
}

// The manual for users of the Java framework lists exactly the old names that are known, each with its option, and all the others as refused.
func TestTheOldNamesOfOptionsAreThoseOfTheManual(t *testing.T) {
	known, refused := map[string]string{}, map[string]bool{}
	old := regexp.MustCompile("`--([a-z]+[A-Z][A-Za-z]*|javaHome|dataDir)`")
	for line := range strings.Lines(read(t, "docs/java-framework.md")) {
		cells := strings.Split(line, " | ")
		names := old.FindAllStringSubmatch(cells[0], -1)
		if ours := regexp.MustCompile("^`--([a-z-]+)`$").FindStringSubmatch(cells[min(1, len(cells)-1)]); len(names) == 1 && ours != nil && len(cells) > 2 {
			known[names[0][1]] = ours[1]
			continue
		}
		for _, name := range names {
			refused[name[1]] = true
		}
	}
	aliases := map[string]string{}
	for _, command := range model(t).Children {
		for _, flag := range command.Flags {
			for _, alias := range flag.Aliases {
				aliases[alias] = flag.Name
			}
		}
	}
	assert.Equal(t, aliases, known)
	assert.Len(t, refused, 12)
	for name := range refused {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--"+name+"=1")
		assert.ErrorContains(t, err, "unknown flag --"+name)
	}
}
