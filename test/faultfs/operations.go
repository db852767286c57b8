package faultfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
)

// operations is the directory's own file system behind the gate. What has no answer (forget, release) is not held up.
type operations struct {
	fuse.RawFileSystem
	gate  *gate
	holds *holds
}

const (
	needsNone  = false
	needsSpace = true
)

func (o *operations) enter(cancel <-chan struct{}, h *fuse.InHeader, needSpace bool) fuse.Status {
	return o.gate.pass(request{caller: h.Pid, cancel: cancel, needSpace: needSpace})
}

// On names.

func (o *operations) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return s
	}
	status := o.RawFileSystem.Lookup(cancel, header, name, out)
	o.holds.see(out.NodeId, header.NodeId, name, status)
	return status
}

// GetAttr answers whoever is outside of this file system's PID namespace, for which FUSE has the number 0, whatever is wrong:
// simulated hosts share a kernel, and one that looks through its loop devices asks about the files of all.
func (o *operations) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if input.Pid != 0 {
		if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
			return s
		}
	}
	return o.RawFileSystem.GetAttr(cancel, input, out)
}

func (o *operations) SetAttr(cancel <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.SetAttr(cancel, input, out)
}

func (o *operations) Mknod(cancel <-chan struct{}, input *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Mknod(cancel, input, name, out)
}

func (o *operations) Mkdir(cancel <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.holds.around(cancel, input.Pid, Mkdir, o.holds.name(input.NodeId, name), func() fuse.Status {
		status := o.RawFileSystem.Mkdir(cancel, input, name, out)
		o.holds.see(out.NodeId, input.NodeId, name, status)
		return status
	})
}

func (o *operations) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Unlink(cancel, header, name)
}

func (o *operations) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Rmdir(cancel, header, name)
}

func (o *operations) Rename(cancel <-chan struct{}, input *fuse.RenameIn, oldName string, newName string) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.holds.around(cancel, input.Pid, Rename, o.holds.name(input.Newdir, newName), func() fuse.Status {
		return o.RawFileSystem.Rename(cancel, input, oldName, newName)
	})
}

func (o *operations) Link(cancel <-chan struct{}, input *fuse.LinkIn, filename string, out *fuse.EntryOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.holds.around(cancel, input.Pid, Link, o.holds.name(input.NodeId, filename), func() fuse.Status {
		status := o.RawFileSystem.Link(cancel, input, filename, out)
		o.holds.see(out.NodeId, input.NodeId, filename, status)
		return status
	})
}

func (o *operations) Symlink(cancel <-chan struct{}, header *fuse.InHeader, pointedTo string, linkName string, out *fuse.EntryOut) fuse.Status {
	if s := o.enter(cancel, header, needsSpace); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Symlink(cancel, header, pointedTo, linkName, out)
}

func (o *operations) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return nil, s
	}
	return o.RawFileSystem.Readlink(cancel, header)
}

func (o *operations) Access(cancel <-chan struct{}, input *fuse.AccessIn) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Access(cancel, input)
}
