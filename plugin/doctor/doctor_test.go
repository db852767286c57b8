package doctor_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/doctor"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

var self = lease.Identity{Host: "hostA", Boot: "boot-1", Instance: "i1"}

// facts of a host where everything fits.
func facts() doctor.Facts {
	return doctor.Facts{Self: self, Heartbeat: 3 * time.Second, TakeAfter: 20 * time.Second, ReapAfter: 2 * time.Minute,
		StoreDir: "/store", Beaten: true, BeatAge: 2 * time.Second, Guarded: true}
}

// idle is a volume that was used and is not.
func idle() doctor.Volume {
	return doctor.Volume{Name: "v", Recorded: true, ID: "1", Used: true, Recovered: true, Directory: true,
		Stored: &store.Volume{ID: "1", Name: "v", Used: true}, Lease: held("hostA", lease.Released)}
}

// used is a volume in use by a container here.
func used() doctor.Volume {
	v := idle()
	v.Epoch, v.Holds, v.Mounted, v.Containers, v.Lease = 4, 1, true, []string{"process 7, which has it at /data"}, held("hostA", lease.Held)
	return v
}

// away is a volume that another host, which lives, has.
func away() doctor.Volume {
	v := idle()
	v.Lease, v.HolderSeen, v.Still = held("hostB", lease.Held), true, time.Second
	return v
}

func held(host string, state lease.State) lease.Lease {
	return lease.Lease{Volume: "v", Epoch: 4, Identity: lease.Identity{Host: host, Boot: "boot-1"}, State: state}
}

func TestAHealthyHostHasNoFindings(t *testing.T) {
	f := facts()
	never := idle()
	never.Used, never.Stored.Used, never.Lease = false, false, lease.Lease{}
	powerCut := doctor.Volume{Name: "v", Recorded: true, ID: "1", Recovered: true} // recorded, never used: made at first use
	elsewhere := doctor.Volume{Name: "v", Directory: true, Stored: &store.Volume{ID: "1", Name: "v"}}
	f.Volumes = []doctor.Volume{idle(), used(), away(), never, powerCut, elsewhere}
	f.Hosts = []doctor.Host{{Name: "hostB", Age: time.Hour}}
	f.Drafts = []doctor.Draft{{Path: "/store/mooring/volumes/v/.lease.4.12", Age: time.Minute}}
	assert.Empty(t, doctor.Examine(f))
}

