package doctor

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Findings about the host and the store as a whole.
const (
	StoreUnusable  Kind = "store-unusable"
	ClassesRefused Kind = "classes-refused"
	NoCoordinator  Kind = "no-coordinator"
	NoHeartbeat    Kind = "no-heartbeat"
	RivalPlugin    Kind = "rival-plugin"
	NoGuard        Kind = "no-guard"
	HostDrained    Kind = "host-drained"
	HostGone       Kind = "host-gone"
	TrashFull      Kind = "trash-not-emptied"
	HalfMadeFile   Kind = "half-made-file"
	StrayFile      Kind = "stray-file"
)

// goneAfter is how old a heartbeat is before its host is worth a question. Maintenance takes hours.
const goneAfter = 24 * time.Hour

// abandonedAfter is how old a temporary file is before its maker counts as gone: calls take seconds. If the maker is
// still there, stuck on its storage, its renaming fails, and with that its call; nothing is lost.
const abandonedAfter = time.Hour

func examineHost(f Facts) []Finding {
	var found []Finding
	if f.StoreProblem != "" {
		found = append(found, Finding{Kind: StoreUnusable, What: "the store cannot be used: " + f.StoreProblem,
			Why: "no volume can be created, mounted or removed here", Fix: "do what it says with " + f.StoreDir + "; nothing else is known until then"})
	}
	if f.ClassesProblem != "" {
		found = append(found, Finding{Kind: ClassesRefused, What: f.ClassesProblem,
			Why: "new volumes do not get the settings that the file has for them", Fix: "correct the file; it is read again within seconds, see docs/classes.md"})
	}
	if f.CoordinatorProblem != "" {
		found = append(found, Finding{Kind: NoCoordinator, What: f.CoordinatorProblem,
			Why: "MESOS_MASTER makes this host a coordinator; if none of the hosts is one, no node is placed", Fix: "do what it says; scheduler.yaml is read again within seconds, see docs/high-availability.md"})
	}
	if f.Rival {
		found = append(found, Finding{Kind: RivalPlugin, What: "another plugin runs under this host's name " + f.Self.Host,
			Why: "both would take each other's leases for their own, so neither mounts anything",
			Fix: "give each host its own HOST; copies of a machine also copy its state directory, which holds a generated name"})
	}
	if age := "never since the plugin started"; f.StoreProblem == "" && (!f.Beaten || f.BeatAge > f.TakeAfter/2) {
		if f.Beaten {
			age = about(f.BeatAge) + " ago"
		}
		found = append(found, Finding{Kind: NoHeartbeat, What: "this host's last heartbeat was " + age,
			Why: fmt.Sprintf("after %s without one other hosts take this host's volumes", f.TakeAfter),
			Fix: "see that the store can be written (df, dmesg) and read the plugin's log"})
	}
	if f.Beaten && !f.Guarded {
		found = append(found, Finding{Kind: NoGuard, What: strings.TrimSuffix("this host has no guard that outlives its plugin: "+strings.Join(f.GuardNotes, ", "), ": "),
			Why: "when this host is cut off, nothing stops its containers; so its volumes are never taken over by time",
			Fix: "run the plugin as its manifest says, with pidhost and /sys/fs/cgroup; until then a dead host's volumes need mooring volumes takeover"})
	}
	if f.Drained > 0 {
		found = append(found, Finding{Kind: HostDrained, What: fmt.Sprintf("this host has been drained for %s; volumes in use here: %d", about(f.Drained), f.Held),
			Why: "no container with a volume starts here", Fix: "mooring volumes drain --undo, when it shall be used again"})
	}
	for _, h := range f.Hosts {
		if h.Name != f.Self.Host && h.Age >= goneAfter {
			found = append(found, Finding{Kind: HostGone, What: fmt.Sprintf("host %s beat last %s before this one", h.Name, about(h.Age)),
				Why: "a host that is gone for good is watched for ever",
				Fix: "if it never comes back and no finding names it as a holder, delete its directory below " + filepath.Join(f.StoreDir, "mooring/hosts")})
		}
	}
	return found
}

func examineFiles(f Facts) []Finding {
	var found []Finding
	if f.Trash > 0 {
		found = append(found, Finding{Kind: TrashFull, Fixable: true, What: fmt.Sprintf("%d removed volumes are not deleted yet", f.Trash),
			Why: "they use space", Fix: "they are deleted by a host that runs the plugin; see its log if that does not happen"})
	}
	for _, d := range f.Drafts {
		if d.Age >= abandonedAfter {
			found = append(found, Finding{Kind: HalfMadeFile, Path: d.Path, Fixable: true, What: fmt.Sprintf("%s was not completed for %s", d.Path, about(d.Age)),
				Why: "it uses space; only its maker, which has gone, would have given it its real name", Fix: "delete it"})
		}
	}
	for _, path := range f.Strays {
		found = append(found, Finding{Kind: StrayFile, Path: path, What: path + " does not belong to the store",
			Why: "somebody works in the store by hand, or a newer plugin does", Fix: "move it elsewhere if it is yours"})
	}
	return found
}
