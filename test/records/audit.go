package records

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Report is what an audit counted.
type Report struct {
	Records      int // whole ones in the file
	Acknowledged int
	Runs         int // writers, one after the other
	Torn         int // last records of a run that never were acknowledged, and are not whole
}

func (r Report) String() string {
	return fmt.Sprintf("%d records, %d acknowledged, %d runs, %d torn", r.Records, r.Acknowledged, r.Runs, r.Torn)
}

// maxFindings ends a list that only repeats itself.
const maxFindings = 10

// Audit compares a file of records with the acknowledgements. It is an error, with every finding in words, when an
// acknowledged record is missing, records are out of order, one is torn that is not the last of its run, or two runs wrote
// at the same time. What a run had written but not yet acknowledged may be there or not.
func Audit(file, acks []byte) (Report, error) {
	a := audit{present: map[Record]bool{}, ended: map[string]bool{}}
	for line := range bytes.Lines(file) {
		a.see(bytes.TrimSuffix(line, []byte("\n")))
	}
	a.report.Torn += a.torn
	for line := range bytes.Lines(acks) {
		r, whole := parse(bytes.TrimSuffix(line, []byte("\n")))
		if !whole {
			continue // its writer was killed while it acknowledged
		}
		a.report.Acknowledged++
		if !a.present[r] {
			a.find("%s was acknowledged and is missing", r)
		}
	}
	return a.report, a.verdict()
}

type audit struct {
	report   Report
	last     Record
	torn     int // lines since the last whole record
	present  map[Record]bool
	ended    map[string]bool // runs that another one followed
	findings []string
}

// see takes the next line.
func (a *audit) see(line []byte) {
	r, whole := parse(line)
	if !whole {
		a.torn++
		return
	}
	if a.torn > 0 && r.Run == a.last.Run {
		a.find("%d lines before %s are torn", a.torn, r)
	} else {
		a.report.Torn += a.torn
	}
	if r.Run != a.last.Run {
		a.report.Runs++
		a.ended[a.last.Run] = true
	}
	if a.ended[r.Run] {
		a.find("%s comes after %s: two writers at once", r, a.last)
	}
	if r.Number != a.last.Number+1 {
		a.find("%s comes after %s: out of order", r, a.last)
	}
	a.report.Records++
	a.present[r], a.last, a.torn = true, r, 0
}

func (a *audit) find(format string, args ...any) {
	a.findings = append(a.findings, fmt.Sprintf(format, args...))
}

func (a *audit) verdict() error {
	if len(a.findings) == 0 {
		return nil
	}
	shown := a.findings[:min(len(a.findings), maxFindings)]
	return errors.New(fmt.Sprintf("audit found %d faults (%s): ", len(a.findings), a.report) + strings.Join(shown, "; "))
}
