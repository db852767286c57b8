package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
)

// format of leases and heartbeats where they are kept; a newer one is refused.
const format = 1

// ErrTaken says that the current lease is not the one it was thought to be: another host took the next
// epoch first, or the volume was removed.
var ErrTaken = errors.New("another host took the lease first")

var errUnreadable = errors.New("unreadable")

// Stamped is l as a store creates it: with an ID that no other lease has.
func (l Lease) Stamped() Lease {
	var id [8]byte
	rand.Read(id[:])
	l.Format, l.ID = format, fmt.Sprintf("%x", id)
	return l
}

// Encode renders a lease as a line of JSON.
func (l Lease) Encode() ([]byte, error) {
	l.Format = format
	data, err := json.Marshal(l)
	return append(data, '\n'), err
}

// Parse reads what Encode made. Where names its place in errors.
func Parse(where string, data []byte) (Lease, error) {
	var l Lease
	if err := json.Unmarshal(data, &l); err != nil {
		return Lease{}, fmt.Errorf("lease %s is %w (%w)", where, errUnreadable, err)
	}
	if l.Format != format {
		return Lease{}, fmt.Errorf("lease %s has format %d, this plugin knows format %d: use the newer plugin on this host too",
			where, l.Format, format)
	}
	return l, nil
}

// Stamped is a heartbeat as a store keeps it.
func (h Heartbeat) Stamped() Heartbeat {
	h.Format = format
	return h
}
