package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mooring/coordinator"
	"mooring/elasticsearch"
)

// prepare brings everything to the point where Elasticsearch may start, and returns its environment.
func (n *node) prepare() (env []string, err error) {
	s := n.task.Settings
	if err := checkMounts(n.o.Mounted, s.ConfigPath, s.DataPath); err != nil {
		return nil, err
	}
	version, err := elasticsearch.FindVersion(os.DirFS(n.o.Home))
	if err != nil {
		return nil, refuseSettings("image %s: %v", s.Image, err)
	}
	if err := n.claim(version); err != nil {
		return nil, err
	}
	if err := n.configure(version); err != nil {
		return nil, err
	}
	return environment(map[string]string{"ES_PATH_CONF": n.configPath(), "HOME": n.o.Home}), nil
}

// environment is this process's own with other values for some variables. Of two values in one environment it would be
// undefined which one counts.
func environment(other map[string]string) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		key, _, _ := strings.Cut(entry, "=")
		_, replaced := other[key]
		return replaced
	})
	for key, value := range other {
		env = append(env, key+"="+value)
	}
	return env
}

// claim checks the markers of both volumes and puts this launch's own in their place: a launch with a lower epoch that
// comes late will see it.
func (n *node) claim(version elasticsearch.Version) error {
	s := n.task.Settings
	config, err := readMarker(s.ConfigPath)
	if err != nil {
		return err
	}
	data, err := readMarker(s.DataPath)
	if err != nil {
		return err
	}
	if err := check(n.task, config, data, version); err != nil {
		return err
	}
	if data != nil {
		n.marker = *data
	}
	n.marker.Framework, n.marker.Node, n.marker.Epoch = n.task.Framework, n.task.Node, n.task.Epoch
	return n.mark()
}

// mark writes the marker to the volumes, data first: that one decides.
func (n *node) mark() error {
	return errors.Join(writeMarker(n.task.Settings.DataPath, n.marker), writeMarker(n.task.Settings.ConfigPath, n.marker))
}

func (n *node) configPath() string { return filepath.Join(n.task.Settings.ConfigPath, configDir) }

// configure makes directories and writes the files that Elasticsearch reads at its start.
func (n *node) configure(version elasticsearch.Version) error {
	s := n.task.Settings
	for _, root := range []string{s.ConfigPath, s.DataPath} {
		if err := n.owner.giveTop(root); err != nil {
			return err
		}
	}
	dirs := []string{n.configPath(), filepath.Join(s.DataPath, dataDir), filepath.Join(s.DataPath, logsDir)}
	if err := n.owner.makeDirs(dirs...); err != nil {
		return err
	}
	if err := n.owner.copyDefaults(filepath.Join(n.o.Home, "config"), n.configPath()); err != nil {
		return err
	}
	if err := n.checkKeystore(); err != nil {
		return err
	}
	settings, err := version.Settings(n.settings())
	if err != nil {
		return refuseSettings("settings: %v", err)
	}
	if err := errors.Join(elasticsearch.CheckHeap(s.HeapMB, n.task.MemoryMB), elasticsearch.CheckJavaOptions(s.JavaOptions)); err != nil {
		return refuseSettings("settings: %v", err)
	}
	n.seeds = string(elasticsearch.Seeds(n.task.Seeds))
	return errors.Join(
		n.generate(elasticsearch.SettingsFile, settings),
		n.generate(elasticsearch.JVMFile, elasticsearch.JVMOptions(s.HeapMB, s.JavaOptions)),
		n.generate(elasticsearch.SeedsFile, []byte(n.seeds)),
	)
}

// checkKeystore removes a keystore without content, with which Elasticsearch would never start again. It makes one at its first
// start, without syncing it (8.19).
func (n *node) checkKeystore() error {
	path := filepath.Join(n.configPath(), elasticsearch.KeystoreFile)
	dropped, err := dropEmpty(path)
	if dropped {
		n.log.Warn("empty keystore removed, elasticsearch makes a new one", "file", path)
	}
	return err
}

func (n *node) generate(name string, text []byte) error {
	path := filepath.Join(n.configPath(), name)
	found, err := n.owner.writeGenerated(path, text)
	if found {
		n.log.Warn("file kept aside, mooring writes its own", "file", path, "kept", path+foundSuffix)
	}
	return err
}

func (n *node) settings() elasticsearch.Node {
	t := n.task
	settings := elasticsearch.Node{
		Cluster: t.Settings.Cluster, Name: coordinator.NodeName(t.Framework, t.Node),
		Host: t.Place.Host, HTTPPort: t.Place.HTTPPort, TransportPort: t.Place.TransportPort,
		DataPath: filepath.Join(t.Settings.DataPath, dataDir), LogsPath: filepath.Join(t.Settings.DataPath, logsDir),
		Roles: t.Settings.Roles, InitialMasters: t.InitialMasters, More: t.Settings.Elasticsearch,
	}
	if n.marker.Joined {
		settings.InitialMasters = nil // the data knows its cluster; with the setting, emptied nodes could found another
	}
	return settings
}
