package backend_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/backend"
)

// What is chosen for a file system is what it gets, and the tools and the kernel take all that may be chosen.
func TestChosenOptions(t *testing.T) {
	for _, row := range []struct{ fs, mkfs, mount, super string }{
		{backend.Ext4, "-I 512 -i 8192 -J size=8", "noatime,nosuid,nodev,commit=30", "commit=30"},
		{backend.Ext4, "-I 512 -N 500 -O fast_commit -J fast_commit_size=1", "noexec,nodiratime,lazytime,data=journal,nodelalloc,stripe=4", "data=journal"},
		{backend.Ext4, "-I 512", "strictatime,data=ordered,nodiscard", ""},
		{backend.XFS, "-i size=1024 -i maxpct=10 -l size=64m -n size=8k -d agcount=2", "noatime,logbsize=64k,logbufs=4", "logbsize=64k"},
		{backend.XFS, "-i size=1024 -m reflink=0 -m rmapbt=0", "relatime,nosuid,allocsize=64k,largeio,swalloc,inode32", "inode32"},
		{backend.XFS, "-i size=1024", "inode64", "inode64"},
	} {
		t.Run(row.fs+" "+row.mount, func(t *testing.T) {
			i, v, target := image(t, row.fs)
			v.Mkfs, v.Options = row.mkfs, row.mount
			require.NoError(t, backend.CheckMkfs(row.fs, row.mkfs))
			require.NoError(t, backend.CheckMount(row.fs, row.mount))
			require.NoError(t, i.Provision(t.Context(), v))
			require.NoError(t, i.Mount(t.Context(), v, target))
			table, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(target))
			require.NoError(t, err)
			require.Len(t, table, 1)
			assert.Contains(t, table[0].VFSOptions, row.super)
			for _, flag := range []string{"noatime", "nosuid", "nodev", "noexec", "nodiratime"} {
				assert.Equal(t, contains(row.mount, flag), contains(table[0].Options, flag), "%s of %s", flag, table[0].Options)
			}
			require.NoError(t, i.Unmount(t.Context(), target))
			assert.Equal(t, map[string]int{backend.Ext4: 512, backend.XFS: 1024}[row.fs], inodeSize(t, v))
		})
	}
}

// inodeSize is what the superblock says.
func inodeSize(t *testing.T, v backend.Spec) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(v.Dir, "image"))
	require.NoError(t, err)
	if v.FS == backend.XFS {
		return int(binary.BigEndian.Uint16(data[104:]))
	}
	return int(binary.LittleEndian.Uint16(data[1024+0x58:]))
}

// Nothing may be chosen that costs what was acknowledged, or that is the driver's own.
func TestOptionsThatCannotBeChosen(t *testing.T) {
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		for _, options := range []string{"nobarrier", "barrier=0", "noload", "norecovery", "data=writeback", "errors=continue", "ro", "journal_async_commit",
			"noatime,", " noatime", "noatime nodev", "loop", "wsync=1", "commit=-1", "nouuid", "discard"} {
			assert.ErrorContains(t, backend.CheckMount(fs, options), "cannot be chosen for "+fs+": use noatime", options)
		}
		for _, options := range []string{"-F", "-O ^has_journal", "-U random", "/dev/sda", "-I", "-I 512 -F", "-E discard", "-b 1024", "-m uuid=1", "-J device=/dev/sda",
			"-l internal=0", "-O fast_commit,bigalloc", "-I 512;x"} {
			assert.ErrorContains(t, backend.CheckMkfs(fs, options), "cannot be chosen for "+fs, options)
		}
		assert.NoError(t, backend.CheckMkfs(fs, ""))
		assert.NoError(t, backend.CheckMount(fs, ""))
	}
	assert.EqualError(t, backend.CheckMount("zfs", ""), `file system "zfs" is unknown: use ext4 or xfs`)
	assert.EqualError(t, backend.CheckMkfs("zfs", ""), `file system "zfs" is unknown: use ext4 or xfs`)
	assert.EqualError(t, backend.CheckMkfs("xfs", "-q 1"), `mkfs option "-q 1" cannot be chosen for xfs: use -i size=N, -i maxpct=N, -l size=N, -n size=N, -d agcount=N, -m reflink=0, -m rmapbt=0`)
}

func contains(options, flag string) bool { return slices.Contains(strings.Split(options, ","), flag) }
