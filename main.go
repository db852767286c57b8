// Command mooring keeps every Elasticsearch node tied to its own config and data volumes, wherever Mesos places it, and lets
// no second host write to them. It is one binary with several roles: the volume driver, the scheduler, the executor that the
// scheduler sends to agents, and the first process in the container of a node.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/hashicorp/go-hclog"
	"github.com/mattn/go-isatty"

	"mooring/executor/node"
	"mooring/scheduler/client"
)

// version is set when the binary is built; see the Makefile.
var version = "unknown"

// commandLine lists the roles. Every flag can be given by an environment variable, too; the help names it.
type commandLine struct {
	LogLevel string           `help:"Least level that is logged: trace, debug, info, warn or error." enum:"trace,debug,info,warn,error" default:"info" env:"LOG_LEVEL"`
	Version  kong.VersionFlag `help:"Print the version and exit." env:"-"`

	Plugin    pluginCommand    `cmd:"" help:"Serve Docker's volume plugin protocol."`
	Scheduler schedulerCommand `cmd:"" help:"Run the Mesos framework that places Elasticsearch nodes."`
	Executor  executorCommand  `cmd:"" help:"Run one node on an agent. Started by the Mesos agent."`
	Node      nodeCommand      `cmd:"" help:"Prepare and watch Elasticsearch in its container. Started by the executor."`
	Guard     guardCommand     `cmd:"" hidden:"" help:"Keep this host from writing what it may no longer write. Started by the plugin."`
	Volumes   volumesCommand   `cmd:"" help:"Give orders to the volume driver on this host."`

	Status  statusCommand  `cmd:"" group:"operators" help:"Show all nodes and volumes of a framework, what is wrong and what to do."`
	Nodes   nodesCommand   `cmd:"" group:"operators" help:"List the nodes, or show everything about one."`
	Scale   scaleCommand   `cmd:"" group:"operators" help:"Set how many nodes are wanted."`
	Restart restartCommand `cmd:"" group:"operators" help:"Stop a node once; it is launched again."`
	Retire  retireCommand  `cmd:"" group:"operators" help:"Stop a node for good and want one less. Its volumes are kept."`
	Keep    keepCommand    `cmd:"" group:"operators" help:"Take back the order to restart or to retire a node."`
	Forgive forgiveCommand `cmd:"" group:"operators" help:"Free a node that waits for your word: that it does not run, or may begin anew."`

	Uninstall uninstallCommand `cmd:"" group:"operators" help:"Stop all nodes and have Mesos forget the framework. The volumes are kept."`
}

// exitUnreachable is the exit status when no scheduler answers; 1 is that of all other errors.
const exitUnreachable = 2

func main() {
	os.Exit(run())
}

// run returns the exit status.
func run() int {
	var line commandLine
	parsed := kong.Parse(&line, options()...)
	logger := newLogger(line.LogLevel)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.BindTo(logger, (*hclog.Logger)(nil))
	parsed.Bind(&line)
	err := parsed.Run()
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mooring:", err)
		if _, unreachable := errors.AsType[client.Unreachable](err); unreachable {
			return exitUnreachable
		}
		return 1
	}
	return 0
}

// options say how the command line is read.
func options() []kong.Option { return append(commonOptions(), kong.DefaultEnvars("MOORING")) }

// commonOptions are those that do not lead to the environment.
func commonOptions() []kong.Option {
	return []kong.Option{
		kong.Name("mooring"),
		kong.Description("Keeps every Elasticsearch node tied to its own volumes, wherever Mesos places it."),
		kong.Vars{"version": version, "runDir": node.DefaultRunDir, "home": node.DefaultHome},
		kong.ExplicitGroups([]kong.Group{{Key: "operators", Title: "Orders to a running scheduler:"}}),
		kong.ShortUsageOnError(),
	}
}

// exitStatus is the status of a program that this one stood in for.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// newLogger writes to standard output, which the Docker engine takes for information; standard error it takes for errors.
// Libraries that write to the standard logger are led there, too.
func newLogger(level string) hclog.Logger {
	logger := hclog.New(&hclog.LoggerOptions{
		Name: "mooring", Level: hclog.LevelFromString(level), Output: os.Stdout, JSONFormat: !isatty.IsTerminal(os.Stdout.Fd()),
	})
	log.SetFlags(0)
	log.SetOutput(logger.Named("library").StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	return logger
}

// closing closes c and adds what went wrong with that to err.
func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }
