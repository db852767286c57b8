package records_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/records"
)

// scene is a file of records and what was acknowledged.
type scene struct {
	path string
	acks bytes.Buffer
}

func newScene(t *testing.T) *scene {
	return &scene{path: filepath.Join(t.TempDir(), "log")}
}

func (s *scene) write(t *testing.T, host string, count uint64) {
	t.Helper()
	w := records.Writer{Host: host, Acks: &s.acks, Count: count}
	require.NoError(t, w.Append(t.Context(), s.path))
}

func (s *scene) file(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(s.path)
	require.NoError(t, err)
	return content
}

// damage replaces the file by what change makes of it.
func (s *scene) damage(t *testing.T, change func([]byte) []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(s.path, change(s.file(t)), 0o600))
}

func (s *scene) audit(t *testing.T) (records.Report, error) {
	t.Helper()
	return records.Audit(s.file(t), s.acks.Bytes())
}

func lines(content []byte) [][]byte { return bytes.SplitAfter(content, []byte("\n")) }

func TestWritersInTurn(t *testing.T) {
	s := newScene(t)
	s.write(t, "host1", 5)
	s.write(t, "host2", 3)
	s.write(t, "host1", 2)
	report, err := s.audit(t)
	require.NoError(t, err)
	assert.Equal(t, records.Report{Records: 10, Acknowledged: 10, Runs: 3}, report)
}

func TestAuditOfNothing(t *testing.T) {
	report, err := records.Audit(nil, nil)
	require.NoError(t, err)
	assert.Equal(t, records.Report{}, report)
}

func TestWriterEndsWithItsContext(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := records.Writer{Host: "host1", Acks: ackFunc(func() error { cancel(); return nil })}
	require.NoError(t, w.Append(ctx, s.path))
	assert.Len(t, lines(s.file(t)), 2, "one record and nothing after it")
}

func TestWriterFailsWithItsAcknowledgements(t *testing.T) {
	s := newScene(t)
	gone := errors.New("nobody listens")
	w := records.Writer{Host: "host1", Acks: ackFunc(func() error { return gone })}
	require.ErrorIs(t, w.Append(t.Context(), s.path), gone)
}

func TestLostPowerMayTearTheLastRecord(t *testing.T) {
	s := newScene(t)
	s.write(t, "host1", 5)
	acknowledged := s.acks.Len()
	s.write(t, "host1", 1)
	s.acks.Truncate(acknowledged) // the sixth was not acknowledged
	s.damage(t, func(b []byte) []byte { return b[:len(b)-20] })
	report, err := s.audit(t)
	require.NoError(t, err)
	assert.Equal(t, 1, report.Torn)

	s.write(t, "host2", 5)
	report, err = s.audit(t)
	require.NoError(t, err)
	assert.Equal(t, records.Report{Records: 10, Acknowledged: 10, Runs: 2, Torn: 1}, report)
}

func TestAuditFindsFaults(t *testing.T) {
	rows := []struct {
		name   string
		damage func(file []byte) []byte
		want   string
	}{
		{"last one lost", func(b []byte) []byte { return bytes.Join(lines(b)[:5], nil) }, "record 6 of run"},
		{"all lost", func([]byte) []byte { return nil }, "record 1 of run"},
		{"first one lost", func(b []byte) []byte { return bytes.Join(lines(b)[1:], nil) }, "out of order"},
		{"one lost", func(b []byte) []byte { return without(b, 2) }, "out of order"},
		{"last one torn", func(b []byte) []byte { return b[:len(b)-2] }, "was acknowledged and is missing"},
		{"one torn", func(b []byte) []byte { return append(append([]byte{}, b[:10]...), b[40:]...) }, "was acknowledged and is missing"},
		{"zeros in the middle", func(b []byte) []byte { return zeros(b, 200, 300) }, "are torn"},
		{"swapped", func(b []byte) []byte { l := lines(b); l[3], l[4] = l[4], l[3]; return bytes.Join(l, nil) }, "out of order"},
		{"twice", func(b []byte) []byte { return append(b, lines(b)[5]...) }, "out of order"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t)
			s.write(t, "host1", 6)
			s.damage(t, row.damage)
			_, err := s.audit(t)
			require.ErrorContains(t, err, row.want)
		})
	}
}

func TestAuditFindsTwoWriters(t *testing.T) {
	s := newScene(t)
	s.write(t, "host1", 3)
	first := s.file(t)
	s.damage(t, func([]byte) []byte { return nil })
	s.write(t, "host2", 3)
	second := s.file(t)
	t.Run("in turns", func(t *testing.T) {
		a, b := lines(first), lines(second)
		s.damage(t, func([]byte) []byte { return bytes.Join([][]byte{a[0], b[1], a[2]}, nil) })
		_, err := s.audit(t)
		require.ErrorContains(t, err, "two writers at once")
	})
	t.Run("each from its own end", func(t *testing.T) {
		s.damage(t, func([]byte) []byte { return append(bytes.Clone(first), second...) })
		_, err := s.audit(t)
		require.ErrorContains(t, err, "out of order")
	})
	t.Run("over each other", func(t *testing.T) {
		s.damage(t, func([]byte) []byte { return second })
		_, err := s.audit(t)
		require.ErrorContains(t, err, "on host1 was acknowledged and is missing")
	})
}

func without(file []byte, n int) []byte {
	l := lines(file)
	return bytes.Join(append(l[:n], l[n+1:]...), nil)
}

func zeros(file []byte, from, to int) []byte {
	clear(file[from:to])
	return file
}

// ackFunc takes acknowledgements.
type ackFunc func() error

func (f ackFunc) Write(b []byte) (int, error) { return len(b), f() }
