package store

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 10GiB; all units are powers of 1024, as in "docker run --memory".
type Size int64

const units = "kmgt"

var sizePattern = regexp.MustCompile(`^([0-9]+)([kmgt])(i?b)?$`)

func (s Size) String() string {
	unit := ""
	for _, u := range units {
		if s == 0 || s%1024 != 0 {
			break
		}
		s, unit = s/1024, strings.ToUpper(string(u))+"iB"
	}
	return strconv.FormatInt(int64(s), 10) + unit
}

// MarshalText writes the size with the largest unit that fits.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number and a unit: 512m, 10g, 10GB or 10GiB. A size without a unit is an error, since
// nobody means bytes.
func (s *Size) UnmarshalText(text []byte) error {
	match := sizePattern.FindStringSubmatch(strings.ToLower(string(text)))
	if match == nil {
		return fmt.Errorf("size %q is not a number with a unit such as 512m, 10g or 1t", text)
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	shift := 10 * (1 + strings.Index(units, match[2]))
	if err != nil || n > math.MaxInt64>>shift {
		return fmt.Errorf("size %q is too large", text)
	}
	*s = Size(n << shift)
	return nil
}
