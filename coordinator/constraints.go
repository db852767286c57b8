package coordinator

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What can be asked of a host beside the attributes of its agent.
const (
	AtHost   = "@host"   // its address
	AtRegion = "@region" // of the agent's fault domain
	AtZone   = "@zone"   // of the agent's fault domain
)

// ConstraintKind says what a constraint asks of an attribute.
type ConstraintKind string

// The kinds. The first three look at one host, the others at where the nodes of the group are.
const (
	Is     ConstraintKind = "is"     // it has one of the values
	IsNot  ConstraintKind = "is not" // it has none of the values, or is not there
	Has    ConstraintKind = "has"    // a list, or a list of ranges, has all of the values in it
	AtMost ConstraintKind = "at most"
	Same   ConstraintKind = "same"   // all nodes are where it has one and the same value
	Spread ConstraintKind = "spread" // a wish: nodes go where its value has fewest nodes
)

// Constraint says on which hosts nodes may be, or should be.
type Constraint struct {
	Attribute string
	Kind      ConstraintKind
	Values    []string // for Is, IsNot and Has
	Max       int      // for AtMost: nodes where the attribute has one value
}

var (
	valuesPattern = regexp.MustCompile(`^(\S+) (is not|is|has) (\S.*)$`)
	mostPattern   = regexp.MustCompile(`^at most ([0-9]+) per (\S+)$`)
	overPattern   = regexp.MustCompile(`^(spread over|same) (\S+)$`)
	namePattern   = regexp.MustCompile(`^(@host|@region|@zone|[A-Za-z0-9_][A-Za-z0-9_.:/-]*)$`)
)

const constraintForms = `use "rack is r1,r2", "rack is not r3", "disks has ssd", "at most 2 per rack", "same rack" or "spread over rack"`

// ParseConstraint reads a constraint as an operator writes it.
func ParseConstraint(text string) (Constraint, error) {
	var c Constraint
	words := strings.Join(strings.Fields(text), " ")
	if m := valuesPattern.FindStringSubmatch(words); m != nil {
		c = Constraint{Attribute: m[1], Kind: ConstraintKind(m[2])}
		for value := range strings.SplitSeq(m[3], ",") {
			c.Values = append(c.Values, strings.TrimSpace(value))
		}
	} else if m := mostPattern.FindStringSubmatch(words); m != nil {
		most, err := strconv.Atoi(m[1])
		if err != nil {
			return c, fmt.Errorf("constraint %q: %s nodes are too many", text, m[1])
		}
		c = Constraint{Attribute: m[2], Kind: AtMost, Max: most}
	} else if m := overPattern.FindStringSubmatch(words); m != nil {
		c = Constraint{Attribute: m[2], Kind: Spread}
		if m[1] == "same" {
			c.Kind = Same
		}
	} else {
		return c, fmt.Errorf("constraint %q is not understood: %s", text, constraintForms)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("constraint %q: %w", text, err)
	}
	return c, nil
}

// ParseConstraints reads several and reports all that are wrong.
func ParseConstraints(texts []string) ([]Constraint, error) {
	var all []Constraint
	var errs []error
	for _, text := range texts {
		c, err := ParseConstraint(text)
		all, errs = append(all, c), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (c Constraint) check() error {
	switch {
	case !namePattern.MatchString(c.Attribute):
		return fmt.Errorf("%q is no name of an attribute: use one that agents have, or %s, %s or %s", c.Attribute, AtHost, AtRegion, AtZone)
	case slices.Contains(c.Values, ""):
		return errors.New("a value is empty: write values as r1,r2")
	case c.Kind == AtMost && c.Max < 1:
		return errors.New("use at least 1")
	case c.Attribute == AtHost && (c.Kind == Same || c.Kind == Spread):
		return fmt.Errorf("nodes can't be %s %s: hosts are shared only as far as --max-per-host allows", c.Kind, AtHost)
	}
	return nil
}

// counts tells whether a constraint depends on where other nodes are, by a value that several hosts share.
func (c Constraint) counts() bool {
	return (c.Kind == AtMost || c.Kind == Same || c.Kind == Spread) && c.Attribute != AtHost
}

// unfit says why no node may be on a host, whatever else runs; empty: one may.
func (c Constraint) unfit(h *Offer) string {
	value, there := h.value(c.Attribute)
	switch c.Kind {
	case Is:
		if !there || !slices.ContainsFunc(c.Values, func(want string) bool { return isOneOf(value, want) }) {
			return fmt.Sprintf("without attribute %s:%s", c.Attribute, strings.Join(c.Values, " or "))
		}
	case IsNot:
		if there && slices.ContainsFunc(c.Values, func(not string) bool { return isOneOf(value, not) }) {
			return fmt.Sprintf("with attribute %s:%s", c.Attribute, strings.Join(c.Values, " or "))
		}
	case Has:
		for _, want := range c.Values {
			if !there || !hasIn(value, want) {
				return fmt.Sprintf("without %s in attribute %s", want, c.Attribute)
			}
		}
	case AtMost, Same:
		if !there {
			return "without attribute " + c.Attribute
		}
	}
	return ""
}

// value is what an offer says of an attribute.
func (o *Offer) value(attribute string) (value string, there bool) {
	if attribute == AtHost {
		return o.Host, true
	}
	value, there = o.Attributes[attribute]
	return value, there
}

// isOneOf compares text as it is, and numbers as numbers; a number may also be wanted between two, as in 2-8.
func isOneOf(value, want string) bool {
	if value == want {
		return true
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return false
	}
	if exact, err := strconv.ParseFloat(want, 64); err == nil {
		return number == exact
	}
	low, high, ok := span(want)
	return ok && low <= number && number <= high
}

// hasIn looks into a list with commas between, as a set, {a,b}, or as text, which is all that agents of Mesos 1.11 take; or into
// ranges, [1-5,7-9].
func hasIn(value, want string) bool {
	inside, ranges := strings.CutPrefix(value, "[")
	if !ranges {
		list := strings.TrimSuffix(strings.TrimPrefix(value, "{"), "}")
		return slices.ContainsFunc(strings.Split(list, ","), func(one string) bool { return isOneOf(one, want) })
	}
	low, high, ok := span(want)
	if !ok {
		number, err := strconv.ParseFloat(want, 64)
		low, high, ok = number, number, err == nil
	}
	return ok && slices.ContainsFunc(strings.Split(strings.TrimSuffix(inside, "]"), ","), func(one string) bool {
		first, last, ok := span(one)
		return ok && first <= low && high <= last
	})
}

// span reads two numbers with a '-' between.
func span(text string) (low, high float64, ok bool) {
	first, last, found := strings.Cut(text, "-")
	low, errLow := strconv.ParseFloat(first, 64)
	high, errHigh := strconv.ParseFloat(last, 64)
	return low, high, found && errLow == nil && errHigh == nil
}

// String writes a constraint as ParseConstraint reads it.
func (c Constraint) String() string {
	switch c.Kind {
	case AtMost:
		return fmt.Sprintf("at most %d per %s", c.Max, c.Attribute)
	case Same:
		return "same " + c.Attribute
	case Spread:
		return "spread over " + c.Attribute
	}
	return fmt.Sprintf("%s %s %s", c.Attribute, c.Kind, strings.Join(c.Values, ","))
}
