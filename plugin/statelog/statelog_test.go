package statelog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin/statelog"
)

func open(t *testing.T, path string) *statelog.Log {
	t.Helper()
	l, err := statelog.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func values(t *testing.T, path string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for key, data := range open(t, path).Entries() {
		var n int
		require.NoError(t, json.Unmarshal(data, &n))
		got[key] = n
	}
	return got
}

func TestWhatIsPutIsThereAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.log")
	l := open(t, path)
	require.NoError(t, l.Put("a", 1))
	require.NoError(t, l.Put("b", 2))
	require.NoError(t, l.Put("a", 3))
	require.NoError(t, l.Delete("b"))
	require.NoError(t, l.Delete("never there"))
	// No Close: the process died.
	assert.Equal(t, map[string]int{"a": 3}, values(t, path))
}

func TestConcurrentChangesAllLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.log")
	l := open(t, path)
	want := map[string]int{}
	var all sync.WaitGroup
	for i := range 200 {
		key := fmt.Sprintf("key%03d", i)
		want[key] = i
		all.Go(func() { assert.NoError(t, l.Put(key, i)) })
	}
	all.Wait()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Less(t, bytes.Count(content, []byte("\n")), 200, "callers share a line, hence a sync")
	assert.Equal(t, want, values(t, path))
}

// A crash during a write leaves any prefix of the file. What was reported before must be there, the
// group cut short must be wholly absent.
func TestEveryTornTail(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	l := open(t, whole)
	require.NoError(t, l.Put("a", 1))
	before := len(written(t, whole))
	require.NoError(t, l.Put("a", 22222))
	content := written(t, whole)
	for cut := before; cut < len(content); cut++ {
		path := filepath.Join(dir, "cut")
		require.NoError(t, os.WriteFile(path, content[:cut], 0o600))
		want := 1
		if cut == len(content)-1 {
			want = 22222 // only the newline is missing
		}
		require.Equal(t, map[string]int{"a": want}, values(t, path), "cut at %d", cut)
	}
	holed := bytes.Clone(content)
	clear(holed[before+3 : before+9]) // a block that never reached the disk
	path := filepath.Join(dir, "holed")
	require.NoError(t, os.WriteFile(path, holed, 0o600))
	require.Equal(t, map[string]int{"a": 1}, values(t, path))
	require.NoError(t, open(t, path).Put("b", 2), "the log goes on after a torn line")
	require.Equal(t, map[string]int{"a": 1, "b": 2}, values(t, path))
}

// written is a log's content without the zeros ahead of the next line.
func written(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return bytes.TrimRight(content, "\x00")
}

func TestUnreadableLogsAreRefusedAndLeftAlone(t *testing.T) {
	header := `{"format":"mooring-state","version":1}` + "\n"
	for _, row := range []struct{ name, content, message string }{
		{"empty", "", "not a state log"},
		{"something else", "hello\n", "not a state log"},
		{"binary", "\x00\x00\x00", "not a state log"},
		{"newer", `{"format":"mooring-state","version":2}` + "\n" + "who knows\n", "version 2, this plugin knows version 1: run the newer plugin"},
		{"damaged in the middle", header + `[{"key":"a","value":1}` + "\n" + `[{"key":"b","value":2}]` + "\n", "line 2 is unreadable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.log")
			require.NoError(t, os.WriteFile(path, []byte(row.content), 0o600))
			_, err := statelog.Open(path)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, row.message)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, row.content, string(content))
		})
	}
}

func TestOpenDropsWhatIsSuperseded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.log")
	l := open(t, path)
	for i := range 100 {
		require.NoError(t, l.Put("a", i))
	}
	require.NoError(t, l.Close())
	open(t, path)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `{"format":"mooring-state","version":1}`+"\n"+`[{"key":"a","value":99}]`+"\n", string(content))
}

func TestALongLogIsRewrittenWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.log")
	l := open(t, path)
	big := bytes.Repeat([]byte("x"), 1<<20)
	for range 9 {
		require.NoError(t, l.Put("a", string(big)))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(6<<20))
	require.NoError(t, l.Put("b", "end"))
	assert.Len(t, open(t, path).Entries(), 2)
}

func TestAFullDiskIsAnErrorAndNothingIsLost(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a small tmpfs takes root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "state.log")
	l := open(t, path)
	require.NoError(t, l.Put("a", 1))
	filler := filepath.Join(dir, "filler")
	require.ErrorIs(t, os.WriteFile(filler, make([]byte, 1<<20), 0o600), unix.ENOSPC)

	err := l.Put("big", string(bytes.Repeat([]byte("x"), 1<<16)))
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, path)
	assert.Len(t, l.Entries(), 1, "what failed is not known")
	require.NoError(t, os.Remove(filler))
	require.NoError(t, l.Put("b", 2), "the log is usable once there is room")
	assert.Equal(t, map[string]int{"a": 1, "b": 2}, values(t, path))
}

func TestAClosedLogTakesNoChanges(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "state.log"))
	require.NoError(t, l.Close())
	assert.ErrorIs(t, l.Put("a", 1), os.ErrClosed)
}
