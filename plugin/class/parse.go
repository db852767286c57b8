package class

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"mooring/internal/mistake"
	"mooring/plugin/backend"
	"mooring/plugin/lease"
)

// Parse reads a classes file, see docs/classes.md. The error is a mistake.List, all of them at once. An empty file has no classes.
func Parse(data []byte) ([]Class, error) {
	var r reader
	list := r.document(data)
	var read []entry
	if list != nil && r.is(list, yaml.SequenceNode, "classes takes a list of classes, each beginning with \"- \"") {
		for _, n := range list.Content {
			read = append(read, r.class(resolve(n)))
		}
	}
	r.compare(read)
	if err := r.mistakes.Err(); err != nil {
		return nil, err
	}
	classes := make([]Class, len(read))
	for i, e := range read {
		classes[i] = e.Class
	}
	return classes, nil
}

// reader collects mistakes.
type reader struct{ mistakes mistake.List }

func (r *reader) wrong(line int, format string, args ...any) {
	r.mistakes.Add(line, format, args...)
}

// entry is a class as the file has it.
type entry struct {
	Class
	match string
	lines map[string]int  // of its keys; "" is where it begins
	wrong map[string]bool // keys whose values make no sense
}

// document is the value of the file's one key; nil if there is none.
func (r *reader) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err := decoder.Decode(&second); err == nil {
			r.wrong(second.Line, "a second document: put all classes into the first")
		}
	}
	if err != nil {
		r.wrong(0, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	root := resolve(document.Content[0])
	if isNull(root) || !r.is(root, yaml.MappingNode, `the file has no key "classes": it begins with "classes:"`) {
		return nil
	}
	var list *yaml.Node
	r.pairs(root, []string{"classes"}, "a classes file", func(_ string, _ int, value *yaml.Node) {
		if !isNull(value) {
			list = value
		}
	})
	return list
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (r *reader) is(n *yaml.Node, kind yaml.Kind, otherwise string) bool {
	if n.Kind != kind {
		r.wrong(n.Line, "%s", otherwise)
	}
	return n.Kind == kind
}

// pairs goes through the known keys of a mapping.
func (r *reader) pairs(mapping *yaml.Node, known []string, of string, each func(key string, line int, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, line := mapping.Content[i].Value, mapping.Content[i].Line
		before, twice := seen[key]
		seen[key] = line
		switch {
		case !slices.Contains(known, key):
			r.wrong(line, "key %q is unknown: %s has %s", key, of, strings.Join(known, ", "))
		case twice:
			r.wrong(line, "key %s was there before, in line %d", key, before)
		default:
			each(key, line, resolve(mapping.Content[i+1]))
		}
	}
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// setters read what a key of a class has; each error says what would be right.
func setters() map[string]func(*entry, string) error {
	return map[string]func(*entry, string) error{
		"name": func(e *entry, text string) error {
			if !namePattern.MatchString(text) {
				return fmt.Errorf("name %q is not allowed: use a letter or digit, then up to 127 letters, digits, '_', '.' or '-'", text)
			}
			e.Name = text
			return nil
		},
		"match": func(e *entry, text string) (err error) {
			e.match = text
			e.Pattern, err = parsePattern(text)
			return err
		},
		"backend": func(e *entry, text string) error {
			e.Backend = text
			return oneOf("backend", text, backend.KindDir, backend.KindImage, Auto)
		},
		"fs": func(e *entry, text string) error {
			e.FS = text
			return backend.CheckImage(text, math.MaxInt64)
		},
		"takeover": func(e *entry, text string) (err error) {
			e.Takeover, err = lease.ParsePolicy(text)
			return err
		},
		"mkfs":  func(e *entry, text string) error { e.Mkfs = text; return nil },
		"mount": func(e *entry, text string) error { e.Mount = text; return nil },
		"size":  func(e *entry, text string) error { return e.Size.UnmarshalText([]byte(text)) },
		"mode":  func(e *entry, text string) error { return e.Mode.UnmarshalText([]byte(text)) },
		"trash": func(e *entry, text string) error { return e.Trash.UnmarshalText([]byte(text)) },
		"uid":   func(e *entry, text string) error { return number("uid", text, &e.UID) },
		"gid":   func(e *entry, text string) error { return number("gid", text, &e.GID) },
	}
}

func oneOf(key, text string, allowed ...string) error {
	if slices.Contains(allowed, text) {
		return nil
	}
	last := len(allowed) - 1
	return fmt.Errorf("%s %q is unknown: use %s or %s", key, text, strings.Join(allowed[:last], ", "), allowed[last])
}

func number(key, text string, into *int) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("%s %q is not a number such as 1000", key, text)
	}
	*into = int(n)
	return nil
}

// class reads one class.
func (r *reader) class(n *yaml.Node) entry {
	e := entry{Class: Class{Mode: defaultMode}, lines: map[string]int{"": n.Line}, wrong: map[string]bool{}}
	if !r.is(n, yaml.MappingNode, "a class has keys, such as name and match") {
		return e
	}
	set := setters()
	r.pairs(n, slices.Sorted(maps.Keys(set)), "a class", func(key string, line int, value *yaml.Node) {
		e.lines[key] = line
		if value.Kind != yaml.ScalarNode {
			r.wrong(line, "key %s takes one value", key)
			e.wrong[key] = true
		} else if err := set[key](&e, value.Value); err != nil {
			r.wrong(value.Line, "%v", err)
			e.wrong[key] = true
		}
	})
	for _, key := range []string{"name", "match"} {
		if e.lines[key] == 0 {
			r.wrong(n.Line, "a class without %s: it needs name and match", key)
		}
	}
	if !e.wrong["backend"] {
		r.checkImage(e)
	}
	return e
}

// checkImage looks whether the keys about images fit together, as far as their values make sense.
func (r *reader) checkImage(e entry) {
	if e.image() {
		if e.wrong["fs"] {
			return // what size and options there can be depends on it
		}
		fs := cmp.Or(e.FS, backend.Ext4)
		for _, check := range []struct {
			key string
			err error
		}{
			{"size", backend.CheckImage(fs, int64(cmp.Or(e.Size, DefaultSize)))},
			{"mkfs", backend.CheckMkfs(fs, e.Mkfs)},
			{"mount", backend.CheckMount(fs, e.Mount)},
		} {
			if check.err != nil {
				r.wrong(cmp.Or(e.lines[check.key], e.lines[""]), "%v", check.err)
			}
		}
		return
	}
	class := "this class"
	if e.Name != "" {
		class = "class " + e.Name
	}
	for _, key := range []string{"size", "fs", "mkfs", "mount"} {
		if e.lines[key] > 0 {
			r.wrong(e.lines[key], "%s takes an image, and volumes of %s would be directories: add backend: image or auto, or leave %s out", key, class, key)
		}
	}
}

// compare looks for classes that get into each other's way.
func (r *reader) compare(all []entry) {
	for i, e := range all {
		earlier := all[:i]
		if at := slices.IndexFunc(earlier, func(o entry) bool { return o.Name != "" && o.Name == e.Name }); at >= 0 {
			r.wrong(e.lines["name"], "class %s was there before, in line %d: choose another name", e.Name, earlier[at].lines["name"])
		}
		at := slices.IndexFunc(earlier, func(o entry) bool { return o.Pattern != nil && e.Pattern != nil && covers(o.Pattern, e.Pattern) })
		if at < 0 {
			continue
		}
		if o := earlier[at]; o.match == e.match {
			r.wrong(e.lines["match"], "match %q was there before, in line %d: the first class that matches counts", e.match, o.lines["match"])
		} else {
			r.wrong(e.lines["match"], "match %q is never reached: %q in line %d matches all of it before; put the narrower one first", e.match, o.match, o.lines["match"])
		}
	}
}
