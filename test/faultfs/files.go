package faultfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Flush is not implemented, so the kernel does not ask again: nothing is left to write when a file is closed, and a process
// that was killed must be able to end while the file system hangs.
func (o *operations) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Writev leaves the work to Write.
func (o *operations) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (o *operations) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return 0, s
	}
	return o.RawFileSystem.GetXAttr(cancel, header, attr, dest)
}

func (o *operations) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return 0, s
	}
	return o.RawFileSystem.ListXAttr(cancel, header, dest)
}

func (o *operations) SetXAttr(cancel <-chan struct{}, input *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.RawFileSystem.SetXAttr(cancel, input, attr, data)
}

func (o *operations) RemoveXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string) fuse.Status {
	if s := o.enter(cancel, header, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.RemoveXAttr(cancel, header, attr)
}

func (o *operations) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	input.Flags &^= unix.O_DIRECT // ours is not aligned; the kernel keeps the caller's promise
	return o.holds.around(cancel, input.Pid, Create, o.holds.name(input.NodeId, name), func() fuse.Status {
		status := o.RawFileSystem.Create(cancel, input, name, out)
		o.holds.see(out.NodeId, input.NodeId, name, status)
		return status
	})
}

func (o *operations) Tmpfile(cancel <-chan struct{}, input *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Tmpfile(cancel, input, out)
}

func (o *operations) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	input.Flags &^= unix.O_DIRECT // ours is not aligned; the kernel keeps the caller's promise
	return o.holds.around(cancel, input.Pid, Open, o.holds.name(input.NodeId), func() fuse.Status {
		return o.RawFileSystem.Open(cancel, input, out)
	})
}

func (o *operations) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return nil, s
	}
	var result fuse.ReadResult
	status := o.holds.around(cancel, input.Pid, access(input.Pid, "read"), o.holds.name(input.NodeId), func() (status fuse.Status) {
		result, status = o.RawFileSystem.Read(cancel, input, buf)
		return status
	})
	return result, status
}

func (o *operations) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if s := o.enter(cancel, &in.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Lseek(cancel, in, out)
}

func (o *operations) Write(cancel <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if s := o.enter(cancel, &input.InHeader, o.grows(cancel, input)); !s.Ok() {
		return 0, s
	}
	var written uint32
	status := o.holds.around(cancel, input.Pid, access(input.Pid, Write), o.holds.name(input.NodeId), func() (status fuse.Status) {
		written, status = o.RawFileSystem.Write(cancel, input, data)
		return status
	})
	return written, status
}

func (o *operations) CopyFileRange(cancel <-chan struct{}, input *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return 0, s
	}
	return o.RawFileSystem.CopyFileRange(cancel, input)
}

func (o *operations) Fsync(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.holds.around(cancel, input.Pid, access(input.Pid, "sync"), o.holds.name(input.NodeId), func() fuse.Status {
		return o.RawFileSystem.Fsync(cancel, input)
	})
}

func (o *operations) Fallocate(cancel <-chan struct{}, input *fuse.FallocateIn) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsSpace); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Fallocate(cancel, input)
}

func (o *operations) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.OpenDir(cancel, input, out)
}

func (o *operations) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.ReadDir(cancel, input, out)
}

func (o *operations) ReadDirPlus(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.ReadDirPlus(cancel, input, out)
}

func (o *operations) FsyncDir(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.FsyncDir(cancel, input)
}

func (o *operations) StatFs(cancel <-chan struct{}, input *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if s := o.enter(cancel, input, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.StatFs(cancel, input, out)
}

func (o *operations) Statx(cancel <-chan struct{}, input *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if s := o.enter(cancel, &input.InHeader, needsNone); !s.Ok() {
		return s
	}
	return o.RawFileSystem.Statx(cancel, input, out)
}

// grows tells whether a write makes its file longer.
func (o *operations) grows(cancel <-chan struct{}, input *fuse.WriteIn) bool {
	if fault, _ := o.gate.current(); fault.Kind != ENOSPC {
		return needsNone
	}
	var attr fuse.AttrOut
	status := o.RawFileSystem.GetAttr(cancel, &fuse.GetAttrIn{InHeader: input.InHeader}, &attr)
	return !status.Ok() || input.Offset+uint64(input.Size) > attr.Size
}
