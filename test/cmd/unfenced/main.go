// Command unfenced is a volume driver of the plainest kind, for tests: it speaks the same protocol as a driver of a vendor, keeps
// each volume as a directory that all hosts see, and lets every host write to it at any time.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/alecthomas/kong"
	"github.com/docker/go-plugins-helpers/volume"
)

func main() {
	var d driver
	line := kong.Parse(&d, kong.Name("unfenced"), kong.UsageOnError())
	line.FatalIfErrorf(volume.NewHandler(d).ServeUnix(d.Socket, 0))
}

// driver keeps the options that a volume was made with beside its directory.
type driver struct {
	Root   string `arg:"" help:"Directory of all volumes, the same on every host."`
	Socket string `arg:"" help:"Where the engine calls."`
}

func (d driver) path(name string) string    { return filepath.Join(d.Root, name) }
func (d driver) options(name string) string { return filepath.Join(d.Root, name+".json") }

// Create refuses a volume that exists, as drivers do that would have to change it.
func (d driver) Create(r *volume.CreateRequest) error {
	for name, value := range r.Options {
		if _, err := strconv.ParseUint(value, 10, 32); name != "size" || err != nil {
			return fmt.Errorf("option %s=%s: use size=GB", name, value)
		}
	}
	options, err := json.Marshal(r.Options)
	if err != nil {
		return err
	}
	if err := os.Mkdir(d.path(r.Name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.options(r.Name), options, 0o600)
}

func (d driver) Get(r *volume.GetRequest) (*volume.GetResponse, error) {
	if _, err := os.Stat(d.path(r.Name)); err != nil {
		return nil, err
	}
	return &volume.GetResponse{Volume: &volume.Volume{Name: r.Name, Mountpoint: d.path(r.Name)}}, nil
}

func (d driver) List() (*volume.ListResponse, error) {
	entries, err := os.ReadDir(d.Root)
	if err != nil {
		return nil, err
	}
	all := &volume.ListResponse{Volumes: []*volume.Volume{}}
	for _, e := range entries {
		if e.IsDir() {
			all.Volumes = append(all.Volumes, &volume.Volume{Name: e.Name(), Mountpoint: d.path(e.Name())})
		}
	}
	return all, nil
}

func (d driver) Remove(r *volume.RemoveRequest) error {
	err := os.Remove(d.options(r.Name))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(d.path(r.Name)))
}

func (d driver) Path(r *volume.PathRequest) (*volume.PathResponse, error) {
	return &volume.PathResponse{Mountpoint: d.path(r.Name)}, nil
}

func (d driver) Mount(r *volume.MountRequest) (*volume.MountResponse, error) {
	return &volume.MountResponse{Mountpoint: d.path(r.Name)}, nil
}

func (d driver) Unmount(*volume.UnmountRequest) error { return nil }

func (d driver) Capabilities() *volume.CapabilitiesResponse {
	return &volume.CapabilitiesResponse{Capabilities: volume.Capability{Scope: "global"}}
}
