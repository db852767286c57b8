package faultfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/assert"
)

func TestAttributesAreToldToOtherHosts(t *testing.T) {
	o := &operations{RawFileSystem: fuse.NewDefaultRawFileSystem(), gate: newGate()}
	ask := func(pid uint32) fuse.Status {
		return o.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{Caller: fuse.Caller{Pid: pid}}}, &fuse.AttrOut{})
	}
	for _, kind := range []Kind{None, Hang, EIO} {
		o.gate.set(Fault{Kind: kind})
		assert.Equal(t, fuse.ENOSYS, ask(0), "the file system itself answers, %s or not", kind)
	}
	assert.Equal(t, fuse.EIO, ask(7))
}
