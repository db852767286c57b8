package plugin

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
}

// DefaultClasses gives the volumes of node N, "…Ndata" and "…Nconfig", to the user that Elasticsearch's
// images run as, 1000 of group 0, and everything else to root. 64 hexadecimal digits are what Docker
// calls a volume that an image asks for and nobody named.
func DefaultClasses() []Class {
	return []Class{
		{Name: "anonymous", Pattern: regexp.MustCompile(`^[0-9a-f]{64}$`), Mode: 0o755},
		{Name: "data", Pattern: regexp.MustCompile(`[0-9]data$`), UID: 1000, Mode: 0o770},
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
	v := store.Volume{Name: name, Class: class.Name, UID: class.UID, GID: class.GID, Mode: class.Mode}
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
	return v, nil
}

func knownOptions(options map[string]string) error {
	known := []string{"class", "gid", "mode", "uid"}
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
	} {
		if _, given := options[c.key]; given && c.is != c.asked {
			return fmt.Errorf("volume %s exists with %s %s, not %s: leave the option out or choose another name",
				existing.Name, c.key, c.is, c.asked)
		}
	}
	return nil
}
