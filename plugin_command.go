package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"mooring/plugin"
	"mooring/plugin/guard"
	"mooring/plugin/mounts"
)

// runningProgram is this program's file, also when another one has taken its name.
const runningProgram = "/proc/self/exe"

// pluginCommand has the settings of the managed plugin. There the paths are fixed by its manifest, config.json, and the
// environment variables are what `docker plugin set` sets.
type pluginCommand struct {
	StoreDir  string `help:"Directory that holds the volumes; shared by all hosts, or this host's own." default:"/store" placeholder:"DIR"`
	StateDir  string `help:"This host's own directory for what the driver must remember." default:"/state" placeholder:"DIR"`
	MountRoot string `help:"Where volumes are mounted." default:"/mnt/volumes" placeholder:"DIR"`
	Socket    string `help:"Where the Docker engine calls." default:"/run/docker/plugins/mooring.sock" placeholder:"FILE"`
	Host      string `help:"Name of this host among those that share the store. Default: one that is made up once and kept." env:"HOST" placeholder:"NAME"`
	BootID    string `help:"Identifier of this boot of the host. Default: the kernel's." env:"BOOT_ID" placeholder:"ID"`
	ConfigDir string `help:"Directory that the classes file is looked for in." default:"/config" placeholder:"DIR"`
	Classes   string `help:"File with settings by volume name; it is read again when it changes, and need not exist." default:"mooring/classes.yaml" env:"CLASSES" placeholder:"FILE"`
	Leases    string `help:"Where leases and heartbeats are kept: files (in the store) or zk://user:password@host:2181,host:2181/path." default:"files" env:"LEASES" placeholder:"PLACE"`
	Metrics   string `help:"Address on which anybody who reaches it may ask for /metrics, /healthz and /readyz, HOST:PORT or :PORT. Default: none." env:"METRICS" placeholder:"HOST:PORT"`
	Master    string `help:"Be a coordinator, too: place where Mesos masters announce themselves, zk://user:password@host:2181,host:2181/path. Of the hosts whose plugins have it one leads. Default: no." name:"mesos-master" env:"MESOS_MASTER" placeholder:"zk://…"`
	Scheduler string `help:"File with the options of the coordinator, those of mooring scheduler, below --config-dir; it is read again when it changes." name:"scheduler-file" default:"mooring/scheduler.yaml" placeholder:"FILE"`
	Shared    string `help:"Whether other hosts see the store: auto (by its file system), true or false." enum:"auto,true,false" default:"auto" env:"SHARED"`
}

// Run serves until ctx ends.
func (c *pluginCommand) Run(ctx context.Context, line *commandLine, logger hclog.Logger) error {
	if apart, err := mounts.Apart("/proc", c.MountRoot); err != nil || apart {
		return errors.Join(err, fmt.Errorf("what is mounted below %s stays out of the host's sight, and containers would write to its own disk: "+
			"start this in the host's mount namespace, see docs/plain-plugin.md", c.MountRoot))
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	config := plugin.Config{
		StoreDir: c.StoreDir, StateDir: c.StateDir, MountRoot: c.MountRoot, Socket: c.Socket,
		ClassesFile: below(c.ConfigDir, c.Classes), Host: c.Host, BootID: c.BootID, Shared: plugin.Sharing(c.Shared), Leases: c.Leases, Metrics: c.Metrics, Log: logger.Named("plugin"),
		Guard:  &guard.Client{Command: []string{binary, "guard"}, Leases: c.Leases, Log: logger.Named("plugin")},
		Binary: runningProgram,
	}
	if c.Master != "" {
		config.Coordinator = coordination{
			Master: c.Master, File: below(c.ConfigDir, c.Scheduler), Beats: c.beats(), LogLevel: line.LogLevel, Log: logger.Named("coordinator"),
		}.program(binary)
	}
	return plugin.Run(ctx, config)
}

// below is a file below a directory, unless its name is absolute or empty.
func below(dir, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// beats is where the heartbeats of the hosts are that share this one's store.
func (c *pluginCommand) beats() string {
	if c.Leases == "" || c.Leases == "files" {
		return c.StoreDir
	}
	return c.Leases
}