// Each row breaks one thing of a volume that is well.
func TestFindingsAboutAVolume(t *testing.T) {
	for _, row := range []struct {
		want    doctor.Kind
		fixable bool
		of      doctor.Volume
		change  func(*doctor.Volume)
		what    string
	}{
		{doctor.CallAtWork, false, used(), func(v *doctor.Volume) { v.Busy = true }, "a call is at work on the volume"},
		{doctor.Fenced, false, idle(), func(v *doctor.Volume) { v.Fenced = "no heartbeat for 10s" }, "the guard stopped its containers here: no heartbeat for 10s"},
		{doctor.NotRecovered, false, used(), func(v *doctor.Volume) { v.Recovered, v.Problem = false, "boom" },
			"the record from before the plugin's start was not compared with lease and kernel yet: boom"},
		{doctor.LastCallFailed, false, idle(), func(v *doctor.Volume) { v.Problem = "boom" }, "the last call failed: boom"},
		{doctor.RecordMissing, false, idle(), func(v *doctor.Volume) { v.Recorded, v.Stored = false, nil },
			"its directory in the store has no volume.json, or a blank one"},
		{doctor.Unreadable, false, idle(), func(v *doctor.Volume) { v.Stored, v.Unreadable = nil, "volume.json is unreadable" }, "volume.json is unreadable"},
		{doctor.FilesMissing, false, idle(), func(v *doctor.Volume) { v.Directory, v.Stored, v.Lease = false, nil, lease.Lease{} },
			"its directory is gone from the store, although nobody removed the volume"},
		{doctor.FilesMissing, false, idle(), func(v *doctor.Volume) { v.Missing = []string{"/a", "/b", "/c", "/d"} }, "the store lacks /a, /b, /c and others"},
		{doctor.RemovedElsewhere, true, idle(), func(v *doctor.Volume) { v.Removed, v.Directory, v.Stored, v.Lease = true, false, nil, lease.Lease{} },
			"another host removed the volume, and this one still knows it"},
		{doctor.Swapped, false, idle(), func(v *doctor.Volume) { v.ID = "2" }, "the store has another volume of that name: ID 1, this host used 2"},
		{doctor.WrongImage, false, idle(), func(v *doctor.Volume) { v.WrongImage = "boom" }, "boom"},
		{doctor.GrowthUnfinished, false, used(), func(v *doctor.Volume) { v.Growing = 20 << 30 }, "it was ordered to grow to 20GiB, and its file system has not grown yet"},
		{doctor.CloneUnfinished, false, idle(), func(v *doctor.Volume) { v.Used, v.Stored.Used, v.Stored.From = false, false, "w@s" },
			"it is a clone of w@s that was not completed"},
		{doctor.DeviceLeft, true, idle(), func(v *doctor.Volume) { v.Device = "/dev/loop7" }, "/dev/loop7 still shows its image, although this host does not use the volume"},
		{doctor.DeviceElsewhere, false, used(), func(v *doctor.Volume) { v.Device, v.DeviceElsewhere = "/dev/loop7", true },
			"/dev/loop7 shows a file that is not the volume's image: it was removed, or another host has taken the volume"},
		{doctor.LeaseLost, false, used(), func(v *doctor.Volume) { v.Lease, v.HolderSeen = held("hostB", lease.Held), true },
			"this host recorded epoch 4, but host hostB has had the lease since (epoch 4, held)"},
		{doctor.LeaseLost, true, used(), func(v *doctor.Volume) { v.Lease, v.HolderSeen, v.Containers = held("hostB", lease.Held), true, nil },
			"this host recorded epoch 4, but host hostB has had the lease since (epoch 4, held)"},
		{doctor.LeaseLost, false, used(), func(v *doctor.Volume) { v.Lease = lease.Lease{} }, "this host recorded epoch 4, but the volume has no lease"},
		{doctor.LeaseNotRecorded, true, idle(), func(v *doctor.Volume) { v.Lease = held("hostA", lease.Held) },
			"this host holds the lease (epoch 4) without having recorded that it uses the volume"},
		{doctor.LeaseNotRecorded, false, idle(), func(v *doctor.Volume) {
			v.Lease, v.Stored.Used, v.Recorded = held("hostA", lease.Unattended), false, false
		},
			"this host holds the lease (epoch 4) without having recorded that it uses the volume"},
		{doctor.ContainerWithoutLease, false, away(), func(v *doctor.Volume) { v.Containers = []string{"process 7"} },
			"containers here have the volume, and this host has no lease on it: process 7"},
		{doctor.HolderUnknown, false, away(), func(v *doctor.Volume) { v.HolderSeen = false },
			"host hostB has the lease (epoch 4) and never wrote a heartbeat to this store"},
		{doctor.HolderSilent, false, away(), func(v *doctor.Volume) { v.Still = time.Minute }, "host hostB has the lease (epoch 4) and has been silent for 1m0s"},
		{doctor.HolderUnattended, false, away(), func(v *doctor.Volume) { v.Lease.State = lease.Unattended },
			"host hostB has the lease (epoch 4), unattended: its plugin was stopped while containers used the volume"},
		{doctor.HolderUnguarded, false, away(), func(v *doctor.Volume) { v.Lease.Unguarded, v.Still = true, 50*time.Hour },
			"host hostB has the lease (epoch 4), unguarded, and has been silent for 50h"},
		{doctor.HoldWithoutContainer, true, used(), func(v *doctor.Volume) { v.Containers, v.Mount = nil, 5*time.Minute },
			"recorded mounts: 1, the last 5m0s ago; no container has the volume"},
		{doctor.MountedWithoutUse, true, idle(), func(v *doctor.Volume) { v.Mounted = true }, "it is mounted here although this host does not use it"},
		{doctor.MountMissing, false, used(), func(v *doctor.Volume) { v.Mounted = false }, "it is in use, and its mount point is not mounted"},
		{doctor.ContainersUnknown, false, used(), func(v *doctor.Volume) { v.Containers, v.Unlooked, v.Mount = nil, "boom", time.Hour },
			"its containers could not be looked for: boom"},
	} {
		v := row.of
		row.change(&v)
		found := doctor.ExamineVolume(facts(), v)
		require.Len(t, found, 1, "%s: %+v", row.want, found)
		assert.Equal(t, row.want, found[0].Kind)
		assert.Equal(t, row.what, found[0].What)
		assert.Equal(t, "v", found[0].Volume)
		assert.Equal(t, row.fixable, found[0].Fixable, "%s: %s", row.want, row.what)
		assert.NotEmpty(t, found[0].Why, row.want)
		assert.NotEmpty(t, found[0].Fix, row.want)
	}
}

func TestTheRemedyFitsThePolicy(t *testing.T) {
	for policy, want := range map[lease.Policy]string{
		lease.Auto:   "the next mount, on any host, takes the volume over",
		lease.Manual: "if nothing there uses the volume, mooring volumes takeover v --force --reason TEXT",
		lease.Never:  "start that host again with its plugin: this volume is never taken over",
	} {
		v := away()
		v.Still, v.Stored.Takeover = time.Minute, string(policy)
		assert.Equal(t, want, doctor.ExamineVolume(facts(), v)[0].Fix)
		v.HolderSeen = false
		if policy != lease.Auto {
			assert.Equal(t, want, doctor.ExamineVolume(facts(), v)[0].Fix)
		}
	}
}

