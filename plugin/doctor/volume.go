package doctor

import (
	"fmt"

	"mooring/plugin/lease"
)

// Findings about a volume.
const (
	CallAtWork            Kind = "call-at-work"
	Fenced                Kind = "fenced"
	NotRecovered          Kind = "not-recovered"
	LastCallFailed        Kind = "last-call-failed"
	RecordMissing         Kind = "volume-json-missing"
	Unreadable            Kind = "unreadable"
	FilesMissing          Kind = "files-missing"
	RemovedElsewhere      Kind = "removed-elsewhere"
	Swapped               Kind = "volume-swapped"
	LeaseLost             Kind = "lease-lost"
	LeaseNotRecorded      Kind = "lease-not-recorded"
	ContainerWithoutLease Kind = "container-without-lease"
	HolderUnknown         Kind = "holder-unknown"
	HolderSilent          Kind = "holder-silent"
	HolderUnattended      Kind = "holder-unattended"
	HolderUnguarded       Kind = "holder-unguarded"
	HoldWithoutContainer  Kind = "hold-without-container"
	MountedWithoutUse     Kind = "mounted-without-use"
	MountMissing          Kind = "mount-missing"
	ContainersUnknown     Kind = "containers-unknown"
)

// takeover is what to do if nothing on the holder uses the volume any more.
func takeover(v Volume) string {
	if policy(v) == lease.Never {
		return "start that host again with its plugin: this volume is never taken over"
	}
	return fmt.Sprintf("if nothing there uses the volume, mooring volumes takeover %s --force --reason TEXT", v.Name)
}

// policy is how the volume may be taken over.
func policy(v Volume) lease.Policy {
	if v.Stored == nil {
		return lease.Auto
	}
	return lease.Policy(v.Stored.Takeover)
}

// active tells whether somebody may write under a lease.
func active(l lease.Lease) bool {
	return l.Epoch > 0 && (l.State == lease.Held || l.State == lease.Unattended)
}

// elsewhere tells whether another host has the volume.
func elsewhere(f Facts, v Volume) bool { return active(v.Lease) && v.Lease.Host != f.Self.Host }

func busy(Facts, Volume) (Finding, bool) {
	return Finding{Kind: CallAtWork, What: "a call is at work on the volume",
		Why: "what is recorded, leased and mounted need not fit until it ends",
		Fix: "look again in half a minute; a call that stays for longer waits for storage that does not answer"}, true
}

func fenced(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: Fenced, What: "the guard stopped its containers here: " + v.Fenced,
		Why: "this host may have lost the volume to another one", Fix: "it can be mounted again once its processes are gone and its lease is given back, which needs the store"}, true
}

func notRecovered(_ Facts, v Volume) (Finding, bool) {
	what := "the record from before the plugin's start was not compared with lease and kernel yet"
	if v.Problem != "" {
		what += ": " + v.Problem
	}
	return Finding{Kind: NotRecovered, What: what, Why: "the volume is not mounted until that is done",
		Fix: "it is tried again with every heartbeat; the plugin's log says what is in the way"}, true
}

func lastCallFailed(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: LastCallFailed, What: "the last call failed: " + v.Problem, Why: "a container may be missing its volume",
		Fix: "do what the message says; the next call that succeeds clears it"}, v.Problem != ""
}

func recordMissing(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: RecordMissing, What: "its directory in the store has no volume.json, or a blank one",
		Why: "other hosts do not see the volume",
		Fix: fmt.Sprintf("a volume that was never used is completed by its first mount; otherwise restore volume.json, or mooring volumes rm %s", v.Name),
	}, v.Directory && v.Stored == nil && v.Unreadable == ""
}

func unreadable(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: Unreadable, What: v.Unreadable, Why: "the volume cannot be used by any host", Fix: "do what the message says"}, v.Unreadable != ""
}

func filesMissing(_ Facts, v Volume) (Finding, bool) {
	finding := Finding{Kind: FilesMissing, Why: "the volume held data, so it is not made again as an empty one",
		Fix: fmt.Sprintf("put the files back; if they are lost, mooring volumes rm %s", v.Name)}
	switch {
	case v.Recorded && v.Used && !v.Directory && !v.Removed:
		finding.What = "its directory is gone from the store, although nobody removed the volume"
	case v.Stored != nil && v.Stored.Used && len(v.Missing) > 0:
		finding.What = "the store lacks " + first(v.Missing)
	}
	return finding, finding.What != ""
}

func removedElsewhere(f Facts, v Volume) (Finding, bool) {
	return Finding{Kind: RemovedElsewhere, Fixable: len(v.Containers) == 0 && v.Unlooked == "",
		What: "another host removed the volume, and this one still knows it", Why: "docker volume ls shows what is gone",
		Fix: fmt.Sprintf("it is forgotten within %s, once no container here has it", f.Heartbeat)}, v.Recorded && !v.Directory && v.Removed
}

func swapped(_ Facts, v Volume) (Finding, bool) {
	wrong := v.Recorded && v.Used && !v.Removed && v.Stored != nil && v.Stored.ID != v.ID
	finding := Finding{Kind: Swapped, Why: "its data is another volume's",
		Fix: fmt.Sprintf("put the right directory back, or mooring volumes rm %s", v.Name)}
	if wrong {
		finding.What = fmt.Sprintf("the store has another volume of that name: ID %s, this host used %s", v.Stored.ID, v.ID)
	}
	return finding, wrong
}

