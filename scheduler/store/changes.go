package store

import (
	"encoding/json"
	"fmt"
	"reflect"

	"mooring/coordinator"
)

// Versions of records. A record with a higher one than the newest is refused: it may hold what this program would lose. Records
// get the lowest one that can tell what they say, so that who used nothing new can go back to an older program.
const (
	first   = 1
	grouped = 2 // groups of nodes
	newest  = grouped
)

// record is how header and nodes are stored.
type record struct {
	Version int                `json:"version"`
	Header  *coordinator.State `json:"header,omitempty"`
	Node    *coordinator.Node  `json:"node,omitempty"`
}

// changes are the parts of a state that must be written. A nil header is unchanged.
type changes struct {
	header *coordinator.State
	nodes  []coordinator.Node
}

// changed compares two states. All of a state differs from the zero State.
func changed(before, after coordinator.State) changes {
	var c changes
	for i, n := range after.Nodes {
		if i >= len(before.Nodes) || before.Nodes[i] != n {
			c.nodes = append(c.nodes, n)
		}
	}
	before.Nodes, after.Nodes = nil, nil
	if !reflect.DeepEqual(before, after) {
		c.header = &after
	}
	return c
}

func (c changes) none() bool { return c.header == nil && len(c.nodes) == 0 }

func encode(r record) ([]byte, error) {
	r.Version = first
	if r.Node != nil && r.Node.Group != "" || r.Header != nil && len(r.Header.Groups) > 0 {
		r.Version = grouped
	}
	return json.Marshal(r)
}

func decode(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("not readable (%w): restore it from a backup", err)
	}
	switch {
	case r.Version > newest:
		return r, fmt.Errorf("written by a newer mooring (record version %d, this one knows up to %d): run that version again", r.Version, newest)
	case r.Version < 1 || (r.Header == nil) == (r.Node == nil):
		return r, fmt.Errorf("not a record of mooring: restore it from a backup")
	}
	return r, nil
}
