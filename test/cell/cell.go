package cell

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maxHosts = 250 // 127.0.1.254 is the switch's

	switchAddress = "127.0.1.254"

	// Deadlines. A loaded machine takes several times what an idle one takes; these only end what hangs.
	bootTimeout    = 60 * time.Second  // namespaces, engine, agent
	loadTimeout    = 180 * time.Second // one image into one engine
	pluginTimeout  = 120 * time.Second // create, set and enable
	controlTimeout = 30 * time.Second  // kill, freeze, cut and their like
	pollEvery      = 50 * time.Millisecond
)

// Cell is a running set of simulated hosts. Its JSON form is the file cell.json in its directory.
type Cell struct {
	Dir       string  `json:"directory"`
	Store     string  `json:"store"`     // directory that all hosts share
	Switch    string  `json:"switch"`    // network namespace of master, scheduler and clients
	Master    string  `json:"master"`    // address of the Mesos master
	Scheduler string  `json:"scheduler"` // where the scheduler's HTTP API is expected; whoever starts the scheduler sets it so
	Hosts     []*Host `json:"hosts"`

	Fast     bool     `json:"fast"`
	Mesos    string   `json:"mesos"`              // directory of the Mesos programs
	Plugin   string   `json:"plugin,omitempty"`   // directory of the managed plugin
	Images   []string `json:"images,omitempty"`   // files for `docker load`
	Leases   string   `json:"leases,omitempty"`   // where the plugin keeps leases, if not in the store
	Announce string   `json:"announce,omitempty"` // where the Mesos master announces itself, if anywhere; see AnnounceMaster
	Settings []string `json:"settings,omitempty"` // further ones of the plugin
	Faults   string   `json:"faults,omitempty"`   // program that puts a file system with faults between store and hosts
	Bare     bool     `json:"bare,omitempty"`     // without Mesos
	OwnPaths bool     `json:"own_paths,omitempty"`

	saving sync.Mutex
}

// Options of Up. The zero value gives one host without plugin and images.
type Options struct {
	Hosts    int               // 0 means 1
	Plugin   string            // directory of the managed plugin (config.json, rootfs), installed as mooring:latest; "" means none
	Leases   string            // the plugin's setting LEASES; "" is the store
	Settings []string          // further settings of the plugin, NAME=VALUE each
	Faults   string            // what test/cmd/faultfs builds to: hosts reach the store through a file system that can fail; "" means directly
	Faulty   int               // how many hosts do so, from the first; 0 means all
	StoreFS  string            // file system of the store's own: xfs, where files can be cloned, or ext4; "" means a directory on the machine's disk
	Images   []string          // files for `docker load`, brought into every engine
	Fast     bool              // an agent is unreachable after 3 s without answer instead of 75 s
	Bare     bool              // engines and plugins only, no Mesos
	OwnPaths bool              // each host has a /var/lib of its own, which is the directory of its state, and the store at SharedStore
	Mesos    string            // directory of the Mesos programs; "" means /var/cache/mooring/mesos
	Progress func(line string) // called at each step, one call at a time; nil is silent
}

