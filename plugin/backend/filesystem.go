package backend

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// File systems that an image can hold.
const (
	Ext4 = "ext4"
	XFS  = "xfs"
)

// filesystem is what differs by the file system in an image.
type filesystem interface {
	// smallest is the least size of an image in bytes.
	smallest() int64
	// make formats a new, empty file, with chosen options.
	make(ctx context.Context, file, uuid string, chosen []string) error
	// options are for mount(2).
	options() string
	// repair brings a device that is not mounted in order, as far as that is safe without asking. It says what it did,
	// "" if nothing.
	repair(ctx context.Context, device string, found superblock) (string, error)
	// check lets the file system's own checker look at an image that is not mounted.
	check(ctx context.Context, c *checking) (Check, error)
	// growDetached makes the file system as large as its device, which is not mounted. It returns false if it can't.
	growDetached(ctx context.Context, device string) (bool, error)
	// growMounted makes the file system of that directory size bytes large, as its device is.
	growMounted(dir *os.File, size int64) error
}

func filesystems() map[string]filesystem {
	return map[string]filesystem{Ext4: ext4{}, XFS: xfs{}}
}

// CheckImage tells whether there can be an image of that size with that file system in it.
func CheckImage(fs string, size int64) error {
	all := filesystems()
	f, known := all[fs]
	if !known {
		return fmt.Errorf("file system %q is unknown: use %s", fs, strings.Join(slices.Sorted(maps.Keys(all)), " or "))
	}
	if size < f.smallest() {
		return fmt.Errorf("size of %d bytes is too small for %s: use at least %dm", size, fs, f.smallest()>>20)
	}
	return nil
}

// superblock is what the beginning of an image tells about its file system.
type superblock struct {
	fs    string // "" if it is none that an image can hold
	uuid  string
	clean bool // was unmounted in order
}

// identify reads the superblock of an image.
func identify(image *os.File) (superblock, error) {
	head := make([]byte, 2048)
	n, err := image.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return superblock{}, fmt.Errorf("read superblock of %s: %w", image.Name(), err)
	}
	return parseSuperblock(head[:n]), nil
}

// parseSuperblock knows the two layouts: ext4's superblock is at 1024, little endian, xfs's at 0, big endian.
func parseSuperblock(head []byte) superblock {
	const (
		validFS, errorFS = 1, 2 // s_state
		needsRecovery    = 4    // s_feature_incompat
	)
	if len(head) < 2048 {
		return superblock{}
	}
	if bytes.HasPrefix(head, []byte("XFSB")) {
		return superblock{fs: XFS, uuid: formatUUID(head[32:48])}
	}
	s := head[1024:]
	if binary.LittleEndian.Uint16(s[0x38:]) != 0xEF53 {
		return superblock{}
	}
	state, incompat := binary.LittleEndian.Uint16(s[0x3A:]), binary.LittleEndian.Uint32(s[0x60:])
	clean := state&validFS != 0 && state&errorFS == 0 && incompat&needsRecovery == 0
	return superblock{fs: Ext4, uuid: formatUUID(s[0x68:0x78]), clean: clean}
}

func formatUUID(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// ext4 needs e2fsprogs 1.47 or newer.
type ext4 struct{}

const ext4Block = 4096

func (ext4) smallest() int64 { return 16 << 20 }

// make writes little even for a large image: a new sparse file reads as zeros, so tables need not be written, neither now
// nor by the kernel after the first mount. No blocks are kept back for root; the volume has no other user than its own.
func (ext4) make(ctx context.Context, file, uuid string, chosen []string) error {
	args := append([]string{"-q", "-t", Ext4, "-b", strconv.Itoa(ext4Block), "-m", "0", "-U", uuid, "-e", "remount-ro",
		"-E", "nodiscard,assume_storage_prezeroed=1"}, chosen...)
	_, err := run(ctx, nil, "mke2fs", append(args, file)...)
	return err
}

// options let deleted files become holes in the image again.
func (ext4) options() string { return "discard,errors=remount-ro" }

// repair replays the journal and corrects what e2fsck corrects without asking.
func (ext4) repair(ctx context.Context, device string, found superblock) (string, error) {
	const corrected = 1
	if found.clean {
		return "", nil
	}
	status, err := run(ctx, []int{corrected}, "e2fsck", "-p", device)
	if err != nil {
		return "", err
	}
	if status == corrected {
		return "e2fsck corrected errors", nil
	}
	return "e2fsck found it in order", nil
}

func (ext4) growDetached(ctx context.Context, device string) (bool, error) {
	if _, err := run(ctx, []int{1}, "e2fsck", "-f", "-p", device); err != nil {
		return false, err
	}
	_, err := run(ctx, nil, "resize2fs", device)
	return err == nil, err
}

// growMounted takes CAP_SYS_RESOURCE.
func (ext4) growMounted(dir *os.File, size int64) error {
	const resize = 0x40086610 // EXT4_IOC_RESIZE_FS
	blocks := uint64(size) / ext4Block
	return ioctl(dir, resize, unsafe.Pointer(&blocks))
}

// xfs replays its log when it is mounted, and what that cannot mend needs somebody who looks.
type xfs struct{}

func (xfs) smallest() int64 { return 300 << 20 }

func (xfs) make(ctx context.Context, file, uuid string, chosen []string) error {
	args := append([]string{"-q", "-K", "-s", "size=4096", "-m", "uuid=" + uuid}, chosen...)
	_, err := run(ctx, nil, "mkfs.xfs", append(args, file)...)
	return err
}

// options accept a copy of a mounted image, as a clone is one.
func (xfs) options() string { return "discard,nouuid" }

func (xfs) repair(context.Context, string, superblock) (string, error) { return "", nil }

func (xfs) growDetached(context.Context, string) (bool, error) { return false, nil }

// growMounted doesn't call xfs_growfs, which looks at every mount of the host and so waits for any storage that hangs.
func (xfs) growMounted(dir *os.File, size int64) error {
	const (
		geometry = 0x80705864 // XFS_IOC_FSGEOMETRY_V1
		growData = 0x4010586e // XFS_IOC_FSGROWFSDATA
	)
	var is struct {
		blockSize uint32
		_         [6]uint32
		inodesMax uint32 // percent of the space
		_         [80]byte
	}
	if err := ioctl(dir, geometry, unsafe.Pointer(&is)); err != nil {
		return err
	}
	wanted := struct {
		blocks    uint64
		inodesMax uint32
		_         uint32
	}{blocks: uint64(size) / uint64(is.blockSize), inodesMax: is.inodesMax}
	return ioctl(dir, growData, unsafe.Pointer(&wanted))
}

// ioctl passes a structure to the file system of a directory.
func ioctl(dir *os.File, request uintptr, structure unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), request, uintptr(structure))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
