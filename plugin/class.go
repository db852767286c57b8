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
	"mooring/plugin/class"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// namePattern is what volumes and hosts may be called. Docker passes any text as a volume's name, and
// these become file names.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

const nameForm = "a letter or digit, then up to 127 letters, digits, '_', '.' or '-'"

// describe is the volume that Create asks for: its class by name, then the options.
func describe(classes []class.Class, name string, options map[string]string) (store.Volume, error) {
	if !namePattern.MatchString(name) {
		return store.Volume{}, fmt.Errorf("volume name %q is not allowed: use %s", name, nameForm)
	}
	if err := knownOptions(options); err != nil {
		return store.Volume{}, err
	}
	c, err := classOf(classes, name, options)
	if err != nil {
		return store.Volume{}, err
	}
	v := store.Volume{Name: name, Class: c.Name, UID: c.UID, GID: c.GID, Mode: c.Mode,
		Backend: c.Backend, FS: c.FS, Size: c.Size, Mkfs: c.Mkfs, Mount: c.Mount,
		Takeover: string(c.Takeover), Trash: c.Trash}
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
	if text, given := options["from"]; given {
		if _, _, err := splitSource(text); err != nil {
			return v, fmt.Errorf("option %w", err)
		}
		v.From = text
	}
	if text, given := options["trash"]; given {
		if err := v.Trash.UnmarshalText([]byte(text)); err != nil {
			return v, fmt.Errorf("option %w", err)
		}
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
	for key, into := range map[string]*string{"fs": &v.FS, "mkfs": &v.Mkfs, "mount": &v.Mount} {
		if text, given := options[key]; given {
			*into = text
		}
	}
	v.FS = cmp.Or(v.FS, backend.Ext4)
	v.Size = cmp.Or(v.Size, class.DefaultSize)
	err := backend.CheckImage(v.FS, int64(v.Size))
	err = cmp.Or(err, backend.CheckMkfs(v.FS, v.Mkfs), backend.CheckMount(v.FS, v.Mount))
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}

// settleBackend is a new volume with a back end for good, chosen by the store where its class says so. What only an
// image has is left out of other volumes, and is an error if an option asked for it.
func settleBackend(v store.Volume, shared bool, options map[string]string) (store.Volume, error) {
	if v.Backend == class.Auto && shared {
		v.Backend = backend.KindImage
	}
	if v.Backend == backend.KindImage {
		return v, nil
	}
	for _, key := range []string{"size", "fs", "mkfs", "mount"} {
		if _, given := options[key]; given {
			return v, fmt.Errorf("option %s takes an image, volume %s would be a directory: add backend=image or leave %s out", key, v.Name, key)
		}
	}
	v.Backend, v.FS, v.Size, v.Mkfs, v.Mount = "", "", 0, "", ""
	return v, nil
}

func knownOptions(options map[string]string) error {
	known := []string{"backend", "class", "from", "fs", "gid", "mkfs", "mode", "mount", "size", "takeover", "trash", "uid"}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("option %q is unknown: the options are %s", key, strings.Join(known, ", "))
		}
	}
	return nil
}

// classOf is the class that is asked for, or else the first whose pattern matches.
func classOf(classes []class.Class, name string, options map[string]string) (class.Class, error) {
	wanted, given := options["class"]
	var names []string
	for _, c := range classes {
		if given && c.Name == wanted || !given && c.Pattern.MatchString(name) {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if given {
		return class.Class{}, fmt.Errorf("class %q is unknown: the classes are %s", wanted, strings.Join(names, ", "))
	}
	return class.Class{}, fmt.Errorf("no class fits volume %s: the classes are %s", name, strings.Join(names, ", "))
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
		{"mkfs", cmp.Or(existing.Mkfs, "none"), cmp.Or(wanted.Mkfs, "none")},
		{"mount", cmp.Or(existing.Mount, "none"), cmp.Or(wanted.Mount, "none")},
		{"takeover", policy(existing).String(), policy(wanted).String()},
		{"from", cmp.Or(existing.From, "nothing"), wanted.From},
		{"trash", existing.Trash.String(), wanted.Trash.String()},
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
