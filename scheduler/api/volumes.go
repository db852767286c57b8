package api

import (
	"context"
	"net/http"
	"time"

	"mooring/coordinator"
	"mooring/scheduler"
)

// Leases tells who holds volumes, by their names.
type Leases interface {
	// Leases returns the leases of volumes, not to be changed, and when they were read. With an error they are those that were
	// read last. It returns within some seconds, whatever hangs.
	Leases(ctx context.Context, volumes []string) (map[string]coordinator.Lease, time.Time, error)
}

// Where what is said of a volume's holder comes from.
const (
	FromLease = "lease" // the volume's lease, as it was read
	FromNode  = "node"  // the node, when it was launched last: who holds the volume now is not known
)

// Volume is a volume of a node.
type Volume struct {
	Name      string             `json:"name"`
	Node      coordinator.NodeID `json:"node"`
	Size      int64              `json:"size,omitempty"`   // in bytes; 0: without a limit of its own, or not known
	Holder    string             `json:"holder,omitempty"` // host that may write it, in the words of its volume driver; from a node: that had it last
	Epoch     uint64             `json:"epoch,omitempty"`  // of the lease
	State     string             `json:"state,omitempty"`  // of the lease: held, unattended, released, or empty if it was never held; from a node: never used, in use, last used, gone
	Unguarded bool               `json:"unguarded,omitempty"`
	Source    string             `json:"source"`          // lease or node: where the holder is known from
	Error     string             `json:"error,omitempty"` // why its lease could not be read
}

// VolumeList is the answer to GET /v1/volumes: the volumes of all nodes.
type VolumeList struct {
	Volumes     []Volume  `json:"volumes"`
	LeasesRead  time.Time `json:"leases_read,omitzero"`   // when the leases were; zero: they were not
	LeasesError string    `json:"leases_error,omitempty"` // why they could not be read now
}

func (a *server) volumes(r *http.Request) (any, error) {
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	return a.volumesOf(r.Context(), v), nil
}

// volumesOf are the volumes, by the IDs of their nodes.
func (a *server) volumesOf(ctx context.Context, v scheduler.View) VolumeList {
	all := VolumeList{Volumes: []Volume{}}
	var names []string
	for _, n := range v.State.Nodes {
		all.Volumes = append(all.Volumes, told(v, n, coordinator.Config, n.Sizes.Config), told(v, n, coordinator.Data, n.Sizes.Data))
	}
	if a.leases == nil {
		return all
	}
	for _, volume := range all.Volumes {
		names = append(names, volume.Name)
	}
	leases, read, err := a.leases.Leases(ctx, names)
	if all.LeasesRead = read; err != nil {
		all.LeasesError = err.Error()
	}
	for i := range all.Volumes {
		if lease, known := leases[all.Volumes[i].Name]; known {
			all.Volumes[i].lease(lease)
		}
	}
	return all
}

// told is what a node has told of a volume of its own.
func told(v scheduler.View, n coordinator.Node, kind coordinator.Kind, size int64) Volume {
	volume := Volume{Name: coordinator.VolumeName(v.State.Framework, n.ID, kind), Node: n.ID, Size: size, Holder: n.Holder.Host, State: "in use", Source: FromNode}
	if volume.Holder == "" && n.Holder.Agent != "" {
		volume.Holder = "agent " + n.Holder.Agent
	}
	switch {
	case n.Epoch == 0:
		volume.State = "never used"
	case volume.Holder == "":
		volume.State = "" // it was launched, and not heard of yet
	case n.Holder.Gone:
		volume.State = "gone"
	case n.Phase == coordinator.Vacant:
		volume.State = "last used"
	}
	return volume
}

// lease adds what a volume's lease says, which counts.
func (v *Volume) lease(l coordinator.Lease) {
	if v.Error = l.Error; l.Error != "" {
		return
	}
	v.Holder, v.Epoch, v.State, v.Unguarded, v.Source = l.Host, l.Epoch, l.State, l.Unguarded, FromLease
	if l.Size > 0 {
		v.Size = l.Size
	}
}
