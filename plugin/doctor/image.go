package doctor

import "fmt"

// Findings about images and their loop devices.
const (
	WrongImage       Kind = "image-mismatch"
	GrowthUnfinished Kind = "growth-unfinished"
	CloneUnfinished  Kind = "clone-unfinished"
	DeviceLeft       Kind = "device-left"
	DeviceElsewhere  Kind = "device-on-other-file"
	DeviceOfNone     Kind = "device-without-volume"
	DeviceSilent     Kind = "device-silent"
)

func wrongImage(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: WrongImage, What: v.WrongImage, Why: "the volume is not mounted: its file is another one's, or damaged",
		Fix: "put the right image there; it is never formatted again"}, v.WrongImage != ""
}

func growthUnfinished(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: GrowthUnfinished, What: fmt.Sprintf("it was ordered to grow to %s, and its file system has not grown yet", v.Growing),
		Why: "its containers may run out of space", Fix: "the next mount completes it; where it is mounted, give the order to grow again"}, v.Growing > 0
}

func cloneUnfinished(_ Facts, v Volume) (Finding, bool) {
	wrong := v.Stored != nil && v.Stored.From != "" && !v.Stored.Used
	finding := Finding{Kind: CloneUnfinished, Why: "it is not mounted: it would be an empty volume in place of a copy",
		Fix: "mooring volumes rm " + v.Name}
	if wrong {
		finding.What = fmt.Sprintf("it is a clone of %s that was not completed", v.Stored.From)
		finding.Fix = fmt.Sprintf("mooring volumes clone %s %s completes it, mooring volumes rm %s gives it up", v.Stored.From, v.Name, v.Name)
	}
	return finding, wrong
}

func deviceLeft(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: DeviceLeft, Fixable: free(v) && v.Recorded, What: fmt.Sprintf("%s still shows its image, although this host does not use the volume", v.Device),
		Why: "whoever writes to it does so without a lease",
		Fix: "unmount it; if that fails, a process has it open: stop that one"}, v.Device != "" && v.Epoch == 0 && !v.Mounted
}

func deviceElsewhere(_ Facts, v Volume) (Finding, bool) {
	return Finding{Kind: DeviceElsewhere, What: fmt.Sprintf("%s shows a file that is not the volume's image: it was removed, or another host has taken the volume", v.Device),
		Why: "what is written there is lost", Fix: "stop the volume's containers on this host"}, v.Device != "" && v.DeviceElsewhere
}

func examineDevices(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Devices {
		finding := Finding{Kind: DeviceOfNone, Path: d.Path, What: fmt.Sprintf("%s shows the image of volume %s, which is gone", d.Path, d.Volume),
			Why: "the space is used until it is let go of", Fix: "stop the processes that have it mounted or open"}
		if d.Silent {
			finding = Finding{Kind: DeviceSilent, Path: d.Path, What: fmt.Sprintf("%s does not answer: the storage of its file %s hangs", d.Path, d.File),
				Why: fmt.Sprintf("what uses it hangs, too, and so does a mount of a volume %s here; nothing else was looked at of such a volume", d.Volume),
				Fix: "bring that storage back; if it is gone for good, stop the processes that have the device mounted or open, and unmount the storage by force"}
		}
		found = append(found, finding)
	}
	return found
}
