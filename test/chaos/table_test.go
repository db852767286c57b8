package chaos

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/test/faultfs"
)

// target is what is hit.
type target string

const (
	plugin    target = "plugin"
	guard     target = "guard"
	dockerd   target = "dockerd"
	container target = "container"
	host      target = "host"
	store     target = "store" // as the host sees it
)

// fault is what happens to it.
type fault string

const (
	kill   fault = "kill"
	freeze fault = "freeze" // and thaw
	cut    fault = "cut"    // off the network, and with it off the store
	stop   fault = "stop"   // cleanly

	eio    fault = "eio"
	estale fault = "estale"
	enospc fault = "enospc"
	hang   fault = "hang"
)

// step is what a volume is in the middle of.
type step string

const (
	create  step = "create"
	lease   step = "lease"
	mkfs    step = "mkfs"
	attach  step = "attach"
	mount   step = "mount"
	write   step = "write"
	unmount step = "unmount"
	release step = "release"
	remove  step = "remove"
)

// kind is what a volume is.
type kind string

const (
	dir  kind = "dir"  // a directory
	ext4 kind = "ext4" // an image with that file system
	xfs  kind = "xfs"
)

// choice is what a round leaves to the seed, for one step.
type choice struct {
	after bool // whether the operation that the step consists of was carried out when the fault falls
	image kind // which file system the image has; at the step write there is one of each
}

func chooseAll(choices *rand.Rand) map[step]choice {
	chosen := map[step]choice{}
	for _, when := range steps {
		chosen[when] = choice{after: choices.IntN(2) == 1, image: []kind{ext4, xfs}[choices.IntN(2)]}
	}
	return chosen
}

var (
	targets = []target{plugin, guard, dockerd, container, host, store}
	faults  = []fault{kill, freeze, cut, stop, eio, estale, enospc, hang}
	// steps is in the order in which they are reached: the last one keeps the directory of all volumes locked.
	steps = []step{create, lease, mkfs, attach, mount, write, unmount, release, remove}
)

// leftOut says why a combination is none, "" if it is one.
func leftOut(who target, what fault, when step) string {
	answer := what == eio || what == estale || what == enospc || what == hang
	switch {
	case answer != (who == store):
		return "processes and hosts end, stop and are cut off; a store gives wrong answers, or none"
	case who == store && when != write:
		return "a verb that fails is tried again; only who writes can lose something"
	case what == cut && who != host:
		return "what runs on a host has the host's network, and is cut off with it"
	case silent(who, what) && ofImages(when):
		return "there are no images while the store does not answer: the hosts share a kernel"
	case who == container && when != write:
		return "the container has no process before its volume is mounted, nor after it is unmounted"
	}
	return ""
}

// silent tells whether the store of the host that is hit does not answer while the other one takes over. Then volumes are
// directories: one kernel plays both hosts, and before it tells whose a loop device is, it asks the storage of the image.
func silent(who target, what fault) bool {
	return who == host && (what == freeze || what == cut) || what == hang
}

// ofImages tells whether a step is one of images only.
func ofImages(when step) bool {
	return when == mkfs || when == attach || when == mount || when == unmount
}

// lateWrites says why what the one host writes after the other has taken over can reach the volume, "" if it cannot. Then
// every record that was acknowledged before the takeover is found after it, but nothing is claimed for what follows.
func lateWrites(who target, what fault, k kind) string {
	if who == host && what == freeze && k == dir {
		return "a container that is thawed writes before its guard, thawed with it, ends it: a directory cannot be cloned"
	}
	return ""
}

// takenOver tells whether the target is away for so long that the other host gets its volumes by time.
func takenOver(who target, what fault) bool { return who == host || who == store && what != enospc }

// holdAt is the operation on the store that a step consists of. A volume that is written needs none.
func holdAt(when step, volume string, after bool) faultfs.Hold {
	place := "mooring/volumes/" + volume
	h := map[step]faultfs.Hold{
		create:  {Operation: faultfs.Create, Path: place + "/volume.json"},
		lease:   {Operation: faultfs.Link, Path: place + "/lease.1"},
		mkfs:    {Operation: faultfs.Write, Path: place + "/image.new.*"},
		attach:  {Operation: faultfs.Open, Path: place + "/image"},
		mount:   {Operation: faultfs.KernelIO, Path: place + "/image"},
		unmount: {Operation: faultfs.KernelIO, Path: place + "/image"},
		release: {Operation: faultfs.Rename, Path: place + "/lease.1"},
		remove:  {Operation: faultfs.Rename, Path: "mooring/trash/" + volume + ".*"},
	}[when]
	h.After = after
	return h
}

// inEveryRun are the rounds that the tests of a change play.
var inEveryRun = map[target][]fault{
	plugin: {kill, freeze}, guard: {kill, freeze}, dockerd: {kill}, container: {stop}, host: {kill, freeze, cut}, store: {eio, enospc, hang},
}

// withZooKeeper are the rounds with leases in ZooKeeper, and whether the tests of a change play them.
var withZooKeeper = []struct {
	who    target
	what   fault
	always bool
}{{host, cut, true}, {host, kill, false}, {host, freeze, false}, {guard, kill, false}, {guard, freeze, false}, {plugin, kill, false}, {plugin, stop, false}}

// ofLeases tells whether a step is an operation on a lease, which can be held in the store only.
func ofLeases(when step) bool { return when == lease || when == release }

func TestTheTableIsComplete(t *testing.T) {
	cases, reasons := map[target]int{}, map[string]bool{}
	for _, who := range targets {
		for _, what := range faults {
			for _, when := range steps {
				if why := leftOut(who, what, when); why != "" {
					reasons[why] = true
				} else {
					cases[who]++
				}
			}
		}
	}
	assert.Equal(t, map[target]int{plugin: 27, guard: 27, dockerd: 27, container: 3, host: 28, store: 4}, cases)
	assert.Len(t, reasons, 5)
}
