package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Containerizer says which of Mesos' containerizers runs the executors.
type Containerizer string

// The containerizers.
const (
	MesosContainerizer  Containerizer = "mesos"  // the executor is a process that starts the container of the node
	DockerContainerizer Containerizer = "docker" // the executor runs in the container of the node
)

// DefaultFailoverTimeout is how long Mesos keeps the tasks of a scheduler that is away. With 0, Mesos' own default, it kills
// all of them at the first lost connection.
const DefaultFailoverTimeout = 4 * 7 * 24 * time.Hour

// Options are the settings of a Scheduler. The zero value works, except that executors need to come from somewhere.
type Options struct {
	Roles           []string      // whose resources are used; none means "*"
	User            string        // that runs the executors; "" means root
	FailoverTimeout time.Duration // 0 means DefaultFailoverTimeout
	NewFramework    bool          // register as a new framework, although the store knows an ID

	Principal  string // who the framework is for Mesos; "" means as SecretFile says
	SecretFile string // with it calls carry HTTP Basic authentication; all files of these settings are read at each subscription

	MasterTLS  bool   // ask masters by HTTPS that are given without http:// or https://, or found in ZooKeeper
	MasterCA   string // file with the certificates that masters are checked against; "" means the system's
	MasterCert string // file with the certificate that is shown to masters, with MasterKey; "" means none
	MasterKey  string

	Containerizer Containerizer // "" means MesosContainerizer
	ArtifactURL   string        // where agents fetch the mooring binary; not used with ExecutorPath
	ExecutorPath  string        // of the mooring binary on every agent
	DockerHost    string        // engine that executors use, as in DOCKER_HOST; "" means theirs
	DriverState   string        // state directory of Mooring's volume driver on every agent; "" means as the agents' environment says

	Heartbeats func() Heartbeats // begins to watch hosts' heartbeats, anew for each Run; nil: a host is dead when Mesos says so

	Log hclog.Logger // nil is silent

	// Only for tests in virtual time.
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // to masters; nil: as usual
	chance func(most time.Duration) time.Duration                               // anything below most; nil: as usual
}

// complete fills in the defaults and reports all that is wrong.
func (o Options) complete() (Options, error) {
	if len(o.Roles) == 0 {
		o.Roles = []string{"*"}
	}
	if o.User == "" {
		o.User = "root"
	}
	if o.FailoverTimeout == 0 {
		o.FailoverTimeout = DefaultFailoverTimeout
	}
	if o.Containerizer == "" {
		o.Containerizer = MesosContainerizer
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if o.chance == nil {
		o.chance = rand.N[time.Duration]
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o, errors.Join(o.Check(), o.checkLaunch())
}

// Check reports what is wrong with roles, times and places on agents, which needs no other option.
func (o Options) Check() error {
	errs := []error{CheckRoles(o.Roles)}
	if o.FailoverTimeout < time.Minute {
		errs = append(errs, fmt.Errorf("failover timeout %s: use at least 1m, Mesos kills all tasks of a scheduler that is away for longer", o.FailoverTimeout))
	}
	for _, place := range []struct{ what, path string }{{"executor path", o.ExecutorPath}, {"state directory of the volume driver", o.DriverState}} {
		if place.path != "" && !strings.HasPrefix(place.path, "/") {
			errs = append(errs, fmt.Errorf("%s %q: use an absolute path, the same on every agent", place.what, place.path))
		}
	}
	return errors.Join(errs...)
}

func (o Options) checkLaunch() error {
	switch {
	case o.Containerizer != MesosContainerizer && o.Containerizer != DockerContainerizer:
		return fmt.Errorf("containerizer %q: use %q or %q", o.Containerizer, MesosContainerizer, DockerContainerizer)
	case o.ExecutorPath == "" && o.ArtifactURL == "":
		return errors.New("neither executor path nor artifact URL: agents must find the mooring binary somewhere")
	}
	return nil
}

const (
	schedulerPath    = "/api/v1/scheduler"
	artifactFileName = "mooring" // in the sandbox; the last part of the artifact URL should agree
)

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 1<<16
}
