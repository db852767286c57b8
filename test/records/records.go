// Package records is the witness for plain volumes: a writer that appends numbered, checksummed records to a file and
// acknowledges each one only after it is on disk, and an auditor that compares the file with what was acknowledged.
//
// Every record names its number, its host and its run, one life of one writer. Numbers go on from run to run, so that the
// records of two writers at once cannot be taken for those of two writers in turn.
package records

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
)

// Record is one line of the file.
type Record struct {
	Number uint64 // from 1, without a gap over all runs
	Host   string // where it was written
	Run    string // by which writer
}

// filler makes a record long enough for a part of it to be lost.
var filler = strings.Repeat("mooring.", 16)

// line renders a record with its checksum and the line's end.
func (r Record) line() []byte {
	text := fmt.Sprintf("%d %s %s %s", r.Number, r.Host, r.Run, filler)
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// parse reads a line without its end; a line that is not exactly a record is torn.
func parse(line []byte) (r Record, whole bool) {
	_, err := fmt.Sscanf(string(line), "%d %s %s", &r.Number, &r.Host, &r.Run)
	return r, err == nil && bytes.Equal(append(line, '\n'), r.line())
}

func (r Record) String() string {
	return fmt.Sprintf("record %d of run %s on %s", r.Number, r.Run, r.Host)
}
