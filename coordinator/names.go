package coordinator

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// NodeID numbers the Elasticsearch nodes of a framework from 1; there is no upper bound.
type NodeID int

// Kind says what a volume of a node is for.
type Kind string

// The two volumes of every node.
const (
	Config Kind = "config" // settings of Elasticsearch
	Data   Kind = "data"   // documents
)

var (
	frameworkPattern = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)
	volumePattern    = regexp.MustCompile(`^([a-z][a-z0-9_.-]*[a-z_.-]|[a-z])([1-9][0-9]*)(config|data)$`)
	taskPattern      = regexp.MustCompile(`^(.+)-([1-9][0-9]*)-([1-9][0-9]*)$`)
)

const maxFrameworkName = 40 // characters; leaves room for ID and kind in a volume's name

// CheckFramework reports what is wrong with a framework name. A name that ended in a digit would make volumes ambiguous:
// node 2 of "es1" and node 12 of "es" would share "es12data".
func CheckFramework(name string) error {
	switch {
	case len(name) > maxFrameworkName:
		return fmt.Errorf("framework name %q has %d characters: use at most %d", name, len(name), maxFrameworkName)
	case !frameworkPattern.MatchString(name):
		return fmt.Errorf("framework name %q: use a lower-case letter, then lower-case letters, digits, '_', '.' or '-'", name)
	case isDigit(name[len(name)-1]):
		return fmt.Errorf("framework name %q ends in a digit, which would make volume names ambiguous: end it in a letter", name)
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// NodeName is the Elasticsearch node.name of a node, the same in every life of it.
func NodeName(framework string, id NodeID) string {
	return framework + strconv.Itoa(int(id))
}

// VolumeName names a node's volume. It depends on framework, ID and kind alone, never on host or epoch.
func VolumeName(framework string, id NodeID, kind Kind) string {
	return NodeName(framework, id) + string(kind)
}

// ParseVolumeName takes a volume name apart; ok is false for names that no framework could have made.
func ParseVolumeName(name string) (framework string, id NodeID, kind Kind, ok bool) {
	m := volumePattern.FindStringSubmatch(name)
	if m == nil || len(m[1]) > maxFrameworkName {
		return "", 0, "", false
	}
	n, err := strconv.Atoi(m[2])
	return m[1], NodeID(n), Kind(m[3]), err == nil
}

// TaskID names one launch of a node: a reconciled status brings little else, so it carries all three.
func TaskID(framework string, id NodeID, epoch uint64) string {
	return fmt.Sprintf("%s-%d-%d", framework, id, epoch)
}

// ParseTaskID takes a task ID of this framework apart; ok is false for a task of anybody else.
func ParseTaskID(framework, task string) (id NodeID, epoch uint64, ok bool) {
	m := taskPattern.FindStringSubmatch(task)
	if m == nil || m[1] != framework {
		return 0, 0, false
	}
	n, errID := strconv.Atoi(m[2])
	epoch, errEpoch := strconv.ParseUint(m[3], 10, 64)
	return NodeID(n), epoch, errID == nil && errEpoch == nil
}

// Address joins host and port, with the brackets that an IPv6 host needs.
func Address(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}
