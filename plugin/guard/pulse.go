package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mooring/plugin/lease"
)

// rivals tells whether the heartbeat that was replaced is somebody else's under the same name. The first
// one replaces that of an earlier guard.
func rivals(previous lease.Heartbeat, self lease.Identity, sequence uint64) bool {
	return sequence > 1 && previous.Instance != "" && previous.Instance != self.Instance
}

// silence says for how long there was no heartbeat, and why.
func silence(p lease.Pulse, now time.Duration, problem string) error {
	if problem == "" {
		problem = "the store does not answer"
	}
	if !p.Known {
		return fmt.Errorf("no heartbeat yet: %s", problem)
	}
	return fmt.Errorf("no heartbeat for %s: %s", (now - p.Began).Round(time.Second), problem)
}

// pulseFile keeps the pulse for a guard that follows one that was killed. It is not synced: only a
// guard of the same boot may go on with it.
const pulseFile = "guard.pulse"

// pulseSize is room for any pulse; the file is overwritten in place.
const pulseSize = 256

type pulseRecord struct {
	Boot string `json:"boot"` // the kernel's, whose clock the readings are of
	lease.Pulse
}

func savePulse(dir string, p lease.Pulse) error {
	boot, err := kernelBoot()
	if err != nil {
		return err
	}
	data, err := json.Marshal(pulseRecord{boot, p})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, pulseFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%-*s\n", pulseSize, data), 0)
	return errors.Join(err, f.Close())
}

// loadPulse returns the pulse of an earlier guard, the zero one if there was none on this boot or if it
// cannot be read: then whatever is written here is fenced before anything is mounted.
func loadPulse(dir string) lease.Pulse {
	var r pulseRecord
	data, err := os.ReadFile(filepath.Join(dir, pulseFile))
	if err != nil || json.Unmarshal(data, &r) != nil {
		return lease.Pulse{}
	}
	if boot, err := kernelBoot(); err != nil || r.Boot != boot {
		return lease.Pulse{}
	}
	return r.Pulse
}

func kernelBoot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(id), err
}

// bootTime reads the clock that goes on while the machine sleeps.
func bootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // Linux has had it since 2.6.39
	}
	return time.Duration(now.Nano())
}
