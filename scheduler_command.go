package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/internal/ensemble"
	"mooring/plugin/silence"
	"mooring/scheduler"
	"mooring/scheduler/api"
	"mooring/scheduler/groups"
	"mooring/scheduler/replica"
	"mooring/scheduler/store"
)

// schedulerCommand has the settings of the framework. The aliases are the names of the same options in the Java framework
// mesos/elasticsearch.
type schedulerCommand struct {
	Options optionsFile `help:"YAML file with options by their names; what is given otherwise counts before it. - is standard input." env:"-" placeholder:"FILE"`

	Master        []string `help:"Mesos masters, host:port or https://host:port each, any of them leads to the leader; or where they announce themselves, zk://user:password@host:2181,host:2181/path." required:"" sep:"none" aliases:"zookeeperMesosUrl" placeholder:"HOST:PORT,…"`
	Framework     string   `help:"Name of the framework; all names of tasks and volumes begin with it." default:"elasticsearch" aliases:"frameworkName"`
	Zookeeper     string   `help:"Keep what the scheduler must remember in ZooKeeper, not in --state-dir, and let several schedulers run of which one leads: zk://user:password@host:2181,host:2181/path." name:"zookeeper" aliases:"zookeeperFrameworkUrl" placeholder:"zk://…"`
	StateDir      string   `help:"Directory for what the scheduler must remember." default:"/var/lib/mooring-scheduler" placeholder:"DIR"`
	Listen        string   `help:"Address of the HTTP API; a port alone is that port on all addresses." default:":31100" aliases:"webUiPort" placeholder:"HOST:PORT"`
	Advertise     string   `help:"Address under which agents and other schedulers reach the API; auto: this host's on the way to ZooKeeper. Default: that of --listen, or this host's name." placeholder:"HOST:PORT"`
	Role          []string `help:"Mesos role whose resources are used; may be given again." default:"*" aliases:"frameworkRole"`
	User          string   `help:"User that executors run as." default:"root"`
	Failover      failover `help:"How long Mesos keeps the tasks while no scheduler is there; a number alone is in seconds." default:"672h" aliases:"frameworkFailoverTimeout"`
	NewFramework  bool     `help:"Register anew, although the framework was removed; the nodes keep their IDs and volumes."`
	Containerizer string   `help:"Mesos containerizer for executors: mesos or docker." enum:"mesos,docker" default:"mesos"`
	ExecutorPath  string   `help:"Path of the mooring binary on every agent. Default: agents fetch it from the API." placeholder:"FILE"`
	DockerHost    string   `help:"Docker engine on agents, as in DOCKER_HOST." placeholder:"URL"`
	DriverState   string   `help:"State directory of Mooring's volume driver on agents, its state.source. Default: what agents' environment says, or /var/lib." name:"driver-state-dir" placeholder:"DIR"`

	Heartbeats string `help:"Where hosts' heartbeats are: the directory that the volume driver has as store.source, or the address that it has as LEASES. A host whose heartbeat stands still is dead before Mesos says so." placeholder:"DIR|zk://…"`

	masterAccess `embed:""`
	apiAccess    `embed:""`

	leases api.Leases // found where heartbeats are; nil without these

	Nodes      int               `help:"Elasticsearch nodes at the very first start; later the API sets it." default:"3" aliases:"elasticsearchNodes"`
	CPUs       float64           `help:"CPUs of a node." name:"cpus" default:"1" aliases:"elasticsearchCpu"`
	Memory     int64             `help:"Memory of a node's container, MB." default:"2048" aliases:"elasticsearchRam" placeholder:"MB"`
	MaxPerHost int               `help:"Nodes on one host at most." default:"1"`
	Require    map[string]string `help:"Attributes that an agent must have." placeholder:"NAME=VALUE"`
	SpreadBy   string            `help:"Attribute over whose values nodes are spread." placeholder:"NAME"`
	Constraint []string          `help:"What else is asked of hosts, such as \"rack is r1,r2\", \"at most 2 per rack\" or \"same @zone\"; may be given again. See docs/placement.md." sep:"none" placeholder:"TEXT"`

	Groups string              `help:"File with groups of nodes that need something else than what is said here, see docs/placement.md. With it --nodes may be 0." placeholder:"FILE"`
	groups []coordinator.Group // out of that file

	Image         string            `help:"Docker image of Elasticsearch." required:"" aliases:"elasticsearchDockerImage"`
	Cluster       string            `help:"Name of the Elasticsearch cluster. Default: the framework's." aliases:"elasticsearchClusterName"`
	Heap          int64             `help:"Heap of a node, MB. Default: half of the memory." placeholder:"MB"`
	JavaOption    []string          `help:"Argument for the JVM; may be given again." sep:"none" placeholder:"ARG"`
	Setting       map[string]string `help:"Setting for elasticsearch.yml; may be given again." mapsep:"none" placeholder:"NAME=VALUE"`
	ConfigPath    string            `help:"Where the config volume is mounted in the container." default:"/tmp/config" placeholder:"DIR"`
	DataPath      string            `help:"Where the data volume is mounted in the container." default:"/data" placeholder:"DIR"`
	VolumeDriver  string            `help:"Docker volume driver of the nodes' volumes." name:"external-volume-driver" default:"mooring" aliases:"externalVolumeDriver"`
	VolumeOption  map[string]string `help:"Option for volumes that the driver has yet to make; may be given again." name:"external-volume-option" placeholder:"NAME=VALUE"`
	VolumeOptions string            `help:"The same for several, with commas between them." name:"external-volume-options" aliases:"externalVolumeOptions" placeholder:"NAME=VALUE,…"`
	Fencing       string            `help:"Whether the driver itself refuses a second writer: auto (mooring does), true or false." enum:"auto,true,false" default:"auto"`
	StopAfter     time.Duration     `help:"How long Elasticsearch may take to stop." default:"3m"`
}