// What a container may still be writing is never mended by the doctor.
func TestNothingWithAContainerIsFixable(t *testing.T) {
	for _, known := range []func(*doctor.Volume){
		func(v *doctor.Volume) { v.Containers = []string{"process 7"} },
		func(v *doctor.Volume) { v.Containers, v.Unlooked = nil, "boom" },
	} {
		for _, lost := range []func(*doctor.Volume){
			func(v *doctor.Volume) { v.Epoch, v.Holds = 0, 0 },
			func(v *doctor.Volume) { v.Lease = held("hostB", lease.Held) },
			func(v *doctor.Volume) { v.Mount = time.Hour },
			func(v *doctor.Volume) { v.Removed, v.Directory, v.Stored = true, false, nil },
		} {
			v := used()
			known(&v)
			lost(&v)
			for _, finding := range doctor.ExamineVolume(facts(), v) {
				assert.False(t, finding.Fixable, "%+v", finding)
			}
		}
	}
}

func TestFindingsAboutTheHost(t *testing.T) {
	for want, change := range map[doctor.Kind]func(*doctor.Facts){
		doctor.ClassesRefused: func(f *doctor.Facts) { f.ClassesProblem = "classes file /c is refused: line 1: no" },
		doctor.NoCoordinator:  func(f *doctor.Facts) { f.CoordinatorProblem = "scheduler.yaml is missing" },
		doctor.StoreUnusable:  func(f *doctor.Facts) { f.StoreProblem = "store /store is missing" },
		doctor.RivalPlugin:    func(f *doctor.Facts) { f.Rival = true },
		doctor.NoHeartbeat:    func(f *doctor.Facts) { f.BeatAge = 11 * time.Second },
		doctor.NoGuard:        func(f *doctor.Facts) { f.Guarded = false },
		doctor.HostDrained:    func(f *doctor.Facts) { f.Drained = time.Hour },
		doctor.HostGone:       func(f *doctor.Facts) { f.Hosts = []doctor.Host{{Name: "hostB", Age: 25 * time.Hour}} },
		doctor.DeviceOfNone:   func(f *doctor.Facts) { f.Devices = []doctor.Device{{Path: "/dev/loop7", Volume: "v"}} },
		doctor.DeviceSilent: func(f *doctor.Facts) {
			f.Devices = []doctor.Device{{Path: "/dev/loop7", Volume: "v", File: "/far/v/image", Silent: true}}
			broken := used() // as far as it was looked at
			broken.Silent, broken.Mounted = true, false
			f.Volumes = append(f.Volumes, broken)
		},
		doctor.TrashFull:    func(f *doctor.Facts) { f.Trash = 2 },
		doctor.HalfMadeFile: func(f *doctor.Facts) { f.Drafts = []doctor.Draft{{Path: "/p", Age: time.Hour}} },
		doctor.StrayFile:    func(f *doctor.Facts) { f.Strays = []string{"/p"} },
	} {
		f := facts()
		change(&f)
		found := doctor.Examine(f)
		require.Len(t, found, 1, want)
		assert.Equal(t, want, found[0].Kind)
		assert.Equal(t, want == doctor.TrashFull || want == doctor.HalfMadeFile, found[0].Fixable, want)
	}
	f := facts()
	f.Beaten = false
	assert.Contains(t, doctor.Examine(f)[0].What, "never since the plugin started")
}

// Without the store only what this host remembers is known, and nothing about volumes is concluded from
// their absence.
func TestAnUnusableStoreHidesItsVolumes(t *testing.T) {
	f := facts()
	f.StoreProblem = "store /store is missing"
	v := used()
	v.Directory, v.Stored, v.Containers, v.Mounted, v.Problem = false, nil, nil, false, "boom"
	f.Volumes = []doctor.Volume{v}
	var kinds []doctor.Kind
	for _, finding := range doctor.Examine(f) {
		kinds = append(kinds, finding.Kind)
	}
	assert.Equal(t, []doctor.Kind{doctor.StoreUnusable, doctor.LastCallFailed}, kinds)
}

func TestEveryFindingIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operating-volumes.md")
	require.NoError(t, err)
	kinds := 0
	for _, file := range []string{"host.go", "volume.go", "image.go"} {
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`Kind += "([a-z-]+)"`).FindAllSubmatch(code, -1) {
			kinds++
			assert.Contains(t, string(manual), "| `"+string(match[1])+"` |")
		}
	}
	assert.Equal(t, 38, kinds)
}
