// Package class gives volumes their settings by their names. Docker mostly sends no options, so the name decides. Nothing here
// does I/O; Parse is handed a file's content.
package class

import (
	"regexp"
	"slices"

	"mooring/plugin/backend"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// Class is the settings of volumes whose names match a pattern.
type Class struct {
	Name     string
	Pattern  Pattern
	UID, GID int
	Mode     store.Mode
	Backend  string     // backend.KindDir, backend.KindImage or Auto; "" is backend.KindDir
	FS       string     // of an image; "" is backend.Ext4
	Size     store.Size // of an image; 0 is DefaultSize
	Mkfs     string     // for making an image; see backend.CheckMkfs
	Mount    string     // for mounting an image; see backend.CheckMount
	Takeover lease.Policy
	Trash    store.Delay // how long a volume can be restored after the engine removed it
}

const (
	// Auto is the back end image on a store that other hosts see too, and else dir.
	Auto = "auto"
	// DefaultSize is an image's. Images are sparse, so a size costs nothing until it is used.
	DefaultSize = store.Size(10 << 30)

	defaultDataSize = store.Size(100 << 30)
	defaultMode     = store.Mode(0o755)
)

// BuiltIn gives the volumes of node N, "…Ndata" and "…Nconfig", to the user that Elasticsearch's
// images run as, 1000 of group 0, and everything else to root. Data that other hosts can reach is in images, which a fence can
// silence under their writers. 64 hexadecimal digits are what Docker calls a volume that an image asks for and nobody named.
func BuiltIn() []Class {
	return []Class{
		{Name: "anonymous", Pattern: regexp.MustCompile(`^[0-9a-f]{64}$`), Mode: defaultMode},
		{Name: "data", Pattern: regexp.MustCompile(`[0-9]data$`), UID: 1000, Mode: 0o770, Backend: Auto, Size: defaultDataSize},
		{Name: "config", Pattern: regexp.MustCompile(`[0-9]config$`), UID: 1000, Mode: 0o770},
		{Name: "default", Pattern: regexp.MustCompile(``), Mode: defaultMode},
	}
}

// Before puts a file's classes before others. One of the same name replaces the other: a name means one class.
func Before(file, others []Class) []Class {
	all := slices.Clone(file)
	for _, c := range others {
		if !slices.ContainsFunc(file, func(f Class) bool { return f.Name == c.Name }) {
			all = append(all, c)
		}
	}
	return all
}

// image tells whether the class's volumes can be images.
func (c Class) image() bool { return c.Backend == backend.KindImage || c.Backend == Auto }
