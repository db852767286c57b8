package plugin

import (
	"maps"
	"time"

	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// volume is what this host knows of a volume. Values are never changed once published: a verb takes a
// copy, changes that, and publishes it, so that Get reads without waiting for anybody.
type volume struct {
	store.Volume

	// What the state log keeps beside it: this host's use of the volume.
	Epoch  uint64         `json:"epoch,omitempty"`  // of the lease this host has; 0 means none, and nothing mounted
	Lapses uint64         `json:"lapses,omitempty"` // what the guard had counted before that lease was created
	Holds  map[string]int `json:"holds,omitempty"`  // how often each mount ID is held: "docker cp" repeats a container's
	Boot   string         `json:"boot,omitempty"`   // of the host when it was last mounted; the holds are void after another

	recovered bool           // compared with the lease and the mount table since the plugin started
	lost      bool           // another host has taken the lease although this one did not give it up
	mounted   time.Duration  // clock reading at the last Mount
	arrived   bool           // since then every hold's container was seen: none is on its way
	problem   string         // why the last verb failed; "" after a success
	seen      lease.Lease    // the current lease when last read
	shown     map[string]any // what the back end says of the mount
}

// hold is v with one more hold of a mount ID.
func (v volume) hold(id string) volume {
	v.Holds = maps.Clone(v.Holds)
	if v.Holds == nil {
		v.Holds = map[string]int{}
	}
	v.Holds[id]++
	return v
}

// unhold is v with one hold less of a mount ID, or as it was if that ID holds nothing.
func (v volume) unhold(id string) volume {
	if v.Holds[id] == 0 {
		return v
	}
	v.Holds = maps.Clone(v.Holds)
	if v.Holds[id]--; v.Holds[id] == 0 {
		delete(v.Holds, id)
	}
	return v
}

// idle is v without any use by this host.
func (v volume) idle() volume {
	v.Epoch, v.Lapses, v.Holds, v.lost, v.shown = 0, 0, nil, false, nil
	return v
}

// phase is a volume's state in words, for its status.
func (v volume) phase(self lease.Identity) string {
	switch {
	case v.lost:
		return "lost"
	case v.Epoch > 0 && len(v.Holds) == 0:
		return "draining"
	case v.Epoch > 0:
		return "mounted"
	case v.seen.Epoch > 0 && v.seen.State != lease.Released && v.seen.Host != self.Host:
		return "held elsewhere"
	case v.Used:
		return "released"
	}
	return "created"
}
