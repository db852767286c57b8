// Package cell makes one Linux machine look like several hosts, for tests and for people to play with.
//
// A host has what a host has: a network namespace with an address of its own, a process tree, a /run, a name and a boot ID,
// a Docker engine with its managed plugins, a Mesos agent. Hosts share the machine's kernel, clock and disk, hence the one
// directory Store that stands for a shared file system. A Mesos master runs in the namespace called switch, which joins them.
//
// Addresses are 127.0.1.N on veth pairs, with route_localnet: Elasticsearch takes every 127.x address for loopback and does
// not enforce its bootstrap checks there. The address 127.0.1.254 is the switch's own; clients, the scheduler included, run there.
//
// What runs on a host is one PID namespace, so nothing outlives a killed host, and one control group in every hierarchy, so
// all of it can be frozen. Everything a cell leaves on the machine (processes, namespaces, control groups, mounts, loop
// devices) can be found again from its directory alone: Down needs nothing else and also clears away a half-made cell.
//
// One kernel cannot show everything: a frozen host's file systems stay mounted and its dirty pages are still written.
//
// Start at Up.
package cell