func leaseLost(f Facts, v Volume) (Finding, bool) {
	l := v.Lease
	finding := Finding{Kind: LeaseLost, Fixable: free(v), Why: "nothing here may write it any more",
		What: fmt.Sprintf("this host recorded epoch %d, but host %s has had the lease since (epoch %d, %s)", v.Epoch, l.Host, l.Epoch, l.State),
		Fix:  "its mount here is taken away with the next heartbeat"}
	if l.Epoch == 0 {
		finding.What = fmt.Sprintf("this host recorded epoch %d, but the volume has no lease", v.Epoch)
	}
	if len(v.Containers) > 0 {
		finding.Fix = "stop its containers here now: " + first(v.Containers)
	}
	return finding, v.Epoch > 0 && v.Directory && v.Unreadable == "" && !l.Of(f.Self)
}

func leaseNotRecorded(f Facts, v Volume) (Finding, bool) {
	return Finding{Kind: LeaseNotRecorded, Fixable: free(v) && v.Recorded,
		What: fmt.Sprintf("this host holds the lease (epoch %d) without having recorded that it uses the volume", v.Lease.Epoch),
		Why:  "no other host can have the volume as long as this one lives",
		Fix:  "give the lease back, if no container here has the volume"}, v.Epoch == 0 && active(v.Lease) && v.Lease.Host == f.Self.Host
}

func containerWithoutLease(f Facts, v Volume) (Finding, bool) {
	return Finding{Kind: ContainerWithoutLease, What: "containers here have the volume, and this host has no lease on it: " + first(v.Containers),
		Why: "another host may write at the same time", Fix: "stop them now"}, v.Epoch == 0 && len(v.Containers) > 0
}

func holderUnknown(f Facts, v Volume) (Finding, bool) {
	return Finding{Kind: HolderUnknown, What: fmt.Sprintf("host %s has the lease (epoch %d) and never wrote a heartbeat to this store", v.Lease.Host, v.Lease.Epoch),
		Why: "the lease was copied or its heartbeat deleted; nothing tells whether that host lives",
		Fix: takeover(v)}, elsewhere(f, v) && !v.HolderSeen
}

func holderSilent(f Facts, v Volume) (Finding, bool) {
	l, fix := v.Lease, "the next mount, on any host, takes the volume over"
	if policy(v) != lease.Auto {
		fix = takeover(v)
	}
	return Finding{Kind: HolderSilent, What: fmt.Sprintf("host %s has the lease (epoch %d) and has been silent for %s", l.Host, l.Epoch, about(v.Still)),
			Why: "it seems to be dead or cut off", Fix: fix},
		elsewhere(f, v) && v.HolderSeen && l.State == lease.Held && !l.Unguarded && v.Still >= f.TakeAfter
}

func holderUnattended(f Facts, v Volume) (Finding, bool) {
	l := v.Lease
	return Finding{Kind: HolderUnattended, What: fmt.Sprintf("host %s has the lease (epoch %d), unattended: its plugin was stopped while containers used the volume", l.Host, l.Epoch),
			Why: "it is never taken over by time",
			Fix: "start the plugin there again; " + takeover(v)},
		elsewhere(f, v) && v.HolderSeen && l.State == lease.Unattended
}

func holderUnguarded(f Facts, v Volume) (Finding, bool) {
	l := v.Lease
	return Finding{Kind: HolderUnguarded, What: fmt.Sprintf("host %s has the lease (epoch %d), unguarded, and has been silent for %s", l.Host, l.Epoch, about(v.Still)),
			Why: "nothing there stops its containers when it is cut off, so the lease is never taken over by time",
			Fix: "bring that host back; " + takeover(v)},
		elsewhere(f, v) && v.HolderSeen && l.State == lease.Held && l.Unguarded && v.Still >= f.TakeAfter
}

// free tells whether no container of this host has the volume, for certain.
func free(v Volume) bool { return len(v.Containers) == 0 && v.Unlooked == "" }

func holdWithoutContainer(f Facts, v Volume) (Finding, bool) {
	return Finding{Kind: HoldWithoutContainer, Fixable: true,
		What: fmt.Sprintf("recorded mounts: %d, the last %s ago; no container has the volume", v.Holds, about(v.Mount)),
		Why:  "the engine lost an Unmount; the volume stays with this host",
		Fix:  "drop the mounts and give the lease back"}, v.Epoch > 0 && v.Holds > 0 && free(v) && v.Mount >= f.ReapAfter
}

func mountedWithoutUse(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: MountedWithoutUse, Fixable: free(v) && v.Recorded, What: "it is mounted here although this host does not use it",
		Why: "whoever writes to the mount point does so without a lease", Fix: "unmount it, if no container here has it"}, v.Mounted && v.Epoch == 0
}

func mountMissing(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: MountMissing, What: "it is in use, and its mount point is not mounted",
		Why: "somebody unmounted it; containers that run have their own mount",
		Fix: "the next mount, when a container with it starts here, mounts it again"}, v.Epoch > 0 && v.Holds > 0 && !v.Mounted
}

func containersUnknown(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: ContainersUnknown, What: "its containers could not be looked for: " + v.Unlooked,
		Why: "nothing can be released without that", Fix: "do what the message says"}, v.Unlooked != ""
}
