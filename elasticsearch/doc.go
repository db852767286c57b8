// Package elasticsearch knows what differs between versions of Elasticsearch: which settings are written for the version about
// to start, how much heap fits, and what a running node answers. It renders and reads; it never touches a disk or a process.
//
// Supported are 7 from 7.7 on, 8 and 9. Unknown settings stop every one of them at its start, so a file is always rendered
// for one version, and values are written as JSON strings, which are valid YAML whatever they contain.
package elasticsearch
