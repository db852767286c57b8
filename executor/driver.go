package executor

import (
	"context"
	"fmt"
	"time"

	"mooring/coordinator"
)

const (
	driverTimeout = 5 * time.Second  // for what the driver knows by heart
	goneTimeout   = 40 * time.Second // for a look at another host's heartbeat
)

// Driver is the volume driver of this host, as far as an executor talks to it. Everything else goes through the Engine.
type Driver interface {
	// About returns the name under which it holds volumes on this host, and how large a volume may become, by name; one
	// without a limit of its own is left out.
	About(ctx context.Context) (host string, sizes map[string]int64, err error)

	// Gone tells it that another host is gone for good, so that it frees the volumes of that host that are named here without
	// the long wait for a dead one. It takes nothing from a host that shows life.
	Gone(ctx context.Context, host, reason string, volumes []string) error
}

// freeVolumes passes on that the host that had the volumes is gone for good. If that comes to nothing the volumes become free in
// the driver's own time, or the start of the container says who holds them.
func (l *life) freeVolumes(ctx context.Context) {
	if l.task.Gone == "" || l.driver == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	reason := fmt.Sprintf("Mesos says that its agent is gone for good (node %d of %s, launch %d)", l.task.Node, l.task.Framework, l.task.Epoch)
	if err := l.driver.Gone(ctx, l.task.Gone, reason, []string{l.volume(coordinator.Config), l.volume(coordinator.Data)}); err != nil {
		l.log.Warn("volumes not freed by order, the driver will wait as for any dead host", "host", l.task.Gone, "error", err)
		return
	}
	l.log.Info("volumes freed of a host that is gone for good", "host", l.task.Gone)
}

func (l *life) volume(kind coordinator.Kind) string {
	return coordinator.VolumeName(l.task.Framework, l.task.Node, kind)
}

// about is what the driver tells of this host and the node's volumes: the host's name in leases, "" if it does not tell, for
// then nobody will hear that this host is gone.
func (l *life) about(ctx context.Context) (string, coordinator.Sizes) {
	if l.driver == nil {
		return "", coordinator.Sizes{}
	}
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	host, sizes, err := l.driver.About(ctx)
	if err != nil {
		l.log.Info("the volume driver does not tell its host's name", "error", err)
		return "", coordinator.Sizes{}
	}
	return host, coordinator.Sizes{Config: sizes[l.volume(coordinator.Config)], Data: sizes[l.volume(coordinator.Data)]}
}
