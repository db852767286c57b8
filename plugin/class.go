package plugin

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mooring/plugin/backend"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// namePattern is what volumes and hosts may be called. Docker passes any text as a volume's name, and
// these become file names.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

const nameForm = "a letter or digit, then up to 127 letters, digits, '_', '.' or '-'"

// Class is the settings of volumes whose names match a pattern. Docker mostly sends no options, so
// the name decides.
type Class struct {
	Name     string
	Pattern  *regexp.Regexp
	UID, GID int
	Mode     store.Mode
	Backend  string     // backend.KindDir, backend.KindImage or byStore; "" is backend.KindDir
	FS       string     // of an image; "" is backend.Ext4
	Size     store.Size // of an image; 0 is defaultSize
	Takeover lease.Policy
}

const (
	// byStore is the back end image on a store that other hosts see too, and else dir.
	byStore = "auto"
	// Images are sparse, so a size costs nothing until it is used.
	defaultSize     = store.Size(10 << 30)
	defaultDataSize = store.Size(100 << 30)
)

// DefaultClasses gives the volumes of node N, "…Ndata" and "…Nconfig", to the user that Elasticsearch's
// images run as, 1000 of group 0, and everything else to root. Data that other hosts can reach is in images, which a fence can
// silence under their writers. 64 hexadecimal digits are what Docker
// calls a volume that an image asks for and nobody named.
func DefaultClasses() []Class {
	return []Class{
		{Name: "anonymous", Pattern: regexp.MustCompile(`^[0-9a-f]{64}$`), Mode: 0o755},
		{Name: "data", Pattern: regexp.MustCompile(`[0-9]data$`), UID: 1000, Mode: 0o770, Backend: byStore, Size: defaultDataSize},
		{Name: "config", Pattern: regexp.MustCompile(`[0-9]config$`), UID: 1000, Mode: 0o770},
		{Name: "default", Pattern: regexp.MustCompile(``), Mode: 0o755},
	}
}

// describe is the volume that Create asks for: its class by name, then the options.
func describe(classes []Class, name string, options map[string]string) (store.Volume, error) {
	if !namePattern.MatchString(name) {
		return store.Volume{}, fmt.Errorf("volume name %q is not allowed: use %s", name, nameForm)
	}
	if err := knownOptions(options); err != nil {
		return store.Volume{}, err
	}
	class, err := classOf(classes, name, options)
	if err != nil {
		return store.Volume{}, err
	}
	v := store.Volume{Name: name, Class: class.Name, UID: class.UID, GID: class.GID, Mode: class.Mode,
		Backend: class.Backend, FS: class.FS, Size: class.Size, Takeover: string(class.Takeover)}
	if err := number(options, "uid", &v.UID); err != nil {
		return v, err
	}
	if err := number(options, "gid", &v.GID); err != nil {
		return v, err
	}
	if text, given := options["mode"]; given {
		if err := v.Mode.UnmarshalText([]byte(text)); err != nil {
			return v, fmt.Errorf("option %w", err)
		}
	}
	if text, given := options["takeover"]; given {
		policy, err := lease.ParsePolicy(text)
		if err != nil {
			return v, fmt.Errorf("option %w", err)
		}
		v.Takeover = string(policy)
	}
	return v, describeImage(options, &v)
}

// describeImage reads the options about the back end. Size and file system may come with any back end that turns out to
// be image; settleBackend sees to that.
func describeImage(options map[string]string, v *store.Volume) error {
	if text, given := options["backend"]; given {
		if text != backend.KindDir && text != backend.KindImage {
			return fmt.Errorf("option backend %q is unknown: use %s or %s", text, backend.KindDir, backend.KindImage)
		}
		v.Backend = text
	}
	if text, given := options["size"]; given {
		if err := v.Size.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("option %w", err)
		}
	}
	if text, given := options["fs"]; given {
		v.FS = text
	}
	v.FS = cmp.Or(v.FS, backend.Ext4)
	v.Size = cmp.Or(v.Size, defaultSize)
	if err := backend.CheckImage(v.FS, int64(v.Size)); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}

// settleBackend is a new volume with a back end for good, chosen by the store where its class says so. What only an
// image has is left out of other volumes, and is an error if an option asked for it.
func settleBackend(v store.Volume, shared bool, options map[string]string) (store.Volume, error) {
	if v.Backend == byStore && shared {
		v.Backend = backend.KindImage
	}
	if v.Backend == backend.KindImage {
		return v, nil
	}
	for _, key := range []string{"size", "fs"} {
		if _, given := options[key]; given {
			return v, fmt.Errorf("option %s takes an image, volume %s would be a directory: add backend=image or leave %s out", key, v.Name, key)
		}
	}
	v.Backend, v.FS, v.Size = "", "", 0
	return v, nil
}

func knownOptions(options map[string]string) error {
	known := []string{"backend", "class", "fs", "gid", "mode", "size", "takeover", "uid"}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("option %q is unknown: the options are %s", key, strings.Join(known, ", "))
		}
	}
	return nil
}

// classOf is the class that is asked for, or else the first whose pattern matches.
func classOf(classes []Class, name string, options map[string]string) (Class, error) {
	wanted, given := options["class"]
	var names []string
	for _, c := range classes {
		if given && c.Name == wanted || !given && c.Pattern.MatchString(name) {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if given {
		return Class{}, fmt.Errorf("class %q is unknown: the classes are %s", wanted, strings.Join(names, ", "))
	}
	return Class{}, fmt.Errorf("no class fits volume %s: the classes are %s", name, strings.Join(names, ", "))
}

func number(options map[string]string, key string, into *int) error {
	text, given := options[key]
	if !given {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("option %s %q is not a number such as 1000", key, text)
	}
	*into = int(n)
	return nil
}

// contradiction says which option asks for something else than an existing volume is.
func contradiction(existing, wanted store.Volume, options map[string]string) error {
	for _, c := range []struct{ key, is, asked string }{
		{"class", existing.Class, wanted.Class},
		{"uid", strconv.Itoa(existing.UID), strconv.Itoa(wanted.UID)},
		{"gid", strconv.Itoa(existing.GID), strconv.Itoa(wanted.GID)},
		{"mode", existing.Mode.String(), wanted.Mode.String()},
		{"backend", kind(existing), kind(wanted)},
		{"fs", cmp.Or(existing.FS, "none"), wanted.FS},
		{"size", existing.Size.String(), wanted.Size.String()},
		{"takeover", policy(existing).String(), policy(wanted).String()},
	} {
		if _, given := options[c.key]; given && c.is != c.asked {
			return fmt.Errorf("volume %s exists with %s %s, not %s: leave the option out or choose another name",
				existing.Name, c.key, c.is, c.asked)
		}
	}
	return nil
}

// policy says how another host may take the volume from one that seems dead. One that is not known, a newer plugin's, is
// taken by order only.
func policy(v store.Volume) lease.Policy { return lease.Policy(v.Takeover) }

// kind names a volume's back end.
func kind(v store.Volume) string { return cmp.Or(v.Backend, backend.KindDir) }
