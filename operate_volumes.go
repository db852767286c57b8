package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"mooring/coordinator"
	"mooring/scheduler/api"
)

// writeVolumes is a table of volumes, and where what it says of their holders comes from if that is not their leases of now.
func writeVolumes(w io.Writer, list api.VolumeList) {
	fmt.Fprintln(w, "\nVOLUME\tNODE\tSIZE\tHOLDER\tEPOCH\tSTATE")
	for _, v := range list.Volumes {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", v.Name, v.Node, orDash(size(v.Size)), orDash(v.Holder), orDash(epoch(v.Epoch)), volumeState(v))
	}
	if from := holdersFrom(list); from != "" {
		fmt.Fprintln(w, from)
	}
}

// volumeState is what is known of who may write a volume.
func volumeState(v api.Volume) string {
	switch {
	case v.Error != "":
		return "its lease could not be read: " + v.Error
	case v.Source == api.FromNode && v.Holder != "":
		return v.State + ", as its node told"
	case v.Source == api.FromNode:
		return cmp.Or(v.State, "not known")
	case v.Unguarded:
		return v.State + ", unguarded"
	}
	return cmp.Or(v.State, "never held")
}

// holdersFrom says what is to be known of holders that are not those of now; empty if they are.
func holdersFrom(list api.VolumeList) string {
	switch {
	case list.LeasesError != "" && !list.LeasesRead.IsZero():
		return fmt.Sprintf("leases could not be read now (%s): these are of %s ago", list.LeasesError, since(list.LeasesRead))
	case list.LeasesError != "":
		return fmt.Sprintf("leases could not be read (%s): holders are as nodes told when they were launched", list.LeasesError)
	case slices.ContainsFunc(list.Volumes, func(v api.Volume) bool { return v.Source == api.FromNode && v.Holder != "" && v.Error == "" }):
		return "holders are as nodes told when they were launched: with --heartbeats the scheduler reads the leases themselves"
	}
	return ""
}

// volumeRows tell of the volumes of one node.
func volumeRows(list api.VolumeList, id coordinator.NodeID) [][2]string {
	var rows [][2]string
	for _, v := range list.Volumes {
		if v.Node != id {
			continue
		}
		text := v.Name
		for _, part := range []string{size(v.Size), volumeState(v)} {
			if part != "" {
				text += ", " + part
			}
		}
		if v.Holder != "" {
			text += ": host " + v.Holder
		}
		if v.Epoch > 0 {
			text += fmt.Sprintf(", epoch %d", v.Epoch)
		}
		rows = append(rows, [2]string{"volume", text})
	}
	return rows
}
