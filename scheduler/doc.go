// Package scheduler is the Mesos side: it subscribes to the leading master, turns its events into those of package coordinator,
// has each decision saved and only then carries it out. It decides nothing about nodes itself.
//
// One goroutine owns the state (see loop); another holds the subscription (see subscriber), and one per subscription sends all
// calls in order, acknowledgements in a row side by side (see connection). Where masters are is either told or watched in ZooKeeper (see detector). The pure parts are
// translate.go (events), status.go (task states), carve.go (resources) and launch.go (tasks).
//
// Facts about Mesos are those of version 1.11, v1 scheduler API. mesos-go brings types, codecs and call builders. Its client is
// not used: it leaves a redirected subscription at its next call, and reads no event above 4 MiB.
package scheduler