// Up makes a cell in dir, which must be empty or absent, and returns when every agent is registered. After an error the
// directory, with its logs, is left for inspection; Down clears it away.
func Up(ctx context.Context, dir string, o Options) (*Cell, error) {
	c, err := plan(dir, o)
	if err != nil {
		return nil, err
	}
	if err := c.claimDirectory(); err != nil {
		return nil, err
	}
	if err := c.makeStore(ctx, o.StoreFS); err != nil {
		return nil, err
	}
	say := progress(o.Progress)
	say("making %d hosts in %s", len(c.Hosts), c.Dir)
	if err := c.makeSwitch(ctx); err != nil {
		return nil, err
	}
	if !c.Bare {
		if err := c.StartMaster(ctx); err != nil {
			return nil, err
		}
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, h := range c.Hosts {
		all.Go(func() error {
			if err := h.furnish(ctx, say); err != nil {
				return fmt.Errorf("bring up %s: %w", h.Name, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return c, nil
}

// furnish boots a new host and gives it its images, its plugin and its agent.
func (h *Host) furnish(ctx context.Context, say func(string, ...any)) error {
	if err := h.boot(ctx); err != nil {
		return err
	}
	say("%s: Docker engine runs at %s", h.Name, h.Engine)
	for _, image := range h.cell.Images {
		if err := h.LoadImage(ctx, image); err != nil {
			return err
		}
		say("%s: loaded %s", h.Name, filepath.Base(image))
	}
	if h.cell.Plugin != "" {
		if err := h.InstallPlugin(ctx, h.cell.Plugin); err != nil {
			return err
		}
		say("%s: plugin %s is enabled", h.Name, PluginName)
	}
	if h.cell.Bare {
		return nil
	}
	if err := h.StartAgent(ctx); err != nil {
		return err
	}
	say("%s: Mesos agent %s is registered", h.Name, h.Agent)
	return nil
}

// Renew gives a killed host an empty disk and switches it on, with its name and address, images and plugin, and with nothing of what its
// engine, its plugin and its agent knew. Its logs stay.
func (h *Host) Renew(ctx context.Context) error {
	if h.Alive() {
		return fmt.Errorf("%s is alive; only a killed host can get another disk", h.Name)
	}
	for _, part := range []string{"docker", "mesos", "state"} {
		if err := os.RemoveAll(filepath.Join(h.Dir, part)); err != nil {
			return fmt.Errorf("empty the disk of %s: %w", h.Name, err)
		}
	}
	if err := os.Mkdir(filepath.Join(h.Dir, "state"), 0o755); err != nil {
		return fmt.Errorf("make the state directory of %s: %w", h.Name, err)
	}
	return h.furnish(ctx, progress(nil))
}

// plan checks the options and lays out names and addresses; it touches nothing.
func plan(dir string, o Options) (*Cell, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a cell needs root: it makes namespaces and control groups")
	}
	n := o.Hosts
	if n == 0 {
		n = 1
	}
	if n < 1 || n > maxHosts {
		return nil, fmt.Errorf("%d hosts: a cell has 1 to %d", n, maxHosts)
	}
	if err := checkStore(o.StoreFS); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find directory of the cell: %w", err)
	}
	c := &Cell{
		Dir: dir, Store: filepath.Join(dir, "store"), Switch: namespacePath(dir, "switch"),
		Master: switchAddress + ":5050", Scheduler: switchAddress + ":31100",
		Fast: o.Fast, Bare: o.Bare, Mesos: o.Mesos, Plugin: o.Plugin, Leases: o.Leases, Settings: o.Settings, OwnPaths: o.OwnPaths,
	}
	if c.Mesos == "" {
		c.Mesos = "/var/cache/mooring/mesos"
	}
	for _, file := range o.Images {
		image, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("find image %s: %w", file, err)
		}
		c.Images = append(c.Images, image)
	}
	needed := slices.Clone(c.Images)
	if !c.Bare {
		needed = append(needed, filepath.Join(c.Mesos, "mesos-agent"))
	}
	if o.Faults != "" {
		if c.Faults, err = filepath.Abs(o.Faults); err != nil {
			return nil, fmt.Errorf("find program of the faulty file system: %w", err)
		}
		needed = append(needed, c.Faults)
	}
	if c.Plugin != "" {
		if c.Plugin, err = filepath.Abs(c.Plugin); err != nil {
			return nil, fmt.Errorf("find directory of the plugin: %w", err)
		}
		needed = append(needed, filepath.Join(c.Plugin, "config.json"), filepath.Join(c.Plugin, "rootfs"))
	}
	for _, file := range needed {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("%s is missing; test/prepare makes Mesos and images, `make build/plugin` the plugin", file)
		}
	}
	for i := range n {
		h := c.planHost(i + 1)
		h.Faulty = c.Faults != "" && (o.Faulty == 0 || i < o.Faulty)
		c.Hosts = append(c.Hosts, h)
	}
	return c, nil
}

// claimDirectory makes the directory and writes cell.json, before anything else of the cell exists.
func (c *Cell) claimDirectory() error {
	found, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the directory of the cell: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s is not empty; bring the cell in it down first, or choose another directory", c.Dir)
	}
	dirs := []string{c.Store, filepath.Join(c.Dir, "master")}
	for _, h := range c.Hosts {
		dirs = append(dirs, filepath.Join(h.Dir, "state"), h.faultyStore())
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("make directory of the cell: %w", err)
	}
	if err := c.change(func() {}); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directories of the cell: %w", err)
		}
	}
	return nil
}

// Load reads the cell that Up made in dir.
func Load(dir string) (*Cell, error) {
	file := filepath.Join(dir, "cell.json")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no cell in %s: %s is missing", dir, file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cell: %w", err)
	}
	c := &Cell{}
	if err := json.Unmarshal(content, c); err != nil {
		return nil, fmt.Errorf("read the cell from %s: %w", file, err)
	}
	for _, h := range c.Hosts {
		h.cell = c
	}
	return c, nil
}

// Host returns host n, counted from 1.
func (c *Cell) Host(n int) (*Host, error) {
	if n < 1 || n > len(c.Hosts) {
		return nil, fmt.Errorf("there is no host %d: this cell has hosts 1 to %d", n, len(c.Hosts))
	}
	return c.Hosts[n-1], nil
}

// At returns the host with an address.
func (c *Cell) At(address string) (*Host, error) {
	i := slices.IndexFunc(c.Hosts, func(h *Host) bool { return h.Address == address })
	if i < 0 {
		return nil, fmt.Errorf("no host of the cell has the address %s", address)
	}
	return c.Hosts[i], nil
}

// change applies a change to the cell's fields and saves them.
func (c *Cell) change(apply func()) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	apply()
	return c.saveLocked()
}

// saveLocked writes by rename, so that a reader finds the whole of the file.
func (c *Cell) saveLocked() error {
	content, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the cell: %w", err)
	}
	file := filepath.Join(c.Dir, "cell.json")
	if err := os.WriteFile(file+".new", append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the cell: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write the cell: %w", err)
	}
	return nil
}

// prefix is what the names of a cell's namespaces and control groups begin with; another cell's begin otherwise.
func prefix(dir string) string {
	return fmt.Sprintf("mooring-%x", sha256.Sum256([]byte(dir)))[:len("mooring-")+8]
}

// progress turns an optional callback into a formatting one that may be called from several goroutines.
func progress(say func(string)) func(string, ...any) {
	var one sync.Mutex
	return func(format string, a ...any) {
		one.Lock()
		defer one.Unlock()
		if say != nil {
			say(fmt.Sprintf(format, a...))
		}
	}
}
