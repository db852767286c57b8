package backend

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check is what a file system's own checker says of an image.
type Check struct {
	FS       string   `json:"fs"`
	Sound    bool     `json:"sound"`              // it is in order now
	Repaired bool     `json:"repaired,omitempty"` // it was not before
	Note     string   `json:"note,omitempty"`     // what to know of the answer
	Said     []string `json:"said,omitempty"`     // by the checker, its last lines
}

// saidLines is how many of the checker's last lines are kept.
const saidLines = 40

// Check looks at an image that is not mounted, and changes nothing unless it shall repair. It may take long; the checker ends
// with ctx and with this process, since it may write only as long as the caller has the volume's lease.
func (i Image) Check(ctx context.Context, v Spec, target string, repair bool, say func(string)) (Check, error) {
	r, err := readRecord(v.Dir)
	if err != nil {
		return Check{}, err
	}
	image, found, err := r.open(v.image())
	if err != nil {
		return Check{}, err
	}
	defer image.Close()
	if err := i.refuseBound(image, target); err != nil {
		return Check{}, err
	}
	c := checking{path: image.Name(), found: found, repair: repair, say: say}
	return filesystems()[r.FS].check(ctx, &c)
}

// refuseBound makes sure that no loop device shows the image.
func (i Image) refuseBound(image *os.File, target string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &stat); err != nil {
		return err
	}
	device, err := i.showing(filepath.Base(target), stat)
	if err != nil || device == nil {
		return err
	}
	return errors.Join(fmt.Errorf("%s shows the image: a process has volume %s mounted or its device open; stop that one", device.Path(), filepath.Base(target)),
		device.Close())
}

// checking is one check at work.
type checking struct {
	path   string
	found  superblock
	repair bool
	say    func(string)
	said   []string
}

// hear passes on a line of the checker's.
func (c *checking) hear(text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	c.said = append(c.said, text)
	if len(c.said) > saidLines {
		c.said = c.said[1:]
	}
	if c.say != nil {
		c.say(text)
	}
}

// run calls the checker and returns its exit status.
func (c *checking) run(ctx context.Context, name string, args ...string) (int, error) {
	path, err := tool(name)
	if err != nil {
		return 0, err
	}
	// The kernel kills the checker with the thread that started it, so that must last.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolGrace
	said, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	heard := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			c.hear(lines.Text())
		}
		_, err := io.Copy(io.Discard, said) // after a line that is too long
		heard <- errors.Join(lines.Err(), err)
	}()
	err = cmd.Run()
	w.Close()
	<-heard
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%s was stopped: %w", name, context.Cause(ctx))
	}
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.Exited()) {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// failed is the error of a checker that could not do its work.
func (c *checking) failed(name string, status int) error {
	return fmt.Errorf("%s could not check %s (exit status %d): %s", name, c.path, status, lastWords(strings.Join(c.said, " ")))
}

func (ext4) check(ctx context.Context, c *checking) (Check, error) {
	const corrected, uncorrected, failed = 1, 4, 8
	answer := Check{FS: Ext4}
	how := "-n"
	if c.repair {
		how = "-y"
	} else if !c.found.clean {
		answer.Note = "it was not unmounted in order, and a check that changes nothing leaves its journal aside: what is only there counts as an error"
	}
	status, err := c.run(ctx, "e2fsck", "-f", how, c.path)
	if err == nil && status >= failed {
		err = c.failed("e2fsck", status)
	}
	answer.Sound, answer.Repaired, answer.Said = status&uncorrected == 0, status&corrected != 0, c.said
	return answer, err
}

func (xfs) check(ctx context.Context, c *checking) (Check, error) {
	const corrupt, dirtyLog = 1, 2
	answer := Check{FS: XFS}
	status, err := c.run(ctx, "xfs_repair", "-n", "-f", c.path)
	answer.Sound, answer.Said = status == 0, c.said
	if err == nil && status != 0 && status != corrupt {
		err = c.failed("xfs_repair", status)
	}
	if err != nil || answer.Sound || !c.repair {
		return answer, err
	}
	c.said = nil
	status, err = c.run(ctx, "xfs_repair", "-f", c.path)
	answer.Sound, answer.Repaired, answer.Said = status == 0, status == 0, c.said
	switch {
	case err == nil && status == dirtyLog:
		answer.Note = "its log holds changes that only a mount can write: mount the volume once, unmount it, and repair again; " +
			"if it cannot be mounted, xfs_repair -L throws the log away, and with it what was written last"
	case err == nil && status != 0:
		err = c.failed("xfs_repair", status)
	}
	return answer, err
}
