// Package guard keeps a host from writing what it may no longer write. A guard is a small process that
// outlives the plugin: it keeps the host's heartbeat, knows the volumes that are mounted here, and when
// it cannot confirm the heartbeat, or finds that another host has a volume's lease, it fences: kills
// every process that has the volume mounted, then unmounts it. It asks neither the engine nor the
// plugin, and no step of it waits for the store.
//
// Guard (guard.go) decides and keeps what is watched and fenced; fence.go does it to the kernel; Run
// (process.go, server.go, handover.go) makes it a process with a socket; Client is the plugin's end of
// that socket, and Alone stands in where no process is wanted.
package guard
