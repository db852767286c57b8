// Package plugin is a Docker volume driver whose volumes have one writer: the host that holds the
// volume's lease. It answers the engine on a socket, keeps volumes in a store that hosts may share,
// and takes the kernel's mount table, not its own memory, for the truth about who uses a volume.
//
// Start at Run for the process, at Driver for the verbs. Every verb goes the same way: lock the volume,
// decide, make the decision durable, act, answer; each file named after a verb is one of them. The
// sub-packages each hold one concern: lease (who may write), store (what hosts share), statelog (what
// this host must still know after a crash), mounts (the kernel's view), backend (where the bytes are).
package plugin
