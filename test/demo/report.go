package demo

import (
	"fmt"
	"io"
	"text/tabwriter"

	"mooring/test/ledger"
)

// Report is what came of the story; its JSON form is demo.json.
type Report struct {
	Nodes     []Node    `json:"nodes"`
	Documents Documents `json:"documents"`
	Seconds   Seconds   `json:"seconds"` // after the death of the host
}

// Node is where a node ran before and after.
type Node struct {
	ID          int      `json:"id"`
	EpochBefore int      `json:"epoch_before"`
	EpochAfter  int      `json:"epoch_after"`
	HostBefore  string   `json:"host_before"`
	HostAfter   string   `json:"host_after"`
	Volumes     []string `json:"volumes"`
	Backends    []string `json:"backends"` // of the volumes: dir or image
}

// Documents are the documents of both indices.
type Documents struct {
	Acknowledged int  `json:"acknowledged"`
	Found        int  `json:"found"` // of the acknowledged
	ChecksumOK   bool `json:"checksum_ok"`
}

func (d *Documents) add(a ledger.Account) {
	d.Acknowledged += a.Acknowledged
	d.Found += a.Found
	d.ChecksumOK = d.ChecksumOK && a.ChecksumOK
}

// Seconds are counted from the death of the host.
type Seconds struct {
	Detected  float64 `json:"detected"`  // the scheduler knows that the node is lost
	Container float64 `json:"container"` // it runs elsewhere
	Joined    float64 `json:"joined"`    // it is part of the cluster again
	Green     float64 `json:"green"`     // all copies of all shards are there
}

// Print writes the report as a table.
func (r Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tEPOCH\tHOST\tVOLUMES")
	for _, n := range r.Nodes {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", n.ID, change(n.EpochBefore, n.EpochAfter), change(n.HostBefore, n.HostAfter), describe(n.Volumes, n.Backends))
	}
	fmt.Fprintf(table, "\ndocuments\tacknowledged %d\tfound %d\tchecksum %s\n", r.Documents.Acknowledged, r.Documents.Found, verdict(r.Documents.ChecksumOK))
	s := r.Seconds
	fmt.Fprintf(table, "seconds\tdetected %.1f\tcontainer %.1f\tjoined %.1f, green %.1f\n", s.Detected, s.Container, s.Joined, s.Green)
	return table.Flush()
}

func change[T comparable](before, after T) string {
	if before == after {
		return fmt.Sprint(before)
	}
	return fmt.Sprintf("%v -> %v", before, after)
}

func verdict(ok bool) string {
	if ok {
		return "equal"
	}
	return "DIFFERENT"
}
