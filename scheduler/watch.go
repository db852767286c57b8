package scheduler

import (
	"context"
	"maps"
	"slices"
	"time"

	"mooring/coordinator"
)

// lookEvery is how often hosts' heartbeats are looked at: a dead host is found that much later at most.
const lookEvery = 500 * time.Millisecond

// Heartbeats tells which hosts live, by the heartbeats of their volume drivers.
type Heartbeats interface {
	// Look returns what is seen now of hosts, by their drivers' names. Each comes with the volumes of the nodes there, of which
	// is to be told whether they could be taken over. A host of which nothing can be said is left out. An error does not make what
	// is returned wrong. Look returns within some seconds, whatever hangs.
	Look(ctx context.Context, volumes map[string][]string) (map[string]coordinator.Sight, error)
}

// look is what came of one look.
type look struct {
	at      time.Time
	watched map[string][]coordinator.NodeID
	sights  map[string]coordinator.Sight
	err     error
}

// watcher looks at heartbeats again and again, so that the loop need not wait for a store.
type watcher struct {
	heartbeats Heartbeats // nil: there is nothing to look at
	state      func() coordinator.State
	looks      chan<- look
}

func (w *watcher) run(ctx context.Context) error {
	if w.heartbeats == nil {
		return nil
	}
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case w.looks <- w.look(ctx):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *watcher) look(ctx context.Context) look {
	state := w.state()
	l := look{watched: state.Watched(time.Now())}
	volumes := make(map[string][]string, len(l.watched))
	for host, nodes := range l.watched {
		volumes[host] = nil
		for _, id := range nodes {
			volumes[host] = append(volumes[host],
				coordinator.VolumeName(state.Framework, id, coordinator.Config), coordinator.VolumeName(state.Framework, id, coordinator.Data))
		}
	}
	l.sights, l.err = w.heartbeats.Look(ctx, volumes)
	l.at = time.Now()
	return l
}

// looked hands on what was seen. It is said again with every look for as long as it is so: while there is no subscription
// nothing could be done about it.
func (l *loop) looked(ctx context.Context, k look) {
	l.show(func(v *View) {
		v.Watch.Hosts, v.Watch.Error = len(k.watched), ""
		if k.err != nil {
			v.Watch.Error = k.err.Error()
		} else {
			v.Watch.Seen = k.at
		}
	})
	if l.conn == nil {
		return
	}
	for _, host := range slices.Sorted(maps.Keys(k.sights)) {
		sight := k.sights[host]
		_, known := l.state.Silent[host]
		switch at := wall(k.at); {
		case sight.Silent:
			l.handle(ctx, nil, coordinator.HostSilent{At: at, Host: host, Since: at.Add(-sight.Still), Kept: l.kept(k.watched[host], sight)})
		case sight.Beats && known:
			l.handle(ctx, nil, coordinator.HostBeats{At: at, Host: host})
		}
		l.noteSilence(host, known)
	}
}

// kept are the nodes one of whose volumes is kept.
func (l *loop) kept(nodes []coordinator.NodeID, sight coordinator.Sight) map[coordinator.NodeID]string {
	kept := map[coordinator.NodeID]string{}
	for _, id := range nodes {
		for _, kind := range []coordinator.Kind{coordinator.Config, coordinator.Data} {
			if why := sight.Kept[coordinator.VolumeName(l.state.Framework, id, kind)]; why != "" {
				kept[id] = why
			}
		}
	}
	return kept
}

// noteSilence counts and logs what changed.
func (l *loop) noteSilence(host string, known bool) {
	silence, silent := l.state.Silent[host]
	switch {
	case silent && !known:
		l.count("mooring_silences_total", 1)
		l.log.Warn("host is silent", "host", host, "since", silence.Since, "agents", silence.Agents, "kept", silence.Kept)
	case known && !silent:
		l.log.Info("host beats again", "host", host)
	}
}
