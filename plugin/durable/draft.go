package durable

import "regexp"

// draftName is what writeTemporary calls its files.
var draftName = regexp.MustCompile(`^\.(.+)\.[0-9]+$`)

// Draft tells whether a file name is that of a temporary file of Write or Create, and of which file it is.
func Draft(name string) (of string, is bool) {
	match := draftName.FindStringSubmatch(name)
	if match == nil {
		return "", false
	}
	return match[1], true
}