// advertiseAuto stands for this host's address on the way to ZooKeeper.
const advertiseAuto = "auto"

// Validate reports everything that is wrong with the settings at once; kong calls it.
func (c *schedulerCommand) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, coordinator.CheckFramework(c.Framework), scheduler.CheckMasters(c.Master, c.MasterTLS), c.checkAccess(), c.limits().Check(), elasticsearch.CheckHeap(c.heap(), c.Memory),
		elasticsearch.CheckJavaOptions(c.JavaOption), elasticsearch.CheckSettings(c.Setting), c.checkVolumes())
	_, err := coordinator.ParseConstraints(c.Constraint)
	errs = append(errs, err)
	errs = append(errs, c.readGroups())
	check(c.Image != "", "no image given: use that of Elasticsearch, such as --image=elasticsearch:8.19.5")
	check(c.Nodes >= 1 || c.Nodes == 0 && c.Groups != "", "nodes %d: use at least 1", c.Nodes)
	check(c.CPUs >= groups.LeastCPUs, "cpus %g: use at least %g", c.CPUs, groups.LeastCPUs)
	check(c.MaxPerHost >= 1, "max-per-host %d: use at least 1", c.MaxPerHost)
	check(c.StopAfter >= time.Second, "stop-after %s: use at least 1s", c.StopAfter)
	check(filepath.IsAbs(c.ConfigPath), "config-path %q: use an absolute path", c.ConfigPath)
	check(filepath.IsAbs(c.DataPath), "data-path %q: use an absolute path", c.DataPath)
	if c.Zookeeper != "" {
		_, err := ensemble.Parse(c.Zookeeper)
		check(err == nil, "zookeeper: %w", err)
	}
	check(c.Advertise != advertiseAuto || c.Zookeeper != "", "advertise auto: it needs --zookeeper; use host:port")
	if c.Heartbeats != "" {
		check(c.fencing(), "heartbeats: volumes of driver %s need not refuse a second writer, so a silent host says nothing: leave them out, or give --fencing=true", c.VolumeDriver)
		_, err := heartbeatsIn(c.Heartbeats, c.takeover(), nil)
		check(err == nil, "heartbeats: %w", err)
	}
	c.Listen = listenAddress(c.Listen)
	_, _, err = net.SplitHostPort(c.Listen)
	check(err == nil, "listen %q: use host:port or :port", c.Listen)
	return errors.Join(errs...)
}

func (c *schedulerCommand) heap() int64 {
	if c.Heap == 0 {
		return c.Memory / 2
	}
	return c.Heap
}

// running is a scheduler, alone or one of several.
type running interface {
	api.Scheduler
	Run(ctx context.Context) error
}

// Run schedules until ctx ends. The nodes go on without it.
func (c *schedulerCommand) Run(ctx context.Context, logger hclog.Logger) (err error) {
	if c.Advertise, err = c.advertised(); err != nil {
		return err
	}
	options, err := c.options(logger.Named("scheduler"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	defer listener.Close()
	open := c.alone
	if c.Zookeeper != "" {
		open = c.oneOfSeveral
	}
	s, kept, err := open(options)
	if err != nil {
		return err
	}
	defer closing(kept, &err)
	handler, err := api.Handler(s, api.Options{Access: c.access(), Leases: c.leases, Log: logger.Named("api")})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return api.Serve(ctx, listener, handler) })
	group.Go(func() error { return s.Run(ctx) })
	if err := group.Wait(); !errors.Is(err, scheduler.ErrUninstalled) {
		return err
	}
	logger.Info("end", "why", scheduler.ErrUninstalled.Error())
	return nil
}

