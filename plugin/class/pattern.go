package class

import (
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Pattern tells which names a class is for.
type Pattern interface {
	MatchString(name string) bool
}

// glob is a pattern as shells have them: * is any text, ? one character, [a-f0-9] one of these and [^a-f] one of the others.
type glob string

// MatchString tells whether the whole name fits.
func (g glob) MatchString(name string) bool {
	fits, _ := path.Match(string(g), name) // parsePattern has seen that the pattern is a right one
	return fits
}

// parsePattern reads a glob, or a regular expression between slashes.
func parsePattern(text string) (Pattern, error) {
	if len(text) > 1 && strings.HasPrefix(text, "/") && strings.HasSuffix(text, "/") {
		expression, err := regexp.Compile(text[1 : len(text)-1])
		if err != nil {
			return nil, fmt.Errorf("match %q is not a regular expression between slashes: %w", text, err)
		}
		return expression, nil
	}
	if _, err := path.Match(text, ""); err != nil {
		return nil, fmt.Errorf(`match %q is not a pattern such as *[0-9]data, nor a regular expression between slashes: %w`, text, err)
	}
	if slices.ContainsFunc(glob(text).parts(), part.impossible) {
		return nil, fmt.Errorf("match %q fits no name of a volume: names have only letters, digits, '_', '.' and '-'", text)
	}
	return glob(text), nil
}

// characters are those of names.
const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

// part is one piece of a glob: any text, or one of some characters.
type part struct {
	text bool
	one  [len(characters)]bool
}

func (p part) impossible() bool { return !p.text && p.one == [len(characters)]bool{} }

// within tells whether each character of p is one of q's.
func (p part) within(q part) bool {
	for i, has := range p.one {
		if has && !q.one[i] {
			return false
		}
	}
	return true
}

// parts takes a right glob to pieces.
func (g glob) parts() []part {
	var parts []part
	for rest := string(g); rest != ""; {
		length := 1
		switch rest[0] {
		case '\\':
			length = 2
		case '[':
			length = setLength(rest)
		}
		p := part{text: rest[0] == '*'}
		for i := range p.one {
			p.one[i] = glob(rest[:length]).MatchString(characters[i : i+1])
		}
		parts, rest = append(parts, p), rest[length:]
	}
	return parts
}

// setLength is that of "[…]".
func setLength(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ']':
			return i + 1
		}
	}
	return len(text)
}

// covers tells whether each name that matches b certainly matches a, too. Two regular expressions are compared by what they
// say, not by what they mean, so false is no promise.
func covers(a, b Pattern) bool {
	if b == glob("") {
		return false // chosen by option only
	}
	if everything(a) {
		return true
	}
	switch a := a.(type) {
	case *regexp.Regexp:
		b, also := b.(*regexp.Regexp)
		return also && simple(a) == simple(b)
	case glob:
		b, also := b.(glob)
		return also && cover(a.parts(), b.parts())
	}
	return false
}

// everything tells whether a pattern obviously matches every name.
func everything(p Pattern) bool {
	switch p := p.(type) {
	case *regexp.Regexp:
		return slices.Contains([]string{"(?:)", ".*", ".+", "^", "$", "^.*", ".*$", "^.*$", "^.+$"}, p.String()) || p.String() == ""
	case glob:
		return p != "" && strings.Trim(string(p), "*") == ""
	}
	return false
}

// simple writes equal regular expressions alike, as far as that is simple.
func simple(r *regexp.Regexp) string {
	tree, err := syntax.Parse(r.String(), syntax.Perl)
	if err != nil {
		return r.String()
	}
	return tree.Simplify().String()
}

// cover goes through two globs from the right; row j is whether the rest of a covers b from j on.
func cover(a, b []part) bool {
	row := make([]bool, len(b)+1)
	row[len(b)] = true
	for i := len(a) - 1; i >= 0; i-- {
		next := row
		row = make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case a[i].text:
				row[j] = next[j] || j < len(b) && row[j+1]
			case j < len(b) && !b[j].text:
				row[j] = b[j].within(a[i]) && next[j+1]
			}
		}
	}
	return row[0]
}
