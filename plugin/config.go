package plugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mooring/internal/ensemble"
	"mooring/plugin/class"
	"mooring/plugin/guard"
	"mooring/plugin/lease"
	"mooring/plugin/lease/zookeeper"
)

// Times that hold when Config has zeros.
const (
	// DefaultHeartbeat is how often a host shows that it lives: several beats fit into DefaultTakeAfter.
	DefaultHeartbeat = 3 * time.Second
	// DefaultTakeAfter is how long a heartbeat stands still before its host counts as dead. A mount can
	// wait for it within one call.
	DefaultTakeAfter = 20 * time.Second
	// DefaultFenceAfter is how long a host goes on without a confirmed heartbeat. Then its guard stops its
	// containers, before others take their volumes.
	DefaultFenceAfter = 10 * time.Second
	// DefaultCallBudget is the longest a call takes. After "docker plugin enable" the engine gives up at
	// 30 s, and what it gave up on it never undoes (Docker Engine 20.10).
	DefaultCallBudget = 25 * time.Second
	// DefaultReapAfter is how long after a mount a hold without a container may still be one whose
	// container is on its way: an engine mounts a container's volumes one after the other, 25 s each.
	DefaultReapAfter = 2 * time.Minute
)

// Sharing says whether other hosts see the same store.
type Sharing string

const (
	SharedAuto Sharing = "auto" // by the type of the store's file system
	SharedYes  Sharing = "true"
	SharedNo   Sharing = "false"
)

// Config is what the driver needs to know. The four paths are required and absolute.
type Config struct {
	StoreDir  string // the directory that holds the store; it must exist
	StateDir  string // this host's own directory; survives the plugin
	MountRoot string // where volumes are mounted; a managed plugin's propagatedMount
	Socket    string // where the engine calls

	Host    string  // this host's name, the same after a restart; "" generates one and keeps it in StateDir
	BootID  string  // changes when the host's kernel starts; "" takes the kernel's
	Shared  Sharing // "" is SharedAuto
	Metrics string  // address on which anybody may ask for /metrics, /healthz and /readyz; "" is none
	Leases  string  // where leases are kept: "" and "files" is the store, or an address of ZooKeeper, zk://…

	ClassesFile string        // with classes that come before Classes, read again when it changes; "" is none, and it need not exist
	Classes     []class.Class // settings by volume name, first match wins; nil means class.BuiltIn

	Heartbeat  time.Duration // 0 means DefaultHeartbeat
	TakeAfter  time.Duration // 0 means DefaultTakeAfter
	FenceAfter time.Duration // 0 means DefaultFenceAfter
	CallBudget time.Duration // 0 means DefaultCallBudget
	ReapAfter  time.Duration // 0 means DefaultReapAfter

	Backend     Backend              // where the bytes are; nil means backend.Kinds: directories and images
	Guard       Guard                // fences this host; nil means guard.Alone: leases are marked as unguarded
	Coordinator Coordinator          // runs beside the driver; nil: this host is no coordinator
	Binary      string               // the file of the running program, which is placed in StateDir for executors; "" is none
	Reaches     func() (bool, error) // whether the engine sees what is mounted below MountRoot; nil means as the kernel's mount tables say
	Clock       func() time.Duration // counts while the machine sleeps; nil means the kernel's boot-time clock
	Log         hclog.Logger         // nil is silent

	ensemble *zookeeper.Ensemble // nil if leases are in the store
}

// complete checks the configuration and fills in the defaults.
func (c Config) complete() (Config, error) {
	for _, p := range []struct{ name, path string }{
		{"store directory", c.StoreDir}, {"state directory", c.StateDir}, {"mount root", c.MountRoot},
	} {
		if !filepath.IsAbs(p.path) {
			return c, fmt.Errorf("%s %q is not an absolute path such as /var/lib", p.name, p.path)
		}
	}
	if c.ClassesFile != "" && !filepath.IsAbs(c.ClassesFile) {
		return c, fmt.Errorf("classes file %q is not an absolute path such as /etc/mooring/classes.yaml", c.ClassesFile)
	}
	if c.BootID == "" {
		id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return c, fmt.Errorf("read boot ID: %w; set BOOT_ID", err)
		}
		c.BootID = strings.TrimSpace(string(id))
	}
	for _, n := range []struct{ setting, value string }{{"HOST", c.Host}, {"BOOT_ID", c.BootID}} {
		if n.value != "" && !namePattern.MatchString(n.value) {
			return c, fmt.Errorf("%s %q is not a name: %s", n.setting, n.value, nameForm)
		}
	}
	switch c.Shared {
	case "", SharedAuto, SharedYes, SharedNo:
	default:
		return c, fmt.Errorf("SHARED %q is not one of auto, true, false", c.Shared)
	}
	if err := checkProbes(c.Metrics); err != nil {
		return c, err
	}
	if c.Leases == "files" {
		c.Leases = ""
	}
	c = c.withDefaults()
	if c.Leases != "" {
		a, err := ensemble.Parse(c.Leases)
		if err != nil {
			return c, fmt.Errorf("LEASES is neither files nor an %w", err)
		}
		c.ensemble = zookeeper.New(a, c.Log)
	}
	return c, lease.CheckTimes(c.FenceAfter, c.TakeAfter)
}

func (c Config) withDefaults() Config {
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.TakeAfter, DefaultTakeAfter)
	setDefault(&c.FenceAfter, DefaultFenceAfter)
	setDefault(&c.CallBudget, DefaultCallBudget)
	setDefault(&c.ReapAfter, DefaultReapAfter)
	if c.Classes == nil {
		c.Classes = class.BuiltIn()
	}
	if c.Guard == nil {
		c.Guard = &guard.Alone{Leases: c.Leases}
	}
	if c.Clock == nil {
		c.Clock = BootTime
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return c
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// BootTime reads the kernel's boot-time clock, which goes on while the machine sleeps: a laptop that slept for an hour must
// not think that it was gone for a second.
func BootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // Linux has had it since 2.6.39
	}
	return time.Duration(now.Nano())
}
