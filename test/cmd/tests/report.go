package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// name is that of a test with its package; a package alone has no Test.
type name struct{ pkg, test string }

// report shows a run as go test does, and keeps what was skipped.
type report struct {
	out     io.Writer
	verbose bool
	said    map[name][]string // output that is not shown yet
	skipped []string          // each with its reason
}

func newReport(out io.Writer, verbose bool) *report {
	return &report{out: out, verbose: verbose, said: map[name][]string{}}
}

// read shows events until there are no more.
func (r *report) read(events io.Reader) error {
	for lines := json.NewDecoder(events); ; {
		var e event
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read what go test says: %w", err)
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
}

func (r *report) take(e event) error {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		return r.show(e.Output)
	case "output":
		r.said[n] = append(r.said[n], e.Output)
		if r.verbose {
			return r.show(e.Output)
		}
	case "pass", "skip", "fail":
		said := r.said[n]
		delete(r.said, n)
		if e.Action == "skip" && e.Test != "" {
			r.skipped = append(r.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(said)))
		}
		if r.verbose {
			return nil
		}
		if e.Action == "fail" && e.Test == "" {
			said = append(r.cutOff(e.Package), said...)
		}
		return r.show(worth(e, said)...)
	}
	return nil
}

func (r *report) show(lines ...string) error {
	_, err := io.WriteString(r.out, strings.Join(lines, ""))
	return err
}

// cutOff is what the tests of a package said that never came to their end.
func (r *report) cutOff(pkg string) []string {
	var all []string
	for n, said := range r.said {
		if n.pkg == pkg {
			all = append(all, said...)
			delete(r.said, n)
		}
	}
	return all
}

// worth is what go test without -v shows of something that ended: all that a failure said, and how a package ended.
func worth(e event, said []string) []string {
	switch {
	case e.Action == "fail":
		return said
	case e.Test == "" && len(said) > 0:
		return said[len(said)-1:]
	}
	return nil
}

// reason is what a test said that was skipped, without the frame around it.
func reason(said []string) string {
	var words []string
	for _, line := range said {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
