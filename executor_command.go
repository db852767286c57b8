package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"

	"mooring/executor"
	"mooring/executor/docker"
	"mooring/executor/node"
	"mooring/executor/process"
	"mooring/plugin/admin"
)

// executorCommand is started by the Mesos agent with what the scheduler put on its command line.
type executorCommand struct {
	InContainer    bool   `help:"The executor runs in the node's container (Docker containerizer)."`
	DockerHost     string `help:"Docker engine, as in DOCKER_HOST." env:"DOCKER_HOST" placeholder:"URL"`
	DriverStateDir string `help:"State directory of Mooring's volume driver on this host." default:"/var/lib" placeholder:"DIR"`
}

// Run runs until the node has ended.
func (c *executorCommand) Run(ctx context.Context, logger hclog.Logger) (err error) {
	options := executor.Options{Log: logger.Named("executor")}
	if c.InContainer {
		binary, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program's own file: %w", err)
		}
		return executor.Run(ctx, &process.Runtime{Binary: binary}, options)
	}
	options.Driver = volumeDriver{admin.NewClient(c.DriverStateDir)}
	engine, err := docker.New(docker.Options{Host: c.DockerHost})
	if err != nil {
		return err
	}
	defer closing(engine, &err)
	return executor.Run(ctx, engine, options)
}

// volumeDriver is the driver of this host behind its admin socket.
type volumeDriver struct{ client *admin.Client }

// About implements [executor.Driver].
func (d volumeDriver) About(ctx context.Context) (string, map[string]int64, error) {
	survey, err := d.client.Volumes(ctx)
	sizes := map[string]int64{}
	for _, v := range survey.Volumes {
		sizes[v.Name] = v.Size
	}
	return survey.Host, sizes, err
}

// Gone implements [executor.Driver]. What time would never free stays as it is: Mesos knows of agents, not of containers that
// outlive them.
func (d volumeDriver) Gone(ctx context.Context, host, reason string, volumes []string) error {
	gone, err := d.client.Gone(ctx, host, admin.GoneOrder{Reason: reason, Volumes: volumes, Guarded: true})
	for _, left := range gone.Left {
		err = errors.Join(err, errors.New(left.Error))
	}
	return err
}

// nodeCommand is the first process in a node's container.
type nodeCommand struct {
	RunDir string `help:"Directory shared with the executor." default:"${runDir}" placeholder:"DIR"`
	Home   string `help:"Directory of Elasticsearch in the image." default:"${home}" env:"ES_HOME" placeholder:"DIR"`
}

// Run ends with the exit status of Elasticsearch.
func (c *nodeCommand) Run(ctx context.Context, logger hclog.Logger) error {
	status, err := node.Run(ctx, node.Options{RunDir: c.RunDir, Home: c.Home, Log: logger.Named("node")})
	if err != nil || status == 0 {
		return err
	}
	return exitStatus(status)
}
