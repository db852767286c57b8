package guard

import (
	"cmp"
	"fmt"
	"slices"

	"mooring/plugin/lease"
)

// checkLeases reads some of the leases while the store answers, and gives back those of fenced volumes,
// so that other hosts need not wait for this one to fall silent.
func (g *Guard) checkLeases() {
	for _, v := range g.nextToCheck() {
		current, err := g.Leases.Current(v.Name)
		if err != nil {
			g.Log.Warn("lease not checked", "volume", v.Name, "error", err)
			continue
		}
		if lease.Lost(v.Epoch, current, g.host.Identity) {
			g.lose(v, current)
		}
	}
	for _, r := range g.toGiveBack() {
		if err := g.giveBack(r.Volume); err != nil {
			g.Log.Warn("lease not given back", "volume", r.Volume.Name, "error", err)
			continue
		}
		g.settle(r.Volume)
	}
}

// nextToCheck are the watched volumes whose turn it is.
func (g *Guard) nextToCheck() []Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := sorted(g.watched)
	after := slices.IndexFunc(all, func(v Volume) bool { return v.Name > g.turn })
	if after > 0 {
		all = append(all[after:], all[:after]...)
	}
	all = all[:min(len(all), leasesPerRound)]
	if len(all) > 0 {
		g.turn = all[len(all)-1].Name
	}
	return all
}

// lose fences a volume whose lease is another host's, unless it was given back meanwhile.
func (g *Guard) lose(v Volume, current lease.Lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now, watched := g.watched[v.Name]; watched && now.Epoch == v.Epoch {
		reason := fmt.Sprintf("its lease is no longer this host's: epoch %d, host %s, %s", current.Epoch, cmp.Or(current.Host, "none"), cmp.Or(current.State, "none"))
		g.condemnLocked([]Volume{now}, reason, false)
	}
}

// toGiveBack are the fenced volumes that nobody here has any more.
func (g *Guard) toGiveBack() []Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.pulse.Alive(g.Clock(), g.host.FenceAfter) || len(g.pending) > 0 {
		return nil
	}
	return slices.DeleteFunc(g.unsettledLocked(), func(r Report) bool { return !r.clear() })
}

// clear tells whether the last look found nobody with the volume.
func (r Report) clear() bool {
	return r.done && len(r.Stuck) == 0 && len(r.Spared) == 0 && r.Problem == ""
}

// giveBack releases a lease if it is still the one that was fenced.
func (g *Guard) giveBack(v Volume) error {
	current, err := g.Leases.Current(v.Name)
	if err != nil || !current.Of(g.host.Identity) || current.Epoch != v.Epoch {
		return err
	}
	released := current
	released.State = lease.Released
	return g.Leases.Rewrite(current, released)
}

func (g *Guard) settle(v Volume) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, known := g.fenced[v.Name]; known && r.Volume.Epoch == v.Epoch {
		g.Log.Info("fenced volume may be used again", "volume", v.Name, "epoch", v.Epoch)
		r.Settled = true
		g.fenced[v.Name] = r
		g.keepLocked()
	}
}
