package class

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/lease"
)

func TestAGoodFile(t *testing.T) {
	classes, err := Parse([]byte(`
classes:
- name: hot
  match: "hot[0-9]*data"
  backend: image
  fs: xfs
  size: 200g
  uid: 1000
  gid: 0
  mode: 0750
  mkfs: -m reflink=0
  mount: noatime,largeio
- &small {name: small, match: '/^log[0-9]+(data|config)$/', backend: auto, size: 1GiB}
- {name: asked, match: "", takeover: manual}
- name: rest
  match: "*"
`))
	require.NoError(t, err)
	assert.Equal(t, []Class{
		{Name: "hot", Pattern: glob("hot[0-9]*data"), Backend: "image", FS: "xfs", Size: 200 << 30, UID: 1000, Mode: 0o750, Mkfs: "-m reflink=0", Mount: "noatime,largeio"},
		{Name: "small", Pattern: regexp.MustCompile(`^log[0-9]+(data|config)$`), Backend: "auto", Size: 1 << 30, Mode: 0o755},
		{Name: "asked", Pattern: glob(""), Mode: 0o755, Takeover: lease.Manual},
		{Name: "rest", Pattern: glob("*"), Mode: 0o755},
	}, classes)
	assert.True(t, classes[1].Pattern.MatchString("log12config"))
}

func TestFilesWithoutClasses(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "classes:\n", "classes: []\n", "---\n"} {
		classes, err := Parse([]byte(text))
		assert.NoError(t, err, text)
		assert.Empty(t, classes, text)
	}
}

// All mistakes of a file come at once, each with its line.
func TestMistakes(t *testing.T) {
	_, err := Parse([]byte(`classes:
- name: data
  match: "*data"
  backend: image
  size: 100
  fs: zfs
  colour: red
- name: data
  match: "es*data"
- match: "*data"
  backend: nfs
  takeover: soon
  uid: root
  mode: "99"
- name: two words
  match: "[a"
  size: 1g
  size: 2g
- name: [list]
  match: /(/
- plain
- name: empty
  match: "with space*"
- name: small
  match: small*
  backend: image
  fs: xfs
  size: 10m
  mkfs: -F
  mount: noatime,nobarrier
  uid: nobody
  colour: red
- match: flat*
  mode: "8"
  size: 7
sizes: 1
`))
	assert.EqualError(t, err, strings.Join([]string{
		`line 5: size "100" is not a number with a unit such as 512m, 10g or 1t`,
		`line 6: file system "zfs" is unknown: use ext4 or xfs`,
		`line 7: key "colour" is unknown: a class has backend, fs, gid, match, mkfs, mode, mount, name, size, takeover, trash, uid`,
		`line 8: class data was there before, in line 2: choose another name`,
		`line 9: match "es*data" is never reached: "*data" in line 3 matches all of it before; put the narrower one first`,
		`line 10: a class without name: it needs name and match`,
		`line 10: match "*data" was there before, in line 3: the first class that matches counts`,
		`line 11: backend "nfs" is unknown: use dir, image or auto`,
		`line 12: takeover "soon" is unknown: use auto, manual or never`,
		`line 13: uid "root" is not a number such as 1000`,
		`line 14: mode "99" is not an octal number such as 0770`,
		`line 15: name "two words" is not allowed: use a letter or digit, then up to 127 letters, digits, '_', '.' or '-'`,
		`line 16: match "[a" is not a pattern such as *[0-9]data, nor a regular expression between slashes: syntax error in pattern`,
		`line 17: size takes an image, and volumes of this class would be directories: add backend: image or auto, or leave size out`,
		`line 18: key size was there before, in line 17`,
		`line 19: key name takes one value`,
		"line 20: match \"/(/\" is not a regular expression between slashes: error parsing regexp: missing closing ): `(`",
		`line 21: a class has keys, such as name and match`,
		`line 23: match "with space*" fits no name of a volume: names have only letters, digits, '_', '.' and '-'`,
		`line 28: size of 10485760 bytes is too small for xfs: use at least 300m`,
		`line 29: mkfs option "-F" cannot be chosen for xfs: use -i size=N, -i maxpct=N, -l size=N, -n size=N, -d agcount=N, -m reflink=0, -m rmapbt=0`,
		`line 30: mount option "nobarrier" cannot be chosen for xfs: use noatime, nodiratime, relatime, strictatime, lazytime, nodev, nosuid, noexec, logbsize=N, logbufs=N, allocsize=N, largeio, swalloc, inode32, inode64`,
		`line 31: uid "nobody" is not a number such as 1000`,
		`line 32: key "colour" is unknown: a class has backend, fs, gid, match, mkfs, mode, mount, name, size, takeover, trash, uid`,
		`line 33: a class without name: it needs name and match`,
		`line 34: mode "8" is not an octal number such as 0770`,
		`line 35: size "7" is not a number with a unit such as 512m, 10g or 1t`,
		`line 35: size takes an image, and volumes of this class would be directories: add backend: image or auto, or leave size out`,
		`line 36: key "sizes" is unknown: a classes file has classes`,
	}, "; "))
}

