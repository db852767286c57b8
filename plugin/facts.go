package plugin

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring/plugin/backend"
	"mooring/plugin/doctor"
	"mooring/plugin/durable"
	"mooring/plugin/lease"
	"mooring/plugin/mounts"
	"mooring/plugin/store"
)

// hostFacts are those that need no look at storage.
func (d *Driver) hostFacts() doctor.Facts {
	f := doctor.Facts{Self: d.self, Heartbeat: d.cfg.Heartbeat, TakeAfter: d.cfg.TakeAfter, ReapAfter: d.cfg.ReapAfter,
		StoreDir: d.cfg.StoreDir, ClassesProblem: d.classes.trouble(), CoordinatorProblem: d.coordinatorTrouble(), Rival: d.checkRival() != nil, Guarded: d.guarded()}
	f.BeatAge, f.Beaten = d.beatAge()
	if drain := d.drain(); !drain.Since.IsZero() {
		f.Drained, f.Held = max(time.Since(drain.Since), 1), len(drain.Held)
	}
	d.pulse.mu.Lock()
	f.GuardNotes = d.pulse.status.Notes
	d.pulse.mu.Unlock()
	return f
}

// records are the volumes as this host knows them.
func (d *Driver) records() []doctor.Volume {
	var records []doctor.Volume
	for _, name := range d.names() {
		records = append(records, d.record(name))
	}
	return records
}

// record is what this host knows of a volume.
func (d *Driver) record(name string) doctor.Volume {
	v, known := d.volume(name)
	if !known {
		return doctor.Volume{Name: name}
	}
	r := doctor.Volume{Name: name, Recorded: true, ID: v.ID, Used: v.Used, Recovered: v.recovered, Epoch: v.Epoch,
		Holds: total(v.Holds), Mount: d.cfg.Clock() - v.mounted, Problem: v.problem}
	if report, fenced := d.fenced(name); fenced {
		r.Fenced = report.Reason
	}
	return r
}

// storeFacts adds what the store and the kernel show. It takes no locks, so a call at work shows halfway.
func (d *Driver) storeFacts(ctx context.Context, s *store.Store, f *doctor.Facts) error {
	bound, err := d.askDevices(ctx)
	if err != nil {
		return err
	}
	census, err := s.Count(namePattern.MatchString, part)
	if err != nil {
		return err
	}
	f.Strays, f.Trash = census.Strays, census.Trash
	now, beaten := census.Beats[d.self.Host] // the store's clock, which need not be this host's
	for host, at := range census.Beats {
		if beaten && host != d.self.Host {
			f.Hosts = append(f.Hosts, doctor.Host{Name: host, Age: now.Sub(at)})
		}
	}
	for _, draft := range census.Drafts {
		if beaten {
			f.Drafts = append(f.Drafts, doctor.Draft{Path: draft.Path, Age: now.Sub(draft.Written)})
		}
	}
	for _, name := range census.Volumes {
		half, err := backend.HalfSnapshots(s.Dir(name))
		if err != nil {
			return err
		}
		for path, written := range half {
			if beaten {
				f.Drafts = append(f.Drafts, doctor.Draft{Path: path, Age: now.Sub(written)})
			}
		}
	}
	f.Drafts = append(f.Drafts, d.ownDrafts()...)
	names := map[string]bool{}
	for _, name := range slices.Concat(d.names(), census.Volumes) {
		names[name] = true
	}
	for name := range names {
		v := d.record(name)
		if v.Silent = isSilent(bound, name); !v.Silent {
			d.lookIntoStore(s, &v)
		}
		f.Volumes = append(f.Volumes, v)
	}
	if err := d.lookIntoKernel(s, f.Volumes); err != nil {
		return err
	}
	f.Devices = d.compareDevices(s, bound, f.Volumes)
	return nil
}

// volumeFacts is everything about one volume.
func (d *Driver) volumeFacts(ctx context.Context, s *store.Store, name string) doctor.Volume {
	v := []doctor.Volume{d.record(name)}
	bound, err := d.askDevices(ctx)
	if v[0].Silent = isSilent(bound, name); v[0].Silent {
		return v[0]
	}
	d.lookIntoStore(s, &v[0])
	if err == nil {
		err = d.lookIntoKernel(s, v)
	}
	if err == nil {
		d.compareDevices(s, bound, v)
	}
	v[0].Unlooked = cmp.Or(v[0].Unlooked, textOf(err))
	return v[0]
}

// lookIntoStore adds what the store has of a volume.
func (d *Driver) lookIntoStore(s *store.Store, v *doctor.Volume) {
	exists, err := s.Exists(v.Name)
	if v.Removed = v.ID != "" && s.WasRemoved(v.ID); err != nil || !exists {
		v.Unreadable = textOf(err)
		return
	}
	v.Directory = true
	current, leaseErr := d.leases(s).Current(v.Name)
	stored, err := s.Read(v.Name)
	switch {
	case err == nil:
		v.Stored = &stored
		if leaseErr == nil { // else it is not known what should be there
			v.Missing, err = backend.Missing(s.Dir(v.Name), kind(stored), current.Image)
			d.lookIntoImage(s, v, volume{Volume: stored, seen: current})
		}
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrBlank):
		err = nil
	}
	v.Lease, v.Unreadable = current, textOf(errors.Join(err, leaseErr))
	if current.Host == "" || current.Host == d.self.Host {
		return
	}
	beat, err := d.leases(s).ReadBeat(current.Host)
	v.HolderSeen = err != nil || beat != lease.Heartbeat{}
	if sight, err := d.look(s, current.Host); err == nil {
		v.Still = sight.Still
	}
}

