// Package faultfs shows a directory at a second place through FUSE, as a file system that fails on demand while it is in
// use: with errors, by hanging, or by being slow. Without a fault it passes everything on: links, renames, syncs, direct
// I/O, mappings, allocation, extended attributes. Nothing is cached across an open, and nothing is written late, so several
// such file systems over one directory agree as the clients of a network file system do.
package faultfs

import (
	"fmt"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is a mounted file system.
type FS struct {
	gate   *gate
	holds  *holds
	server *fuse.Server
}

// Mount shows directory dir at directory at. It needs root and /dev/fuse.
func Mount(dir, at string) (*FS, error) {
	root, err := fs.NewLoopbackRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	o := &operations{RawFileSystem: fs.NewNodeFS(root, &fs.Options{}), gate: newGate(), holds: newHolds()}
	server, err := fuse.NewServer(o, at, &fuse.MountOptions{
		AllowOther: true, DirectMountStrict: true, FsName: dir, Name: "faultfs", Options: []string{"default_permissions"},
		DisableReadDirPlus: true,
		// With these the kernel would read and write files without asking.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s at %s: %w", dir, at, err)
	}
	go server.Serve() // ends with the mount; Wait waits for it
	if err := server.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount %s at %s: %w", dir, at, err)
	}
	return &FS{gate: o.gate, holds: o.holds, server: server}, nil
}

// Set replaces the fault, also for operations that hang because of the last one.
func (f *FS) Set(fault Fault) { f.gate.set(fault) }

// Hold makes the first operation that fits wait until Release.
func (f *FS) Hold(h Hold) { f.holds.add(h) }

// Held tells whether a hold has found its operation.
func (f *FS) Held(h Hold) bool { return f.holds.has(h) }

// Release ends all holds.
func (f *FS) Release() { f.holds.release() }

// Unmount takes the file system away; it fails while something uses it.
func (f *FS) Unmount() error {
	if err := f.server.Unmount(); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// Wait returns when the file system is no longer mounted anywhere.
func (f *FS) Wait() { f.server.Wait() }