func TestOneMistake(t *testing.T) {
	for text, want := range map[string]string{
		"classes: 7\n":                  `line 1: classes takes a list of classes, each beginning with "- "`,
		"- name: x\n":                   `line 1: the file has no key "classes": it begins with "classes:"`,
		"classes: [\n":                  "not YAML: line 1: did not find expected node content",
		"classes: []\n---\nclasses: []": "line 2: a second document: put all classes into the first",
		"classes:\n- {name: a, match: a*, size: 1g}": "line 2: size takes an image, and volumes of class a would be directories: " +
			"add backend: image or auto, or leave size out",
		"classes:\n- {name: a, match: a*, backend: dir, fs: xfs}":              "line 2: fs takes an image, and volumes of class a would be directories: add backend: image or auto, or leave fs out",
		"classes:\n- {name: a, match: a*, backend: image, fs: xfs, size: 10m}": "line 2: size of 10485760 bytes is too small for xfs: use at least 300m",
		"classes:\n- {name: a, match: a*, mount: noatime}":                     "line 2: mount takes an image, and volumes of class a would be directories: add backend: image or auto, or leave mount out",
		"classes:\n- {name: a, match: a*, backend: image, mkfs: -I 512 -F}\n- name: b\n  match: b\n  backend: auto\n  mount: noatime,nobarrier": `line 2: mkfs option "-F" cannot be chosen for ext4: ` +
			`use -i N, -I N, -N N, -J size=N, -J fast_commit_size=N, -O fast_commit; line 6: mount option "nobarrier" cannot be chosen for ext4: use noatime, nodiratime, relatime, ` +
			"strictatime, lazytime, nodev, nosuid, noexec, commit=N, stripe=N, nodelalloc, data=ordered, data=journal, nodiscard",
		"classes:\n- {name: a, match: a*, backend: image, size: }": `line 2: size "" is not a number with a unit such as 512m, 10g or 1t`,
		"classes:\n- {name: a, match: a*, <<: {uid: 1}}":           `line 2: key "<<" is unknown: a class has backend, fs, gid, match, mkfs, mode, mount, name, size, takeover, trash, uid`,
		"\xff": "not YAML: invalid leading UTF-8 octet",
	} {
		classes, err := Parse([]byte(text))
		assert.EqualError(t, err, want, text)
		assert.Nil(t, classes)
	}
}

func TestPatternsThatAreNeverReached(t *testing.T) {
	for _, row := range []struct {
		first, second string
		covered       bool
	}{
		{"*", "a", true}, {"**", "/^a$/", true}, {"//", "a*", true}, {"/.*/", "*", true}, {"/^.*$/", "/b/", true},
		{"*data", "es*data", true}, {"es*", "es[0-9]*data", true}, {"a?c", "a[xyz]c", true}, {"a[a-z]c", "abc", true},
		{"[^b]x", "ax", true}, {"?", `[a-zA-Z0-9_.\-]`, true}, {`[a-zA-Z0-9_.\-]`, "?", true}, {`a\b`, "ab", true}, {"*a*b*", "xa*yb", true},
		{"/a{2}/", "/aa/", true}, {"/^es/", "/^es/", true},
		{"es*data", "*data", false}, {"a?c", "a*c", false}, {"a[xy]c", "a?c", false}, {"[^b]x", "bx", false}, {"*a*b", "b*a", false}, {"ab", "abc", false},
		{"abc", "ab", false}, {"*x", "x*", false}, {"a*", "", false}, {"", "a*", false}, {"", "", false}, {"*", "", false},
		{"/^es/", "es*", false}, {"es*", "/^es1$/", false}, {"/^a/", "/a/", false},
	} {
		first, err := parsePattern(row.first)
		require.NoError(t, err)
		second, err := parsePattern(row.second)
		require.NoError(t, err)
		assert.Equal(t, row.covered, covers(first, second), "%q before %q", row.first, row.second)
	}
}

// What covers says is held against all short names over a few characters.
func TestCoversIsNeverWrong(t *testing.T) {
	pieces := []string{"", "*", "?", "a", "[ab]", "[^a]"}
	var globs []glob
	for _, x := range pieces {
		for _, y := range pieces {
			for _, z := range pieces {
				globs = append(globs, glob(x+y+z))
			}
		}
	}
	names, last := []string{}, []string{""}
	for range 4 {
		var longer []string
		for _, name := range last {
			longer = append(longer, name+"a", name+"b", name+"c")
		}
		names, last = append(names, longer...), longer
	}
	matches := map[glob][]bool{}
	for _, g := range globs {
		for _, name := range names {
			matches[g] = append(matches[g], g.MatchString(name))
		}
	}
	agreed := 0
	for _, a := range globs {
		for _, b := range globs {
			if !covers(a, b) {
				continue
			}
			agreed++
			for i, name := range names {
				require.False(t, matches[b][i] && !matches[a][i], "%q is said to cover %q, but %s", a, b, name)
			}
		}
	}
	assert.Greater(t, agreed, 1000)
}

func TestBefore(t *testing.T) {
	names := func(classes []Class) []string {
		var names []string
		for _, c := range classes {
			names = append(names, c.Name)
		}
		return names
	}
	assert.Equal(t, []string{"anonymous", "data", "config", "default"}, names(Before(nil, BuiltIn())))
	assert.Equal(t, []string{"logs", "data", "anonymous", "config", "default"}, names(Before([]Class{{Name: "logs"}, {Name: "data"}}, BuiltIn())))
}

// The documentation's example is one.
func TestTheDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/classes.md")
	require.NoError(t, err)
	_, example, found := strings.Cut(string(text), "```yaml\n")
	require.True(t, found)
	example, _, _ = strings.Cut(example, "```")
	classes, err := Parse([]byte(example))
	require.NoError(t, err)
	assert.NotEmpty(t, classes)
	for key := range setters() {
		assert.Regexp(t, "(?m)^\\| .*`"+key+"`.* \\| ", string(text), "a line of the table")
		assert.Contains(t, example, " "+key+": ", "an example of everything")
	}
}
