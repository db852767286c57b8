package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"mooring/coordinator"
)

// CheckRoles reports every role that Mesos would refuse (Mesos 1.11: roles.cpp), where it would say so only in an event that ends
// the subscription.
func CheckRoles(roles []string) error {
	var errs []error
	for i, role := range roles {
		if err := checkRole(role); err != nil {
			errs = append(errs, err)
		} else if slices.Contains(roles[:i], role) {
			errs = append(errs, fmt.Errorf("role %q is given twice: give it once", role))
		}
	}
	return errors.Join(errs...)
}

func checkRole(role string) error {
	if role == "*" {
		return nil
	}
	for part := range strings.SplitSeq(role, "/") {
		switch {
		case part == "" || part == "." || part == ".." || part == "*":
			return fmt.Errorf("role %q: use a name such as search, or several with / between them; or * alone", role)
		case strings.HasPrefix(part, "-") || strings.ContainsFunc(part, func(r rune) bool { return unicode.IsSpace(r) || r == '\b' }):
			return fmt.Errorf("role %q: leave out blanks, and a '-' in front", role)
		}
	}
	return nil
}

// suppressed are the roles to which a state wants no offers. It may be of a time with other roles.
func (o Options) suppressed(s coordinator.State) []string {
	var roles []string
	for _, role := range o.Roles {
		if s.Suppressed || slices.Contains(s.Quiet, role) {
			roles = append(roles, role)
		}
	}
	return roles
}
