// Package doctor finds what does not fit together on one host: its own record of volumes, the store with
// its leases and heartbeats, and the kernel's mount tables. It is handed facts and returns findings; it
// does no I/O, reads no clock and repairs nothing. Start at Examine.
package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Facts is what one look at a host showed.
type Facts struct {
	Self      lease.Identity
	Heartbeat time.Duration // between two beats
	TakeAfter time.Duration // how long a heartbeat stands still before its host counts as dead
	ReapAfter time.Duration // how long after a mount its container may still be on its way

	StoreDir           string
	StoreProblem       string // why the store cannot be used; then nothing else is known of it
	ClassesProblem     string // why the classes file is not in force
	CoordinatorProblem string // why this host is no coordinator though it should be

	Beaten  bool          // this host wrote a heartbeat since its plugin started
	BeatAge time.Duration // how long ago
	Rival   bool          // another plugin beats under this host's name

	Drained time.Duration // for how long this host has accepted no new mounts; 0 if it does
	Held    int           // volumes in use here

	Guarded    bool     // this host's containers are stopped when it is cut off, even without its plugin
	GuardNotes []string // why not

	Volumes []Volume
	Hosts   []Host
	Strays  []string // paths of files in the store that are nobody's
	Drafts  []Draft  // temporary files
	Devices []Device // loop devices of volumes that are gone, and those that do not answer
	Trash   int      // removed volumes that are not deleted yet
}

// Volume is everything known of one volume name.
type Volume struct {
	Name string
	Busy bool // a call is at work on it, so that nothing else was looked at
	// Silent says that a loop device which may be its own does not answer, so that nothing else was looked at. The device is told of.
	Silent bool

	// This host's record.
	Recorded  bool
	ID        string
	Used      bool
	Recovered bool          // the record was compared with lease and kernel since the plugin started
	Epoch     uint64        // of the lease that this host believes it has; 0 means none
	Holds     int           // mount IDs that the engine did not give back
	Mount     time.Duration // how long ago the last mount was, or the plugin's start
	Problem   string        // why the last call failed
	Fenced    string        // why the guard fenced it, until it is free again

	// The store.
	Directory  bool          // the volume has one
	Stored     *store.Volume // its volume.json; nil if there is none
	Unreadable string        // why volume.json, or the lease, could not be read
	Removed    bool          // its removal is on record
	Missing    []string      // files of its back end that a used volume has and this one does not
	Lease      lease.Lease
	HolderSeen bool          // the holder has a heartbeat
	Still      time.Duration // how long the holder's heartbeat has stood still, as far as it was watched

	// Its image, if it has one.
	Growing    store.Size // the size that its file system shall have and has not; 0 if it has
	WrongImage string     // why the image is not that of its record

	// The kernel.
	Device          string   // the loop device of its image on this host
	DeviceElsewhere bool     // which shows another file than the volume's image
	Mounted         bool     // at this host's mount point
	Containers      []string // of this host that have it mounted
	Unlooked        string   // why the containers could not be looked for
}

// Host is another host that ever used the store.
type Host struct {
	Name string
	Age  time.Duration // since its last heartbeat by the store's clock; for people, nothing is decided by it
}

// Device is a loop device of an image.
type Device struct {
	Path   string
	Volume string
	File   string // that it shows
	Silent bool   // the storage of the file hangs, and only its name tells of what volume it may be
}

// Draft is a file that its maker renames when it is complete.
type Draft struct {
	Path string
	Age  time.Duration // since it was written last, by the clock of the file system that it is on
}

// Kind tells findings apart; it is stable, so that tools can go by it.
type Kind string

// Finding is one thing that does not fit.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Volume  string `json:"volume,omitempty"`
	Path    string `json:"path,omitempty"` // the file meant, if it is one
	What    string `json:"what"`
	Why     string `json:"why"` // it matters
	Fix     string `json:"fix"` // what to do
	Fixable bool   `json:"fixable"`
}

// Examine returns what is wrong, the store and the host first, then volumes by name, then files. A fixable
// finding is one that a repair under the volume's lock, after the same look again, cannot make worse.
func Examine(f Facts) []Finding {
	found := examineHost(f)
	volumes := slices.Clone(f.Volumes)
	slices.SortFunc(volumes, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	for _, v := range volumes {
		found = append(found, ExamineVolume(f, v)...)
	}
	return append(append(found, examineDevices(f)...), examineFiles(f)...)
}

// ExamineVolume returns what is wrong with one volume. Of f only this host's identity, its times and
// whether the store is usable are used.
func ExamineVolume(f Facts, v Volume) []Finding {
	var found []Finding
	for _, rule := range rules(f, v) {
		if finding, wrong := rule(f, v); wrong {
			finding.Volume = v.Name
			found = append(found, finding)
		}
	}
	return found
}

// rule looks at one volume.
type rule func(Facts, Volume) (Finding, bool)

// rules that say something about a volume. What was not looked at cannot be wrong: a volume with a call at
// work, or whose record was not compared yet, may not fit for good reasons.
func rules(f Facts, v Volume) []rule {
	switch {
	case v.Busy:
		return []rule{busy}
	case f.StoreProblem != "" || v.Silent:
		return []rule{lastCallFailed}
	case v.Fenced != "":
		return []rule{fenced}
	case v.Recorded && !v.Recovered:
		return []rule{notRecovered}
	}
	return []rule{
		recordMissing, unreadable, filesMissing, removedElsewhere, swapped, // the store
		wrongImage, growthUnfinished, cloneUnfinished, deviceLeft, deviceElsewhere, // the image
		leaseLost, leaseNotRecorded, containerWithoutLease, // the lease against the record
		holderUnknown, holderSilent, holderUnattended, holderUnguarded, // other hosts' leases
		holdWithoutContainer, mountedWithoutUse, mountMissing, containersUnknown, // the kernel
		lastCallFailed,
	}
}

// first names up to three of many.
func first(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// about is a time for people: nothing shorter than a second, no seconds among days.
func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return d.Round(time.Hour).String()[:len(d.Round(time.Hour).String())-len("0m0s")]
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}
