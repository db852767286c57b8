// Package groups reads the file that describes groups of nodes, see docs/placement.md. It is a package of its own because it alone
// knows what the file looks like: what comes out of it are groups as the rules know them.
package groups

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

	"mooring/coordinator"
	"mooring/elasticsearch"
	"mooring/internal/mistake"
)

// LeastCPUs of a node leave something for Elasticsearch beside the executor.
const LeastCPUs = 0.2

const mostNodes = 10000

// at is a value of the file, and where it is.
type at[T any] struct {
	value T
	line  int // 0: it is not there
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *at[T]) UnmarshalYAML(n *yaml.Node) error {
	a.line = n.Line
	return n.Decode(&a.value)
}

// entry is a group as the file has it.
type entry struct {
	Name          at[string]            `yaml:"name"`
	Nodes         at[int]               `yaml:"nodes"`
	CPUs          at[float64]           `yaml:"cpus"`
	Memory        at[int64]             `yaml:"memory"`
	Heap          at[int64]             `yaml:"heap"`
	Roles         at[[]string]          `yaml:"roles"`
	MesosRole     at[string]            `yaml:"mesos-role"`
	Constraints   at[[]string]          `yaml:"constraints"`
	Settings      at[map[string]string] `yaml:"settings"`
	JavaOptions   at[[]string]          `yaml:"java-options"`
	VolumeOptions at[map[string]string] `yaml:"volume-options"`
	DataOptions   at[map[string]string] `yaml:"data-volume-options"`
}

const knownKeys = "name, nodes, cpus, memory, heap, roles, mesos-role, constraints, settings, java-options, volume-options, data-volume-options"

// Parse reads the file. What a group does not say is as in the default group that the rules describe, except for constraints, of
// which it has its own only. The error is a mistake.List, all of them at once.
func Parse(data []byte, rules coordinator.Rules) ([]coordinator.Group, error) {
	r := reader{rules: rules}
	var groups []coordinator.Group
	for _, e := range r.read(data) {
		groups = append(groups, r.group(e, groups))
	}
	if err := r.mistakes.Err(); err != nil {
		return nil, err
	}
	return groups, nil
}

// reader collects mistakes.
type reader struct {
	rules    coordinator.Rules
	mistakes mistake.List
}

func (r *reader) wrong(line int, format string, args ...any) {
	r.mistakes.Add(line, format, args...)
}

// check notes an error, each of those that it is made of by itself.
func (r *reader) check(line int, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			r.check(line, one)
		}
	} else if err != nil {
		r.wrong(line, "%v", err)
	}
}

