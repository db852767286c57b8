package guard

import (
	"encoding/json"
	"time"

	"mooring/plugin/lease"
	"mooring/plugin/mounts"
)

// format of the socket's messages and of the report file; guard and plugin of different formats do not
// talk, and the plugin says which one to stop.
const format = 1

// Host is what a guard must know of the host it guards.
type Host struct {
	lease.Identity               // Instance is the guard's own, and goes on in the guard that replaces it
	StateDir       string        `json:"stateDir"` // this host's own directory, on its own disk: lock, socket, log, report
	StoreDir       string        `json:"storeDir"`
	StoreUUID      string        `json:"storeUUID"`
	Leases         string        `json:"leases,omitempty"` // where they are kept, without password; "" is the store
	Heartbeat      time.Duration `json:"heartbeat"`        // between two beats
	FenceAfter     time.Duration `json:"fenceAfter"`       // without a confirmed heartbeat, on a clock that counts sleep
}

// settings are what a guard process reads when it starts.
type settings struct {
	Host
	Address string `json:"address,omitempty"` // of the leases if they are not in the store, with the password
}

// same tells whether a guard of h serves other, whoever started it.
func (h Host) same(other Host) bool {
	h.Instance, other.Instance = "", ""
	return h == other
}

// Volume is a volume that this host writes.
type Volume struct {
	Name   string      `json:"name"`
	Epoch  uint64      `json:"epoch"`  // of this host's lease
	Lapses uint64      `json:"lapses"` // what the pulse had counted before that lease was created
	Target string      `json:"target"`
	Tree   mounts.Tree `json:"tree"`            // as mount tables name it; zero before its first mount
	OwnFS  bool        `json:"ownFS,omitempty"` // its file system is the volume's alone, on a loop device, and can be shut down
	Disk   uint64      `json:"disk,omitempty"`  // what that device showed when the guard was told of it; 0: not known. The guard fills it in
}

// Report is what a guard did to a volume.
type Report struct {
	Volume   Volume    `json:"volume"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`                 // for people; nothing is decided by it
	Killed   []int     `json:"killed,omitempty"`   // processes that are dead
	Stuck    []int     `json:"stuck,omitempty"`    // killed, but the kernel has not let go of them yet; they run no more
	Spared   []string  `json:"spared,omitempty"`   // processes of the host itself that have the volume mounted
	Shutdown bool      `json:"shutdown,omitempty"` // the file system was shut down
	Problem  string    `json:"problem,omitempty"`  // what could not be done
	Settled  bool      `json:"settled"`            // nobody here has the volume and its lease is given back or another host's

	done bool // this guard has fenced it at least once
}

// Status is what a guard says of itself.
type Status struct {
	Format      int           `json:"format"`
	PID         int           `json:"pid"`
	Host        Host          `json:"host"`
	Independent bool          `json:"independent"`     // it survives the plugin, however that ends
	Notes       []string      `json:"notes,omitempty"` // why it is not independent, or less protected than it should be
	Pulse       lease.Pulse   `json:"pulse"`
	Age         time.Duration `json:"age"`               // since the last confirmed heartbeat was begun, if there was one
	Rival       bool          `json:"rival,omitempty"`   // since the last status somebody else beat under this host's name
	Problem     string        `json:"problem,omitempty"` // why the last heartbeat was not confirmed
	Leaving     bool          `json:"leaving,omitempty"` // it ends, having nothing to guard
	Sequence    uint64        `json:"sequence"`
	Watching    int           `json:"watching"`          // how many volumes
	Volumes     []Volume      `json:"volumes,omitempty"` // these, for the next guard only
	Fenced      []Report      `json:"fenced,omitempty"`  // until acknowledged
}

// verb is what a plugin, or the next guard, wants of a guard.
type verb string

const (
	askStatus   verb = "status"
	watch       verb = "watch"       // answered before the plugin mounts, and again after it did
	resume      verb = "resume"      // watch a volume that has been mounted under an earlier guard
	forget      verb = "forget"      // the volume is unmounted
	acknowledge verb = "acknowledge" // the plugin knows what was fenced
	leave       verb = "leave"       // the plugin ends for good: a guard without volumes ends, too
	handOver    verb = "hand over"   // by the next guard: status and lock, while this one goes on
	beaten      verb = "beaten"      // by the next guard, which has beaten: this one ends
)

// request and answer are one line of JSON each.
type request struct {
	Verb   verb   `json:"verb"`
	Volume Volume `json:"volume,omitzero"`
}

type answer struct {
	Error  string `json:"error,omitempty"`
	Status Status `json:"status"`
}

func line(message any) ([]byte, error) {
	data, err := json.Marshal(message)
	return append(data, '\n'), err
}
