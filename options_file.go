package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// optionsLimit is far beyond any options file.
const optionsLimit = 1 << 20

// optionsFile names a YAML file with options of the command by their names, or is - for standard input. What is on the command
// line or in the environment counts before it.
type optionsFile string

// BeforeResolve reads the file; kong calls it.
func (f optionsFile) BeforeResolve(c *kong.Context, trace *kong.Path) error {
	path := string(c.FlagValue(trace.Flag).(optionsFile))
	values, mistakes := readOptionsFile(path, c.Selected())
	if len(mistakes) > 0 {
		return fmt.Errorf("options file %s is refused: %w", path, mistakes)
	}
	c.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if slices.ContainsFunc(flag.Envs, func(name string) bool { return os.Getenv(name) != "" }) {
			return nil, nil
		}
		return values[flag.Name], nil
	}))
	return nil
}

func readOptionsFile(path string, command *kong.Node) (map[string]any, mistakes) {
	text, err := readOptionsText(path)
	if err != nil {
		return nil, mistakes{err.Error()}
	}
	values, mistakes := readOptions(text, command)
	if path != "-" {
		inDirectory(values, filepath.Dir(path))
	}
	return values, mistakes
}

// readOptionsText returns the content of a file, or standard input.
func readOptionsText(path string) ([]byte, error) {
	in := os.Stdin
	if path != "-" {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", path)
		}
		if in, err = os.Open(path); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	text, err := io.ReadAll(io.LimitReader(in, optionsLimit+1))
	if err == nil && len(text) > optionsLimit {
		err = fmt.Errorf("%s is larger than %d bytes", path, optionsLimit)
	}
	return text, err
}

// inDirectory makes names of files absolute that are relative to the directory of the options file.
func inDirectory(values map[string]any, dir string) {
	for name, value := range values {
		if path, is := value.(string); is && strings.HasSuffix(name, "-file") && path != "" && !filepath.IsAbs(path) {
			values[name] = filepath.Join(dir, path)
		}
	}
}

// mistakes are all that is wrong with options.
type mistakes []string

func (m mistakes) Error() string { return strings.Join(m, "; ") }

// add notes an error, each line of a joined one by itself.
func (m *mistakes) add(err error) {
	if err != nil {
		*m = append(*m, strings.Split(err.Error(), "\n")...)
	}
}

// readOptions reads options of a command by their names, in YAML. What it returns kong can decode: text, lists and maps of text.
func readOptions(text []byte, command *kong.Node) (map[string]any, mistakes) {
	var wrong mistakes
	root, err := parseYAML(text)
	if err != nil || root == nil {
		wrong.add(err)
		return map[string]any{}, wrong
	}
	values, lines := map[string]any{}, map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], follow(root.Content[i+1])
		flag := optionOf(command, key.Value)
		switch {
		case flag == nil:
			wrong = append(wrong, fmt.Sprintf("line %d: option %q is unknown, see `mooring %s --help`", key.Line, key.Value, command.Name))
			continue
		case lines[flag.Name] > 0:
			wrong = append(wrong, fmt.Sprintf("line %d: option %s was there before, in line %d", key.Line, flag.Name, lines[flag.Name]))
			continue
		}
		lines[flag.Name] = key.Line
		value, err := optionValue(flag, node)
		if err == nil {
			_, err = decodeOption(flag, value)
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("line %d: %s: %s", key.Line, key.Value, strings.TrimPrefix(err.Error(), "--"+flag.Name+": ")))
			continue
		}
		values[flag.Name] = value
	}
	return values, wrong
}

// parseYAML returns the mapping that a text is; nil if it is empty.
func parseYAML(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document: put all options into the first")
	}
	root := follow(document.Content[0])
	switch {
	case isNothing(root):
		return nil, nil
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("line %d: no option: each is a line such as `nodes: 3`", root.Line)
	}
	return root, nil
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNothing(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// optionOf finds an option by its name, or the one that it has in the Java framework; nil if there is none that a file may have.
func optionOf(command *kong.Node, name string) *kong.Flag {
	for _, flag := range command.Flags {
		_, file := flag.Target.Interface().(optionsFile)
		if !file && (flag.Name == name || slices.Contains(flag.Aliases, name)) {
			return flag
		}
	}
	return nil
}

// optionValue is what a file says for an option: one value, a list, or names with values.
func optionValue(flag *kong.Flag, n *yaml.Node) (any, error) {
	switch {
	case isNothing(n):
		return nil, errors.New("it has no value")
	case flag.IsMap() && n.Kind == yaml.MappingNode:
		named := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := follow(n.Content[i+1])
			if value.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("%s takes one value", n.Content[i].Value)
			}
			named[n.Content[i].Value] = value.Value
		}
		return named, nil
	case flag.IsMap():
		return nil, errors.New("it takes names and values, such as {name: value}")
	case flag.IsSlice() && n.Kind == yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			if item = follow(item); item.Kind != yaml.ScalarNode {
				return nil, errors.New("it takes a list of single values")
			}
			list = append(list, item.Value)
		}
		return list, nil
	case n.Kind != yaml.ScalarNode:
		return nil, errors.New("it takes one value")
	case flag.IsSlice():
		return []any{n.Value}, nil
	}
	return n.Value, nil
}

// decodeOption turns what a file says into the option's type, and checks it as far as it can be alone.
func decodeOption(flag *kong.Flag, value any) (reflect.Value, error) {
	into := reflect.New(flag.Target.Type()).Elem()
	was := flag.Set // which Parse changes
	err := flag.Parse(kong.Scan().PushTyped(value, kong.FlagValueToken), into)
	if flag.Set = was; err != nil {
		return into, err
	}
	if text, is := value.(string); is && flag.Enum != "" && !flag.EnumMap()[text] {
		return into, fmt.Errorf("%q is none of %s", text, strings.Join(flag.EnumSlice(), ", "))
	}
	return into, nil
}