// read is what the file has, as far as it can be read.
func (r *reader) read(data []byte) []entry {
	var file struct {
		Groups []entry `yaml:"groups"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	err := decoder.Decode(&file)
	shape := (*yaml.TypeError)(nil)
	switch {
	case errors.Is(err, io.EOF):
	case errors.As(err, &shape):
		for _, text := range shape.Errors {
			r.misshapen(text)
		}
	case err != nil:
		r.wrong(0, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	var second yaml.Node
	if err == nil && decoder.Decode(&second) == nil {
		r.wrong(second.Line, "a second document: put all groups into the first")
	}
	if len(file.Groups) == 0 && len(r.mistakes) == 0 {
		r.wrong(0, `no groups: the file begins with "groups:" and a list of them, each beginning with "- name:"`)
	}
	return file.Groups
}

var (
	linePattern    = regexp.MustCompile(`^line ([0-9]+): (.*)$`)
	unknownPattern = regexp.MustCompile(`^field (\S+) not found in type (.+)$`)
)

// misshapen notes what the YAML library says of a value that does not fit.
func (r *reader) misshapen(text string) {
	line := 0
	if m := linePattern.FindStringSubmatch(strings.ReplaceAll(text, "\n", " ")); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits, by the pattern
		text = m[2]
	}
	if m := unknownPattern.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("key %q is unknown: a group has %s", m[1], knownKeys)
		if m[2] != "groups.entry" {
			text = fmt.Sprintf("key %q is unknown: the file has groups only", m[1])
		}
	}
	r.wrong(line, "%s", text)
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// group makes a group of what the file says.
func (r *reader) group(e entry, earlier []coordinator.Group) coordinator.Group {
	line := cmp.Or(e.Name.line, e.Nodes.line)
	switch name := e.Name.value; {
	case !namePattern.MatchString(name):
		r.wrong(line, "name %q: use a lower-case letter, then up to 39 lower-case letters, digits or '-'", name)
	case name == coordinator.DefaultGroup:
		r.wrong(line, "name %q is that of the group which the options of the command line describe: use another", name)
	case slices.ContainsFunc(earlier, func(g coordinator.Group) bool { return g.Name == name }):
		r.wrong(line, "group %s was there before: choose another name", name)
	}
	g := coordinator.Group{
		Name: e.Name.value, Nodes: e.Nodes.value, CPUs: r.rules.CPUs, MemoryMB: r.rules.MemoryMB, Role: e.MesosRole.value, Settings: r.rules.Settings,
	}
	switch {
	case e.Nodes.line == 0:
		r.wrong(line, "group %s without nodes: say how many there are to be at first", e.Name.value)
	case g.Nodes < 0 || g.Nodes > mostNodes:
		r.wrong(e.Nodes.line, "nodes %d: use 0 to %d", g.Nodes, mostNodes)
	}
	if g.Role != "" && !slices.Contains(r.rules.Roles, g.Role) {
		r.wrong(e.MesosRole.line, "mesos-role %q: the framework has %s; give it with --role, too", g.Role, strings.Join(r.rules.Roles, ", "))
	}
	r.size(&g, e)
	r.settings(&g, e)
	var err error
	g.Constraints, err = coordinator.ParseConstraints(e.Constraints.value)
	r.check(e.Constraints.line, err)
	return g
}

// size reads what a node takes.
func (r *reader) size(g *coordinator.Group, e entry) {
	if e.CPUs.line > 0 {
		g.CPUs = int64(math.Round(e.CPUs.value * 1000))
		if !(e.CPUs.value >= LeastCPUs && e.CPUs.value < mostNodes) {
			r.wrong(e.CPUs.line, "cpus %g: use at least %g", e.CPUs.value, LeastCPUs)
		}
	}
	if e.Memory.line > 0 {
		g.MemoryMB, g.Settings.HeapMB = e.Memory.value, e.Memory.value/2
	}
	if e.Heap.line > 0 {
		g.Settings.HeapMB = e.Heap.value
	}
	if e.Memory.line > 0 || e.Heap.line > 0 {
		r.check(cmp.Or(e.Heap.line, e.Memory.line), elasticsearch.CheckHeap(g.Settings.HeapMB, g.MemoryMB))
	}
}

// settings reads what is told to Elasticsearch and to the driver of its volumes. Of what the default group has, the settings of
// roles are left out where a group has roles of its own.
func (r *reader) settings(g *coordinator.Group, e entry) {
	s := &g.Settings
	own := e.Settings.value
	r.check(e.Settings.line, elasticsearch.CheckSettings(own))
	all := maps.Clone(s.Elasticsearch)
	if e.Roles.line > 0 {
		s.Roles = append([]string{}, e.Roles.value...)
		r.check(e.Roles.line, elasticsearch.CheckRoles(s.Roles))
		r.check(e.Settings.line, elasticsearch.CheckRoleSettings(s.Roles, own))
		maps.DeleteFunc(all, func(key, value string) bool {
			return elasticsearch.CheckRoleSettings(s.Roles, map[string]string{key: value}) != nil
		})
	}
	s.Elasticsearch = merged(all, own)
	if e.JavaOptions.line > 0 {
		s.JavaOptions = e.JavaOptions.value
		r.check(e.JavaOptions.line, elasticsearch.CheckJavaOptions(s.JavaOptions))
	}
	s.DriverOptions = merged(s.DriverOptions, e.VolumeOptions.value)
	s.DataOptions = merged(s.DataOptions, e.DataOptions.value)
	g.NeverMaster = !elasticsearch.CanBeElected(s.Roles, s.Elasticsearch)
}

// merged are all settings; those of the second count where both have one.
func merged(base, own map[string]string) map[string]string {
	if len(own) == 0 {
		return base
	}
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, own)
	return all
}
