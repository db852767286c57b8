package plugin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"

	"mooring/plugin/backend"
)

// Get describes a volume from memory: it waits neither for storage nor for another verb, since the engine
// takes any error for "no such volume" and forgets what it knew.
func (d *Driver) Get(_ context.Context, r *api.GetRequest) (*api.GetResponse, error) {
	if r.Name == "" {
		return nil, errors.New("no name: Get needs the name of a volume")
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	v, known := d.volumes[r.Name]
	if !known {
		return nil, noSuchVolume(r.Name)
	}
	answer := d.describeLocked(v)
	answer.Status = d.statusLocked(v)
	return &api.GetResponse{Volume: answer}, nil
}

// List describes all volumes from memory, by name.
func (d *Driver) List(context.Context, *struct{}) (*api.ListResponse, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]*api.Volume, 0, len(d.volumes))
	for _, v := range d.volumes {
		list = append(list, d.describeLocked(v))
	}
	slices.SortFunc(list, func(a, b *api.Volume) int { return strings.Compare(a.Name, b.Name) })
	return &api.ListResponse{Volumes: list}, nil
}

// Path returns where a volume is mounted, "" if it is not.
func (d *Driver) Path(_ context.Context, r *api.PathRequest) (*api.PathResponse, error) {
	v, known := d.volume(r.Name)
	if !known {
		return nil, noSuchVolume(r.Name)
	}
	return &api.PathResponse{Mountpoint: d.mountpoint(&v)}, nil
}

// Capabilities says "global" when other hosts see the volumes too.
func (d *Driver) Capabilities(context.Context, *struct{}) (*api.CapabilitiesResponse, error) {
	scope := "local"
	if d.isGlobal() {
		scope = "global"
	}
	return &api.CapabilitiesResponse{Capabilities: api.Capability{Scope: scope}}, nil
}

func (d *Driver) describeLocked(v *volume) *api.Volume {
	return &api.Volume{Name: v.Name, Mountpoint: d.mountpoint(v), CreatedAt: v.Created.Format(time.RFC3339)}
}

func (d *Driver) mountpoint(v *volume) string {
	if v.Epoch == 0 {
		return ""
	}
	return d.target(v.Name)
}

// statusLocked is what "docker volume inspect" shows beyond the protocol.
func (d *Driver) statusLocked(v *volume) map[string]any {
	status := map[string]any{
		"class": v.Class, "backend": kind(v.Volume), "state": v.phase(d.self), "mounts": holdsOrNone(v), "lastError": v.problem,
		"takeover": policy(v.Volume).String(),
		"host":     d.self.Host, "store": "ok",
	}
	if v.Size > 0 {
		status["fs"], status["size"] = v.FS, v.Size.String()
	}
	for key, chosen := range map[string]string{"mkfs": v.Mkfs, "mount": v.Mount} {
		if chosen != "" {
			status[key] = chosen
		}
	}
	maps.Copy(status, v.shown)
	if v.seen.Epoch > 0 {
		status["holder"], status["epoch"], status["lease"] = v.seen.Host, v.seen.Epoch, v.seen.State
		if kind(v.Volume) == backend.KindImage {
			status["image"] = backend.ImageName(v.seen.Image)
		}
	}
	if r, fenced := d.fenced(v.Name); fenced {
		status["state"], status["fenced"] = "fenced", r.Reason
	}
	if d.storeErr != nil {
		status["store"] = d.storeErr.Error()
	}
	if trouble := d.classes.trouble(); trouble != "" {
		status["classes"] = trouble
	}
	return status
}

func holdsOrNone(v *volume) map[string]int {
	if v.Holds == nil {
		return map[string]int{}
	}
	return v.Holds
}
