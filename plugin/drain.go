package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"mooring/plugin/admin"
)

// drainKey is the state log's. It is there while the host is drained, with the time since when.
const drainKey = "drain"

// Drain makes this host refuse new mounts, also after a restart of the plugin, until it is undone. What is in use goes on.
func (d *Driver) Drain() (admin.Drain, error) {
	if d.drain().Since.IsZero() { // the first order counts
		since := now()
		if err := d.state.Put(drainKey, since); err != nil {
			return admin.Drain{}, fmt.Errorf("drain host %s: %w", d.self.Host, err)
		}
		d.setDrained(since)
		d.log.Warn("host is drained: no new mounts")
	}
	return d.drain(), nil
}

// Undrain makes this host accept mounts again.
func (d *Driver) Undrain() (admin.Drain, error) {
	if err := d.state.Delete(drainKey); err != nil {
		return admin.Drain{}, fmt.Errorf("end the drain of host %s: %w", d.self.Host, err)
	}
	d.setDrained(time.Time{})
	d.log.Warn("host is not drained any more")
	return d.drain(), nil
}

func (d *Driver) setDrained(since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drained = since
}

// loadDrain reads whether the host was drained before the plugin's start.
func (d *Driver) loadDrain() error {
	data, drained := d.state.Entries()[drainKey]
	if !drained {
		return nil
	}
	if err := json.Unmarshal(data, &d.drained); err != nil {
		return fmt.Errorf("state %s of host %s is unreadable: repair its line in state.log: %w", drainKey, d.self.Host, err)
	}
	return nil
}

// drain is what this host still holds, and since when it is drained.
func (d *Driver) drain() admin.Drain {
	survey := d.Survey()
	held := slices.DeleteFunc(survey.Volumes, func(v admin.Volume) bool { return !v.Here })
	return admin.Drain{Host: survey.Host, Since: survey.Drained, Held: held}
}

// checkDrain refuses a new mount on a drained host. "docker cp" repeats the mount of a container that runs.
func (d *Driver) checkDrain(v volume, id string) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.drained.IsZero() || v.Holds[id] > 0 {
		return nil
	}
	return fmt.Errorf("mount volume %s: host %s is drained since %s and accepts no new mounts: start the container on another host, or `mooring volumes drain --undo` here",
		v.Name, d.self.Host, d.drained.Format(time.RFC3339))
}
