package elasticsearch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	rolesKey = "node.roles" // since 7.9; before that one setting for each role
	master   = "master"
	voting   = "voting_only"
)

// since says from which version on a role can be given to a node (docs: node settings, and the release notes of 7.9, 7.10 and 7.12).
var since = map[string]Version{
	master: {7, 7, 0}, "data": {7, 7, 0}, "ingest": {7, 7, 0}, "ml": {7, 7, 0}, voting: {7, 7, 0}, "transform": {7, 7, 0}, "remote_cluster_client": {7, 7, 0},
	"data_content": {7, 10, 0}, "data_hot": {7, 10, 0}, "data_warm": {7, 10, 0}, "data_cold": {7, 10, 0}, "data_frozen": {7, 12, 0},
}

// flags are the settings of roles before 7.9, in the order in which they are written.
var flags = []struct{ role, key string }{
	{master, "node.master"}, {"data", "node.data"}, {"ingest", "node.ingest"}, {"ml", "node.ml"}, {voting, "node.voting_only"},
	{"transform", "node.transform"}, {"remote_cluster_client", "cluster.remote.connect"},
}

// CheckRoles reports every role that no supported version has. No roles make a node that only coordinates.
func CheckRoles(roles []string) error {
	var errs []error
	for i, role := range roles {
		if _, known := since[role]; !known {
			errs = append(errs, fmt.Errorf("role %q of Elasticsearch is unknown: use %s", role, strings.Join(slices.Sorted(maps.Keys(since)), ", ")))
		} else if slices.Contains(roles[:i], role) {
			errs = append(errs, fmt.Errorf("role %q is given twice: give it once", role))
		}
	}
	if slices.Contains(roles, voting) && !slices.Contains(roles, master) {
		errs = append(errs, fmt.Errorf("role %q goes with role %q only: give both", voting, master))
	}
	return errors.Join(errs...)
}

// CanBeElected tells whether a node may become master, by its roles (nil: those that Elasticsearch gives by itself) and by settings
// of the user.
func CanBeElected(roles []string, more map[string]string) bool {
	if text, given := more[rolesKey]; given && roles == nil {
		roles = []string{}
		for role := range strings.SplitSeq(strings.Trim(text, "[] "), ",") {
			roles = append(roles, strings.Trim(role, ` "'`))
		}
	}
	if roles == nil {
		return more["node.master"] != "false"
	}
	return slices.Contains(roles, master) && !slices.Contains(roles, voting)
}

// CheckRoleSettings refuses settings of the user that say again, or otherwise, what the roles of a node say.
func CheckRoleSettings(roles []string, more map[string]string) error {
	if roles == nil {
		return nil
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(more)) {
		if key == rolesKey || slices.ContainsFunc(flags, func(f struct{ role, key string }) bool { return f.key == key }) {
			errs = append(errs, fmt.Errorf("setting %q of Elasticsearch, and roles are given: leave the setting out", key))
		}
	}
	return errors.Join(errs...)
}

// roles writes what makes a node of this version have its roles.
func (v Version) roles(roles []string, line func(key string, value any)) error {
	if roles == nil {
		return nil
	}
	for _, role := range roles {
		if first := since[role]; v.Less(first) {
			return fmt.Errorf("role %q of Elasticsearch is there from %s on, this is %s", role, first, v)
		}
	}
	if !v.Less(Version{7, 9, 0}) {
		line(rolesKey, roles)
		return nil
	}
	for _, f := range flags {
		line(f.key, slices.Contains(roles, f.role))
	}
	return nil
}