// alone keeps its state in a file.
func (c *schedulerCommand) alone(options scheduler.Options) (running, io.Closer, error) {
	kept, err := store.Open(filepath.Join(c.StateDir, "state.db"), coordinator.NewState(c.Framework, c.Nodes))
	if err != nil {
		return nil, nil, err
	}
	s, err := scheduler.New(c.Master, c.rules(), kept, options)
	if err != nil {
		return nil, nil, errors.Join(err, kept.Close())
	}
	return s, kept, nil
}

// oneOfSeveral keeps its state in ZooKeeper, where the others find it.
func (c *schedulerCommand) oneOfSeveral(options scheduler.Options) (running, io.Closer, error) {
	address, err := ensemble.Parse(c.Zookeeper)
	if err != nil {
		return nil, nil, err
	}
	s, err := replica.Open(address, replica.Settings{
		Masters: c.Master, Rules: c.rules(), Initial: coordinator.NewState(c.Framework, c.Nodes), Address: c.Advertise, Options: options,
	})
	return s, s, err
}

// limits are the options that can be checked before anything is looked up.
func (c *schedulerCommand) limits() scheduler.Options {
	return scheduler.Options{
		Roles: c.Role, User: c.User, FailoverTimeout: time.Duration(c.Failover), NewFramework: c.NewFramework,
		Containerizer: scheduler.Containerizer(c.Containerizer), ExecutorPath: c.ExecutorPath, DockerHost: c.DockerHost, DriverState: c.DriverState,
	}
}

func (c *schedulerCommand) options(logger hclog.Logger) (scheduler.Options, error) {
	o := c.limits()
	o.ArtifactURL, o.Log = "http://"+c.Advertise+api.ArtifactPath, logger
	if c.Heartbeats != "" {
		source, err := heartbeatsIn(c.Heartbeats, c.takeover(), logger.Named("heartbeats"))
		if err != nil {
			return o, err
		}
		o.Heartbeats, c.leases = watching(source), silence.NewLeased(source())
	}
	c.give(&o)
	return o, errors.Join(o.CheckSecrets(), c.access().Check())
}

// advertised is where agents reach the API.
func (c *schedulerCommand) advertised() (string, error) {
	if c.Advertise != "" && c.Advertise != advertiseAuto {
		return c.Advertise, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return c.Listen, nil
	}
	if c.Advertise == advertiseAuto {
		address, err := ensemble.Parse(c.Zookeeper)
		if err != nil {
			return "", err
		}
		if host, err = address.Here(); err != nil {
			return "", fmt.Errorf("%w; set --advertise instead", err)
		}
		return net.JoinHostPort(host, port), nil
	}
	host, err = os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this host's name, set --advertise instead: %w", err)
	}
	return net.JoinHostPort(host, port), nil
}

func (c *schedulerCommand) rules() coordinator.Rules {
	cluster := c.Cluster
	if cluster == "" {
		cluster = c.Framework
	}
	constraints, _ := coordinator.ParseConstraints(c.Constraint) // Validate has reported what is wrong
	return coordinator.Rules{
		Constraints: constraints, Groups: c.groups, Roles: c.Role, NeverMaster: !elasticsearch.CanBeElected(nil, c.Setting),
		CPUs: int64(math.Round(c.CPUs * 1000)), MemoryMB: c.Memory, MaxPerHost: c.MaxPerHost, Require: c.Require, SpreadBy: c.SpreadBy,
		Fencing: c.fencing(),
		Settings: coordinator.Settings{
			Cluster: cluster, Image: c.Image, Driver: c.VolumeDriver, DriverOptions: c.volumeOptions(),
			ConfigPath: c.ConfigPath, DataPath: c.DataPath, HeapMB: c.heap(), JavaOptions: c.JavaOption,
			Elasticsearch: c.Setting, StopSeconds: int(c.StopAfter.Seconds()),
		},
	}
}

// fencing tells whether volumes themselves refuse a second writer.
func (c *schedulerCommand) fencing() bool {
	return c.Fencing == "true" || c.Fencing == "auto" && c.driverName() == driverThatFences
}
