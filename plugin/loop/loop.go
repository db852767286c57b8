// Package loop binds files to loop devices and finds the devices that are bound already. Every device is made with autoclear:
// the kernel frees it with its last mount or open descriptor, so a process that dies between two steps leaves none behind.
package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LabelSize is the longest label of a device, in bytes.
const LabelSize = unix.LO_NAME_SIZE - 1

const (
	// blockSize suits direct I/O on every disk, also on those that only take whole blocks of 4 KiB.
	blockSize = 4096
	// attempts is how often a free device is looked for: between finding one and binding it another process may be faster.
	attempts = 64
)

// ErrFree says that a device is not bound to a file, perhaps not any more.
var ErrFree = errors.New("loop device is free")

// Device is a bound loop device. It stays bound at least until Close.
type Device struct {
	file *os.File
	rdev uint64
	info *unix.LoopInfo64
}

// Attach binds a file, opened for reading and writing, to a free device. Of its size only whole blocks of 4 KiB count. The
// kernel does direct I/O to the file if the file's own file system can; see DirectIO. The label, at most LabelSize bytes,
// is for Label.
func Attach(file *os.File, label string) (*Device, error) {
	if len(label) > LabelSize {
		return nil, fmt.Errorf("label %q of a loop device is longer than %d bytes", label, LabelSize)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("find a free loop device: %w", err)
	}
	defer control.Close()
	for range attempts {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		d, err := bind(file, Path(number), label)
		if !errors.Is(err, unix.EBUSY) {
			return d, err
		}
	}
	return nil, fmt.Errorf("bind %s to a loop device: others took each of %d free ones first", file.Name(), attempts)
}

// bind makes one device show the file.
func bind(file *os.File, device, label string) (*Device, error) {
	writable, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open a free loop device: %w", err)
	}
	// A kernel may refuse to mount what is open for writing, so this descriptor serves for binding only.
	defer writable.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: blockSize}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:], label)
	if err := unix.IoctlLoopConfigure(int(writable.Fd()), &config); err != nil {
		return nil, fmt.Errorf("bind %s to %s: %w", file.Name(), device, err)
	}
	return open(device)
}

// open opens a bound device.
func open(device string) (*Device, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, fmt.Errorf("open loop device: %w", err)
	}
	var stat unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &stat)
	var info *unix.LoopInfo64
	if err == nil {
		info, err = unix.IoctlLoopGetStatus64(int(f.Fd()))
	}
	if errors.Is(err, unix.ENXIO) {
		err = ErrFree
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read state of %s: %w", device, err), f.Close())
	}
	return &Device{file: f, rdev: stat.Rdev, info: info}, nil
}

// Open opens a device by its number; ErrFree if it is not bound.
func Open(number int) (*Device, error) { return open(Path(number)) }

// Close lets go of the device. The kernel frees it when nothing has it open or mounted any more.
func (d *Device) Close() error { return d.file.Close() }

// Path is the device's file.
func (d *Device) Path() string { return d.file.Name() }

// Number is the device's N in /dev/loopN.
func (d *Device) Number() int { return int(d.info.Number) }

// Rdev is the device as st_dev of the files in its file system has it.
func (d *Device) Rdev() uint64 { return d.rdev }

// Label is what the one who bound the device called it.
func (d *Device) Label() string {
	label, _, _ := bytes.Cut(d.info.File_name[:], []byte{0})
	return string(label)
}

// Shows tells whether the device is bound to the file with this stat.
func (d *Device) Shows(file unix.Stat_t) bool {
	return d.info.Device == file.Dev && d.info.Inode == file.Ino
}

// DirectIO tells whether the kernel reads and writes the file past the page cache.
func (d *Device) DirectIO() bool { return d.info.Flags&unix.LO_FLAGS_DIRECT_IO != 0 }

// Resize makes the device as large as its file has become.
func (d *Device) Resize() error {
	if err := unix.IoctlSetInt(int(d.file.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", d.Path(), err)
	}
	return nil
}

// Bound lists the bound devices by number, each with the path of its file as this process would see it, as far as the kernel
// still knows one. It reads sysfs only and so never waits for the files' storage.
func Bound() (map[int]string, error) {
	devices, err := os.Open("/sys/block")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	defer devices.Close()
	names, err := devices.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	bound := map[int]string{}
	for _, name := range names {
		digits, is := strings.CutPrefix(name, "loop")
		if !is {
			continue
		}
		number, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("list loop devices: %w", err)
		}
		data, err := os.ReadFile("/sys/block/" + name + "/loop/backing_file")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			continue // free
		}
		if err != nil {
			return nil, fmt.Errorf("list loop devices: %w", err)
		}
		bound[number] = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), " (deleted)")
	}
	return bound, nil
}

// Path is the file of the device with a number.
func Path(number int) string { return "/dev/loop" + strconv.Itoa(number) }
