// Command cell brings up, disturbs and takes down simulated hosts on this machine; see package mooring/test/cell.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"mooring/test/cell"
	"mooring/test/deploy"
)

type commands struct {
	Dir string `help:"Directory of the cell." default:"/var/tmp/mooring-cell" type:"path"`

	Up     up     `cmd:"" help:"Bring up a cell of several hosts and leave it running."`
	Down   down   `cmd:"" help:"Remove the cell and everything of it."`
	Status status `cmd:"" help:"Show the hosts and how they are."`
	Kill   kill   `cmd:"" help:"Cut a host's power: all that runs on it is gone, its disk stays."`
	Return back   `cmd:"" help:"Switch a killed host on again, with its disk."`
	Freeze freeze `cmd:"" help:"Stop everything on a host where it stands."`
	Thaw   thaw   `cmd:"" help:"Let a frozen host go on."`
	Cut    cut    `cmd:"" help:"Take a host off the network."`
	Join   join   `cmd:"" help:"Put a host on the network again."`
	Docker docker `cmd:"" help:"Run docker with the engine of a host."`

	Scheduler scheduler `cmd:"" help:"Start a scheduler with three Elasticsearch nodes in the cell and leave it running."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	line := kong.Parse(&c, kong.Name("cell"), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Description("Several hosts on one machine, each with its own network, Docker engine, plugin and Mesos agent."))
	line.FatalIfErrorf(line.Run(&c))
}

type up struct {
	Hosts  int      `help:"How many hosts." default:"4"`
	Plugin string   `help:"Directory of the managed plugin; empty for none." default:"build/plugin"`
	Image  []string `help:"Image files to load into every engine." default:"/var/cache/mooring/elasticsearch-8.19.5.tar"`
	Store  string   `help:"File system of the shared store: xfs, ext4; empty for a directory." enum:"xfs,ext4," default:""`
	Fast   bool     `help:"Mesos gives an agent up after 3 s instead of 75 s." default:"true" negatable:""`
}

func (u up) Run(ctx context.Context, c *commands) error {
	begin := time.Now()
	made, err := cell.Up(ctx, c.Dir, cell.Options{
		Hosts: u.Hosts, Plugin: u.Plugin, Images: u.Image, Fast: u.Fast, StoreFS: u.Store,
		Progress: func(line string) { fmt.Println("cell:", line) },
	})
	if err != nil {
		return fmt.Errorf("%w\n`cell down --dir %s` clears away what is there", err, c.Dir)
	}
	fmt.Printf("cell: up after %.1f s, described in %s/cell.json\n", time.Since(begin).Seconds(), c.Dir)
	advise(made)
	return nil
}

func advise(c *cell.Cell) {
	fmt.Printf(`
What to try next:
  alias cell='go run ./test/cmd/cell --dir %[1]s'
  cell status
  cell docker 1 volume create -d mooring elasticsearch9data       a volume on host 1 ...
  cell docker 2 run --rm -v elasticsearch9data:/data IMAGE ...    ... follows its name to host 2
  cell kill 1; cell return 1                                      power cut, and back
  cell freeze 2; cell thaw 2; cell cut 3; cell join 3
  nsenter --net=%[2]s curl -s http://%[3]s/slaves
                                                                  Mesos, asked from inside the cell
  cell scheduler                                                  three Elasticsearch nodes
  nsenter --net=%[2]s curl -s http://%[4]s/v1/nodes
                                                                  ... where they are, asked from the scheduler's HTTP API
  cell down
`, c.Dir, c.Switch, c.Master, c.Scheduler)
}

type scheduler struct {
	Binary string `help:"The mooring binary." default:"build/mooring" type:"path"`
	Image  string `help:"Image of Elasticsearch." default:"elasticsearch:8.19.5"`
	Nodes  int    `help:"How many nodes." default:"3"`
}

func (s scheduler) Run(ctx context.Context, c *commands) error {
	loaded, err := cell.Load(c.Dir)
	if err != nil {
		return err
	}
	d := deploy.New(loaded, deploy.Options{Binary: s.Binary, Image: s.Image, Nodes: s.Nodes})
	if err := d.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("cell: scheduler runs, its API is http://%s inside the cell, its log %s\n", loaded.Scheduler, d.Log())
	return nil
}

type down struct{}

func (down) Run(ctx context.Context, c *commands) error { return cell.Down(ctx, c.Dir) }

type status struct{}

func (status) Run(ctx context.Context, c *commands) error {
	loaded, err := cell.Load(c.Dir)
	if err != nil {
		return err
	}
	fmt.Printf("master %s, scheduler API %s, switch %s, store %s\n", loaded.Master, loaded.Scheduler, loaded.Switch, loaded.Store)
	for _, h := range loaded.Hosts {
		fmt.Printf("%-8s %-12s %-18s agent pid %-8d %s\n", h.Name, h.Address, h.Status(ctx), h.AgentPID, h.Engine)
	}
	return nil
}

// target is the argument of the verbs that disturb one host.
type target struct {
	N int `arg:"" help:"Number of the host."`
}

func (t target) host(c *commands) (*cell.Host, error) {
	loaded, err := cell.Load(c.Dir)
	if err != nil {
		return nil, err
	}
	return loaded.Host(t.N)
}

// do applies a verb to the host.
func (t target) do(ctx context.Context, c *commands, verb func(*cell.Host, context.Context) error) error {
	h, err := t.host(c)
	if err != nil {
		return err
	}
	if err := verb(h, ctx); err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", h.Name, h.Status(ctx))
	return nil
}

type (
	kill   struct{ target }
	back   struct{ target }
	freeze struct{ target }
	thaw   struct{ target }
	cut    struct{ target }
	join   struct{ target }
)

func (k kill) Run(ctx context.Context, c *commands) error   { return k.do(ctx, c, (*cell.Host).Kill) }
func (b back) Run(ctx context.Context, c *commands) error   { return b.do(ctx, c, (*cell.Host).Return) }
func (f freeze) Run(ctx context.Context, c *commands) error { return f.do(ctx, c, (*cell.Host).Freeze) }
func (t thaw) Run(ctx context.Context, c *commands) error   { return t.do(ctx, c, (*cell.Host).Thaw) }
func (x cut) Run(ctx context.Context, c *commands) error    { return x.do(ctx, c, (*cell.Host).Cut) }
func (j join) Run(ctx context.Context, c *commands) error   { return j.do(ctx, c, (*cell.Host).Join) }

type docker struct {
	N    int      `arg:"" help:"Number of the host."`
	Args []string `arg:"" passthrough:"" help:"Arguments of docker."`
}

// Run becomes docker, so that terminals, signals and the exit status are its own.
func (d docker) Run(c *commands) error {
	h, err := target{N: d.N}.host(c)
	if err != nil {
		return err
	}
	path, err := exec.LookPath("docker")
	if err != nil {
		return fmt.Errorf("find docker: %w", err)
	}
	return syscall.Exec(path, append([]string{"docker", "--host", h.Engine}, d.Args...), os.Environ())
}