// lookIntoImage adds whether a used image is what its record says.
func (d *Driver) lookIntoImage(s *store.Store, into *doctor.Volume, v volume) {
	keeper, able := d.backend.(imageKeeper)
	if !able || kind(v.Volume) != backend.KindImage || !v.Used {
		return
	}
	growing, err := keeper.Examine(d.spec(s, v))
	into.Growing, into.WrongImage = store.Size(growing), textOf(err)
}

// lookIntoKernel adds what mount tables show of volumes, in one pass over all processes. If that is not
// possible for one of them, each is looked for on its own. To look for one with a silent device would take an answer of that.
func (d *Driver) lookIntoKernel(s *store.Store, volumes []doctor.Volume) error {
	mounted, err := mounts.Below(d.cfg.MountRoot)
	if err != nil {
		return err
	}
	var all []volume
	for i := range volumes {
		volumes[i].Mounted = mounted[volumes[i].Name]
		if !volumes[i].Silent {
			all = append(all, d.asKnown(volumes[i]))
		}
	}
	found, err := d.allHolders(s, all)
	for i, v := range volumes {
		holders := found[v.Name]
		if err != nil && !v.Silent {
			var alone error
			holders, alone = d.holders(s, d.asKnown(v))
			volumes[i].Unlooked = textOf(alone)
		}
		for _, h := range holders {
			volumes[i].Containers = append(volumes[i].Containers, h.String())
		}
	}
	return nil
}

// asKnown is a volume to look for, known here or only in the store.
func (d *Driver) asKnown(v doctor.Volume) volume {
	known, recorded := d.volume(v.Name)
	switch {
	case recorded:
		return known
	case v.Stored != nil:
		return volume{Volume: *v.Stored}
	}
	return volume{Volume: store.Volume{Name: v.Name}}
}

// askDevices lists the loop devices of images, those included that do not answer soon.
func (d *Driver) askDevices(ctx context.Context) ([]backend.Bound, error) {
	keeper, able := d.backend.(imageKeeper)
	if !able {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.lookLimit())
	defer cancel()
	return keeper.Devices(ctx, &d.devices, d.cfg.MountRoot)
}

// isSilent tells whether a device that does not answer may be the volume's.
func isSilent(bound []backend.Bound, name string) bool {
	return slices.ContainsFunc(bound, func(b backend.Bound) bool { return b.Silent && b.Volume == name })
}

// silentDevices are those that do not answer.
func silentDevices(bound []backend.Bound) []doctor.Device {
	var silent []doctor.Device
	for _, b := range bound {
		if b.Silent {
			silent = append(silent, doctor.Device{Path: b.Path, Volume: b.Volume, File: b.File, Silent: true})
		}
	}
	return silent
}

// compareDevices adds what loop devices show of images, and returns those that are silent or whose volume is not among volumes.
func (d *Driver) compareDevices(s *store.Store, bound []backend.Bound, volumes []doctor.Volume) []doctor.Device {
	strange := silentDevices(bound)
	for _, b := range bound {
		at := slices.IndexFunc(volumes, func(v doctor.Volume) bool { return v.Name == b.Volume && (v.Recorded || v.Directory) })
		switch {
		case b.Silent:
		case at < 0:
			strange = append(strange, doctor.Device{Path: b.Path, Volume: b.Volume, File: b.File})
		default:
			spec := d.spec(s, volume{Volume: store.Volume{Name: b.Volume}, seen: volumes[at].Lease})
			volumes[at].Device, volumes[at].DeviceElsewhere = b.Path, !b.Shows(spec)
		}
	}
	return strange
}

// ownDrafts are the temporary files in this host's state directory.
func (d *Driver) ownDrafts() []doctor.Draft {
	entries, err := os.ReadDir(stateDir(d.cfg))
	if err != nil {
		return nil // the state log is open; what else is there matters little
	}
	var drafts []doctor.Draft
	for _, e := range entries {
		info, err := e.Info()
		if _, draft := durable.Draft(e.Name()); draft && err == nil {
			drafts = append(drafts, doctor.Draft{Path: filepath.Join(stateDir(d.cfg), e.Name()), Age: time.Since(info.ModTime())})
		}
	}
	return drafts
}

// part is what a file in a volume's directory is.
func part(name string) store.Part {
	if own, half := backend.Owns(name); half {
		return store.Half
	} else if own || name == "volume.json" || name == "removed.json" {
		return store.Own
	}
	epoch, isLease := strings.CutPrefix(name, "lease.")
	if _, err := strconv.ParseUint(epoch, 10, 64); isLease && err == nil {
		return store.Own
	}
	return store.Stray
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
