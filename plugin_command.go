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
	Shared    string `help:"Whether other hosts see the store: auto (by its file system), true or false." enum:"auto,true,false" default:"auto" env:"SHARED"`
}

// Run serves until ctx ends.
func (c *pluginCommand) Run(ctx context.Context, logger hclog.Logger) error {
	if apart, err := mounts.Apart("/proc", c.MountRoot); err != nil || apart {
		return errors.Join(err, fmt.Errorf("what is mounted below %s stays out of the host's sight, and containers would write to its own disk: "+
			"start this in the host's mount namespace, see docs/plain-plugin.md", c.MountRoot))
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	return plugin.Run(ctx, plugin.Config{
		StoreDir: c.StoreDir, StateDir: c.StateDir, MountRoot: c.MountRoot, Socket: c.Socket,
		ClassesFile: c.classesFile(), Host: c.Host, BootID: c.BootID, Shared: plugin.Sharing(c.Shared), Leases: c.Leases, Log: logger.Named("plugin"),
		Guard: &guard.Client{Command: []string{binary, "guard"}, Leases: c.Leases, Log: logger.Named("plugin")},
	})
}

// classesFile is "" if no file is wanted.
func (c *pluginCommand) classesFile() string {
	if c.Classes == "" || filepath.IsAbs(c.Classes) {
		return c.Classes
	}
	return filepath.Join(c.ConfigDir, c.Classes)
}
