package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "mooring"

// rooms are the folders that may not import each other; they meet in what the pure ones define.
var (
	rooms = []string{"plugin", "scheduler", "executor"}
	pure  = []string{"coordinator", "elasticsearch"}
)

// files parses the Go files below a folder, tests left out, by folder.
func files(t *testing.T, root string) map[string][]*ast.File {
	t.Helper()
	found := map[string][]*ast.File{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		found[path.Dir(name)] = append(found[path.Dir(name)], file)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, found, root)
	return found
}

func imports(files []*ast.File) []string {
	var names []string
	for _, file := range files {
		for _, i := range file.Imports {
			names = append(names, strings.Trim(i.Path.Value, `"`))
		}
	}
	return names
}

// room is the top folder that an import of ours is in, "" for all others.
func room(name string) string {
	inside, ours := strings.CutPrefix(name, module+"/")
	if !ours {
		return ""
	}
	return strings.SplitN(inside, "/", 2)[0]
}

func TestRoomsDoNotImportEachOther(t *testing.T) {
	for _, from := range rooms {
		for folder, parsed := range files(t, from) {
			for _, name := range imports(parsed) {
				to := room(name)
				allowed := to == "" || to == from || to == "internal" || slices.Contains(pure, to)
				assert.True(t, allowed, "%s imports %s", folder, name)
			}
		}
	}
}

func TestPureRoomsImportOnlyTheStandardLibrary(t *testing.T) {
	for _, from := range pure {
		for folder, parsed := range files(t, from) {
			for _, name := range imports(parsed) {
				ours := room(name) == "coordinator" // the words that all share
				standard := !strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && !strings.HasPrefix(name, module)
				assert.True(t, standard || ours, "%s imports %s", folder, name)
			}
		}
	}
}

func TestTheCoordinatorTouchesNothing(t *testing.T) {
	forbidden := []string{"os", "io", "net", "net/http", "log", "log/slog", "context", "sync", "math/rand", "math/rand/v2"}
	for folder, parsed := range files(t, "coordinator") {
		for _, name := range imports(parsed) {
			assert.NotContains(t, forbidden, name, folder)
		}
		for _, file := range parsed {
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
						assert.NotContains(t, []string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker"}, s.Sel.Name, "%s reads a clock", folder)
					}
				}
				return true
			})
		}
	}
}

func TestOnlyMainExits(t *testing.T) {
	for folder, parsed := range files(t, ".") {
		for _, file := range parsed {
			if file.Name.Name == "main" {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Exit" {
					if x, ok := s.X.(*ast.Ident); ok {
						assert.NotEqual(t, "os", x.Name, "%s exits", folder)
					}
				}
				return true
			})
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for folder, parsed := range files(t, ".") {
		documented := slices.ContainsFunc(parsed, func(f *ast.File) bool { return f.Doc != nil })
		assert.True(t, documented, "%s has no package comment", folder)
	}
}

func TestFilesFitInAHead(t *testing.T) {
	const limit = 400
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		content, err := os.ReadFile(name)
		assert.LessOrEqual(t, strings.Count(string(content), "\n"), limit, name)
		return err
	})
	require.NoError(t, err)
}
