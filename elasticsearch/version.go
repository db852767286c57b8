package elasticsearch

import (
	"cmp"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
)

// Version is a release of Elasticsearch, such as 8.19.5.
type Version struct{ Major, Minor, Patch int }

const newestMajor = 9

var (
	versionPattern = regexp.MustCompile(`^([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})(?:-[A-Za-z0-9.]+)?$`)
	jarPattern     = regexp.MustCompile(`^elasticsearch-([0-9]+\.[0-9]+\.[0-9]+(?:-[A-Za-z0-9.]+)?)\.jar$`)
)

// ParseVersion reads "8.19.5"; a suffix such as "-SNAPSHOT" is passed over.
func ParseVersion(text string) (Version, error) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("version %q of Elasticsearch: write it as 8.19.5", text)
	}
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // at most four digits, by the pattern
		return n
	}
	return Version{number(m[1]), number(m[2]), number(m[3])}, nil
}

// FindVersion finds the version of an Elasticsearch installation by its main library, lib/elasticsearch-VERSION.jar.
func FindVersion(home fs.FS) (Version, error) {
	entries, err := fs.ReadDir(home, "lib")
	if err != nil {
		return Version{}, fmt.Errorf("look for Elasticsearch's libraries: %w", err)
	}
	for _, e := range entries {
		if m := jarPattern.FindStringSubmatch(e.Name()); m != nil {
			return ParseVersion(m[1])
		}
	}
	return Version{}, fmt.Errorf("no lib/elasticsearch-VERSION.jar in the image: use an image of Elasticsearch")
}

// Check refuses versions that this package has no settings for. Files in jvm.options.d are read from 7.7 on.
func (v Version) Check() error {
	if v.Less(Version{7, 7, 0}) || v.Major > newestMajor {
		return fmt.Errorf("version %s of Elasticsearch is not supported: use 7.7 or later, 8 or 9", v)
	}
	return nil
}

// Less says whether v is older than w.
func (v Version) Less(w Version) bool {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch)) < 0
}

// String gives the version as Elasticsearch writes it.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }
