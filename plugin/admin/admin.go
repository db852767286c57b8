// Package admin is the operator's way to a running volume driver: HTTP with JSON on a socket in the host's
// state directory, which only root can reach. Handler is the driver's end, Client the other; what an
// order means is the driver's business.
package admin

import (
	"context"
	"errors"
	"time"

	"mooring/plugin/backend"
	"mooring/plugin/doctor"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Socket is the file in the host's state directory.
const Socket = "admin.sock"

// ErrNoVolume says that a volume is neither known here nor in the store.
var ErrNoVolume = errors.New("no such volume")

// Driver is the volume driver of one host.
type Driver interface {
	// Survey describes all volumes by name, from memory.
	Survey() Survey
	// Inspect looks at one volume in the store and in the kernel.
	Inspect(ctx context.Context, name string) (Detail, error)
	// Dispose removes a volume for all hosts, also one that the engine does not know. It is refused
	// while any host uses the volume. NAME@SNAPSHOT removes a snapshot. It can be restored for as long as it is kept.
	Dispose(ctx context.Context, name string, keep store.Delay) (store.Removed, error)
	// Trash lists the removed volumes that can be restored, the oldest first.
	Trash(ctx context.Context) ([]store.Removed, error)
	// Restore brings a removed volume back; the ID, or the beginning of it, tells several of one name apart.
	Restore(ctx context.Context, name, id string) (store.Removed, error)
	// TakeOver takes a volume from a host that an operator knows to be dead, for any host to mount.
	TakeOver(ctx context.Context, name string, order Order) (Taken, error)
	// Gone takes all volumes of a host that is gone for good, as far as they are meant and can be taken.
	Gone(ctx context.Context, host string, order GoneOrder) (Gone, error)
	// Grow makes an image larger, at once where it is mounted, without stopping its containers.
	Grow(ctx context.Context, name string, size store.Size) (Grown, error)
	// Snapshot keeps what an image is now under a name.
	Snapshot(ctx context.Context, name string, order SnapshotOrder, say Say) (backend.Snapshot, error)
	// Snapshots lists what is kept of a volume.
	Snapshots(ctx context.Context, name string) ([]backend.Snapshot, error)
	// Clone makes a new volume with the content of another, or of a snapshot.
	Clone(ctx context.Context, name string, order CloneOrder, say Say) (store.Volume, error)
	// Check lets an image's own checker look at it, while nobody has it mounted.
	Check(ctx context.Context, name string, order CheckOrder, say Say) (backend.Check, error)
	// Drain makes the host refuse new mounts until Undrain; what is in use goes on.
	Drain() (Drain, error)
	Undrain() (Drain, error)
	// Diagnose returns what does not fit together.
	Diagnose(ctx context.Context) ([]doctor.Finding, error)
	// Repair mends the fixable findings, each after looking again, and returns these with the outcome.
	Repair(ctx context.Context) ([]Repair, error)
	// Health says why the driver cannot do its work; nil means that it can.
	Health() error
	// Ready says why the driver would refuse a new mount; nil means that it would not.
	Ready() error
	// Counts are for metrics, from memory.
	Counts() Counts
}

// Survey is all volumes of a host.
type Survey struct {
	Host        string    `json:"host"`
	Drained     time.Time `json:"drained,omitzero"`      // since when it accepts no new mounts
	Store       string    `json:"store"`                 // "ok", or why it cannot be used
	Classes     string    `json:"classes,omitempty"`     // why the classes file is not in force
	Coordinator string    `json:"coordinator,omitempty"` // why the host is no coordinator though it should be
	Metrics     string    `json:"metrics,omitempty"`     // why those who measure are not answered though they should be
	Volumes     []Volume  `json:"volumes"`
}

// Volume is what a host remembers of a volume. Holder, epoch and lease are as last read.
type Volume struct {
	Name      string      `json:"name"`
	Class     string      `json:"class"`
	Backend   string      `json:"backend"`
	Size      int64       `json:"size,omitempty"` // in bytes; 0 has no limit
	State     string      `json:"state"`
	Holder    string      `json:"holder,omitempty"`
	Epoch     uint64      `json:"epoch,omitempty"`
	Lease     lease.State `json:"lease,omitempty"`
	Here      bool        `json:"here"`   // in use on this host
	Mounts    int         `json:"mounts"` // on this host
	LastError string      `json:"lastError,omitempty"`
}

// Detail is a volume as a look at the store and the kernel shows it.
type Detail struct {
	Volume
	ID         string         `json:"id"`
	Created    time.Time      `json:"created"`
	Used       bool           `json:"used"` // it was mounted at least once
	UID        int            `json:"uid"`
	GID        int            `json:"gid"`
	Mode       string         `json:"mode"`
	Takeover   string         `json:"takeover"`             // how another host may take it: auto, manual or never
	Path       string         `json:"path"`                 // in the store
	Image      string         `json:"image,omitempty"`      // the file there that is mounted
	Device     string         `json:"device,omitempty"`     // of the kernel, that shows the image here
	Buffered   bool           `json:"buffered,omitempty"`   // the store takes no direct I/O, so the image's data is cached twice
	Mountpoint string         `json:"mountpoint,omitempty"` // where it is mounted here
	MountIDs   map[string]int `json:"mountIDs,omitempty"`   // of the engine, with how often each is held
	Containers []string       `json:"containers,omitempty"` // of this host that have it mounted
	HolderBoot string         `json:"holderBoot,omitempty"`
	Unguarded  bool           `json:"unguarded,omitempty"`
	Silent     string         `json:"silent,omitempty"`  // how long the holder's heartbeat has stood still, if another host's
	Problem    string         `json:"problem,omitempty"` // why some of this is missing
}

// Order is an operator's order to take a volume over.
type Order struct {
	Reason string `json:"reason"`
	Force  bool   `json:"force"`
	From   string `json:"from,omitempty"` // the only host that it may be taken from; empty: whoever holds it
	// EvenIfAlive says that the holder's heartbeat does not matter: its containers are known to be down.
	EvenIfAlive bool `json:"evenIfAlive,omitempty"`
}

// Taken is a takeover.
type Taken struct {
	Volume    string `json:"volume"`
	From      string `json:"from"`
	FromEpoch uint64 `json:"fromEpoch"`
	Epoch     uint64 `json:"epoch"`
}

// GoneOrder is the word that a host is gone for good: nothing on it writes any more, and it does not come back as it was.
type GoneOrder struct {
	Reason      string   `json:"reason"`
	EvenIfAlive bool     `json:"evenIfAlive,omitempty"` // as in Order
	Volumes     []string `json:"volumes,omitempty"`     // only these; empty: all in the store
	// Guarded leaves alone what time would never free either: unattended and unguarded leases. The word then only
	// shortens the wait.
	Guarded bool `json:"guarded,omitempty"`
}

// Gone is what became of the volumes that a gone host held.
type Gone struct {
	Host  string  `json:"host"`
	Taken []Taken `json:"taken"`
	Left  []Left  `json:"left,omitempty"`
}

// Left is a volume that was not taken from a gone host.
type Left struct {
	Volume string `json:"volume"`
	Error  string `json:"error"` // why
}

// Say tells the one who gave an order how far it is.
type Say func(progress string)

// SnapshotOrder is an order to keep what a volume is now.
type SnapshotOrder struct {
	Snapshot string `json:"snapshot"`       // its name
	Copy     bool   `json:"copy,omitempty"` // copy all data, where the store cannot share it
}

// CloneOrder is an order to make a volume from another.
type CloneOrder struct {
	From string `json:"from"` // VOLUME or VOLUME@SNAPSHOT
	Copy bool   `json:"copy,omitempty"`
}

// CheckOrder is an order to check a file system.
type CheckOrder struct {
	Repair bool `json:"repair,omitempty"` // and to change it
}

// Drain is whether a host is drained, and what it still holds.
type Drain struct {
	Host  string    `json:"host"`
	Since time.Time `json:"since,omitzero"` // zero if it is not drained
	Held  []Volume  `json:"held"`
}

// Grown is what became of an order to grow.
type Grown struct {
	Volume string     `json:"volume"`
	From   store.Size `json:"from"`
	To     store.Size `json:"to"`
	Later  bool       `json:"later,omitempty"` // the file system grows when the volume is mounted the next time
}

// Repair is what became of a fixable finding.
type Repair struct {
	doctor.Finding
	Error string `json:"error,omitempty"` // why it could not be mended
}

// Counts are the figures of a host.
type Counts struct {
	StoreUsable bool
	Drained     bool
	Phases      map[string]int // volumes by state
	Mounts      int
	Leases      int           // held by this host
	Beaten      bool          // there was a heartbeat
	BeatAge     time.Duration // since the last one
	Calls       map[Call]uint64

	GuardAnswers bool // it did when it was last asked
	GuardStays   bool // it outlives the driver
	Happened
}

// Happened is how often what did since the driver's start.
type Happened struct {
	Fences          uint64 // of volumes in use, by the guard
	TakenFromSilent uint64 // volumes taken from hosts whose heartbeat stood still
	TakenByOrder    uint64 // volumes taken by somebody's word
	LeasesLost      uint64 // that another host took while this one had the volume
}

// Call is one kind of call of the engine's.
type Call struct {
	Verb string
	OK   bool
}
