package coordinator

import "maps"

// Task is all that an executor is told about one launch. It travels as JSON in TaskInfo.data, so it is read by executors of
// other versions of Mooring: fields are added, never renamed.
type Task struct {
	Framework      string   `json:"framework"`
	Node           NodeID   `json:"node"`
	Epoch          uint64   `json:"epoch"`
	Place          Place    `json:"place"`
	MemoryMB       int64    `json:"memory_mb"`                 // of the container
	Seeds          []string `json:"seeds,omitempty"`           // transport addresses of the other nodes
	InitialMasters []string `json:"initial_masters,omitempty"` // only while no cluster was ever seen
	ClusterUUID    string   `json:"cluster_uuid,omitempty"`    // the only cluster this node may join, if known
	Joined         bool     `json:"joined,omitempty"`          // has joined before: an empty data volume is a lost one
	Gone           string   `json:"gone,omitempty"`            // host that had the volumes, in the volume driver's words, and is gone for good
	Settings       Settings `json:"settings"`
}

// ID is the Mesos task ID of the launch.
func (t Task) ID() string { return TaskID(t.Framework, t.Node, t.Epoch) }

// Settings are the same for all nodes of a group.
type Settings struct {
	Cluster       string            `json:"cluster"`                  // cluster.name
	Image         string            `json:"image"`                    // Docker image of Elasticsearch
	Driver        string            `json:"driver"`                   // Docker volume driver
	DriverOptions map[string]string `json:"driver_options,omitempty"` // for volumes that do not exist yet
	DataOptions   map[string]string `json:"data_options,omitempty"`   // the same for data volumes alone, which count before those for both
	ConfigPath    string            `json:"config_path"`              // where the config volume is mounted in the container
	DataPath      string            `json:"data_path"`                // where the data volume is mounted in the container
	HeapMB        int64             `json:"heap_mb"`                  // of the JVM
	JavaOptions   []string          `json:"java_options,omitempty"`   // one JVM argument each
	Elasticsearch map[string]string `json:"elasticsearch,omitempty"`  // more settings for elasticsearch.yml
	Roles         []string          `json:"roles,omitzero"`           // node.roles; nil: as Elasticsearch does by itself; empty: coordinating only
	StopSeconds   int               `json:"stop_seconds"`             // from SIGTERM to SIGKILL
}

// VolumeOptions are the driver's options for a volume that does not exist yet.
func (s Settings) VolumeOptions(kind Kind) map[string]string {
	if kind != Data || len(s.DataOptions) == 0 {
		return s.DriverOptions
	}
	all := maps.Clone(s.DataOptions)
	for name, value := range s.DriverOptions {
		if _, own := all[name]; !own {
			all[name] = value
		}
	}
	return all
}

// RunReport is what an executor adds to a status, as JSON in TaskStatus.data.
type RunReport struct {
	Ready   bool   `json:"ready,omitempty"`   // the node has joined a cluster
	Cluster string `json:"cluster,omitempty"` // UUID of that cluster
	Version string `json:"version,omitempty"` // of Elasticsearch
	Host    string `json:"host,omitempty"`    // this host's name in the words of its volume driver, from STARTING on
	Sizes   Sizes  `json:"sizes,omitzero"`    // of the node's volumes, with Host
	Health  Health `json:"health,omitzero"`   // of that cluster, if this node is its elected master
	Fault   Fault  `json:"fault,omitempty"`   // of a failure
}

// Sizes are how large the two volumes of a node may become, in bytes; 0: without a limit of their own, or not known.
type Sizes struct {
	Config int64 `json:"config,omitempty"`
	Data   int64 `json:"data,omitempty"`
}
