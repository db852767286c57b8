package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mooring/coordinator"
	"mooring/elasticsearch"
)

const (
	markerFile   = ".mooring.json" // in the root of both volumes; Elasticsearch has a sub-directory of its own
	markerFormat = 1
)

// marker says whose a volume is and how far its node had come. It is written before Elasticsearch starts and again when
// the node has joined a cluster.
type marker struct {
	Format    int                `json:"format"`
	Framework string             `json:"framework"`
	Node      coordinator.NodeID `json:"node"`
	Epoch     uint64             `json:"epoch"` // latest launch on this volume
	Joined    bool               `json:"joined,omitempty"`
	Cluster   string             `json:"cluster_uuid,omitempty"` // with Joined
	Version   string             `json:"version,omitempty"`      // with Joined: of the latest Elasticsearch that joined
}

// readMarker returns nil for a volume that never had one.
func readMarker(volume string) (*marker, error) {
	text, err := os.ReadFile(filepath.Join(volume, markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read marker of volume: %w", err)
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, refuse("marker %s in %s is unreadable (%v): restore it, or remove it if the volume is this node's own", markerFile, volume, err)
	}
	if m.Format != markerFormat {
		return nil, refuse("marker %s in %s has format %d, this version of Mooring reads %d: use a newer version", markerFile, volume, m.Format, markerFormat)
	}
	return &m, nil
}

// writeMarker returns once the marker would survive a loss of power.
func writeMarker(volume string, m marker) error {
	m.Format = markerFormat
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write marker of volume: %w", err)
	}
	path := filepath.Join(volume, markerFile)
	if err := writeSynced(path+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write marker of volume: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write marker of volume: %w", err)
	}
	return syncDir(volume)
}

func writeSynced(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync volume: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync volume: %w", err)
	}
	return nil
}

// refusal is a reason not to start Elasticsearch that is no failure of this agent.
type refusal struct {
	text  string
	fault coordinator.Fault
}

func (r *refusal) Error() string { return r.text }

// refuse is for volumes that are not what they should be: an operator decides.
func refuse(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), coordinator.FaultRefused}
}

// refuseSettings is for what an operator asked for and can change: the node tries again until it fits.
func refuseSettings(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), coordinator.FaultNode}
}

// fault says whose fault an error before the start is: without a refusal it is the volume's or the disk's on this agent.
func fault(err error) coordinator.Fault {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.fault
	}
	return coordinator.FaultAgent
}

// check decides whether this launch may use the volumes with these markers.
func check(task coordinator.Task, config, data *marker, image elasticsearch.Version) error {
	for kind, m := range map[coordinator.Kind]*marker{coordinator.Config: config, coordinator.Data: data} {
		if err := checkOwner(task, kind, m); err != nil {
			return err
		}
	}
	return checkData(task, data, image)
}

func checkOwner(task coordinator.Task, kind coordinator.Kind, m *marker) error {
	volume := coordinator.VolumeName(task.Framework, task.Node, kind)
	switch {
	case m == nil:
		return nil
	case m.Framework != task.Framework || m.Node != task.Node:
		return refuse("volume %s belongs to node %d of framework %s: give node %d of %s its own volume back",
			volume, m.Node, m.Framework, task.Node, task.Framework)
	case m.Epoch > task.Epoch:
		return refuse("volume %s was used by launch %d of node %d, this is only launch %d: the scheduler works with an old state, restore the newer one",
			volume, m.Epoch, task.Node, task.Epoch)
	}
	return nil
}

func checkData(task coordinator.Task, data *marker, image elasticsearch.Version) error {
	volume := coordinator.VolumeName(task.Framework, task.Node, coordinator.Data)
	if data == nil || !data.Joined {
		if task.Joined {
			return refuse("volume %s is empty but node %d has joined cluster %s before: bring its data back, or give it up with `mooring nodes forgive %d`",
				volume, task.Node, task.ClusterUUID, task.Node)
		}
		return nil
	}
	if task.ClusterUUID != "" && data.Cluster != task.ClusterUUID {
		return refuse("volume %s belongs to cluster %s but node %d must join cluster %s: bring the right volume back",
			volume, data.Cluster, task.Node, task.ClusterUUID)
	}
	last, err := elasticsearch.ParseVersion(data.Version)
	if err != nil {
		return refuse("marker of volume %s: %v", volume, err)
	}
	if image.Less(last) {
		return refuseSettings("volume %s was written by Elasticsearch %s, which %s cannot read: use an image of %s or later", volume, last, image, last)
	}
	return nil
}
