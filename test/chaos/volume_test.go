package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"mooring/test/cell"
	"mooring/test/faultfs"
)

// enough is how many records a writer writes that ends by itself.
const enough = 30

// volume is one volume on its way through a round.
type volume struct {
	*round
	name   string
	when   step
	kind   kind
	hold   faultfs.Hold
	doing  chan error   // how the order on host one ended that was in the middle of the step
	tries  atomic.Int32 // of host two to get the volume
	lives  atomic.Int32 // writers so far; each acknowledges in a file of its own
	won    chan error   // how that ended
	counts []byte       // what host one acknowledged before it was frozen, if it was
	err    error        // what is wrong with it
	report string       // of the last audit
}

func (v *volume) make(ctx context.Context, h *cell.Host) error {
	_, err := h.Docker(ctx, v.creation()...)
	return err
}

func (v *volume) creation() []string {
	options := map[kind][]string{
		dir:  {"-o", "backend=dir"},
		ext4: {"-o", "backend=image", "-o", "fs=ext4", "-o", "size=32m"},
		xfs:  {"-o", "backend=image", "-o", "fs=xfs", "-o", "size=300m"}, // the least that mkfs.xfs makes
	}[v.kind]
	return append(append([]string{"volume", "create", "-d", cell.PluginName}, options...), v.name)
}

// writer is the order that starts a writer of records on a host.
func (v *volume) writer(h *cell.Host, run []string, options ...string) []string {
	life := fmt.Sprintf("%s-%s-%d", v.name, h.Name, v.lives.Add(1))
	args := append([]string{"run", "--network", "none", "--name", life}, run...)
	args = append(args, "--volume-driver", cell.PluginName, "-v", v.name+":/data", "-v", acksDir(h)+":/acks", image)
	args = append(args, "write", "/data/log", "--host", h.Name, "--acks", "/acks/"+life)
	return append(args, options...)
}

// acknowledged is what all writers have acknowledged.
func (v *volume) acknowledged() ([]byte, error) {
	one, err := v.acknowledgedOn(v.one)
	if err != nil {
		return nil, err
	}
	two, err := v.acknowledgedOn(v.two)
	return append(one, two...), err
}

func (v *volume) acknowledgedOn(h *cell.Host) ([]byte, error) {
	if h == v.one && v.counts != nil {
		return slices.Clone(v.counts), nil
	}
	var all []byte
	files, err := filepath.Glob(filepath.Join(acksDir(h), v.name+"-*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(append(all, content...), '\n')
	}
	return all, nil
}

// countUntilNow leaves out what host one, which is frozen, acknowledges once it wakes: its writer is told by its own kernel that
// a record is safe, after a wait of longer than the take-over time, and nothing can keep it from saying so.
func (v *volume) countUntilNow() error {
	counts, err := v.acknowledgedOn(v.one)
	v.counts = append([]byte{'\n'}, counts...)
	return err
}

// count is how many records are acknowledged.
func (v *volume) count() (int, error) {
	all, err := v.acknowledged()
	lines := 0
	for line := range bytes.Lines(all) {
		if len(line) > 1 { // not one that ends a file
			lines++
		}
	}
	return lines, err
}

// awaitAcks waits until so many records are acknowledged in all.
func (v *volume) awaitAcks(ctx context.Context, total int) error {
	return await(ctx, "records of "+v.name, func() error {
		now, err := v.count()
		if err == nil && now < total {
			err = fmt.Errorf("there are %d", now)
		}
		return err
	})
}

// begin brings the volume to its step on host one.
func (v *volume) begin(ctx context.Context) error {
	var order []string
	switch v.when {
	case create:
		order = v.creation()
	case lease, mkfs, attach, mount:
		if err := v.make(ctx, v.one); err != nil {
			return err
		}
		order = v.writer(v.one, []string{"-d"})
	case write, unmount, release, remove:
		if err := v.make(ctx, v.one); err != nil {
			return err
		}
		options := []string{"--count", fmt.Sprint(enough), "--stay"}
		if v.when == write {
			options = nil
		}
		id, err := v.one.Docker(ctx, v.writer(v.one, []string{"-d"}, options...)...)
		if err != nil {
			return err
		}
		if err := v.awaitAcks(ctx, enough); err != nil {
			return err
		}
		order = []string{"rm", "-f", id}
		if v.when == remove {
			if _, err := v.one.Docker(ctx, order...); err != nil {
				return err
			}
			order = []string{"volume", "rm", v.name}
		}
	}
	if v.when == write {
		close(v.doing)
		return nil
	}
	if err := v.one.Hold(ctx, v.hold); err != nil {
		return err
	}
	go func() {
		_, err := v.one.Docker(ctx, order...)
		v.doing <- err
	}()
	return v.one.AwaitHeld(ctx, v.hold)
}

// contend makes host two want the volume until it has it, and write it then. A volume that was being removed it removes.
func (v *volume) contend(ctx context.Context) {
	v.won <- await(ctx, v.name+" on "+v.two.Name, func() error {
		defer v.tries.Add(1)
		if v.when == remove {
			return v.discard(ctx)
		}
		if err := v.make(ctx, v.two); err != nil {
			return err
		}
		_, err := v.two.Docker(ctx, v.writer(v.two, []string{"--rm"}, "--count", fmt.Sprint(enough))...)
		return err
	})
}

// discard removes the volume, by host two, and sees that the store has nothing of it any more.
func (v *volume) discard(ctx context.Context) error {
	if _, err := v.two.Docker(ctx, "volume", "rm", v.name); err != nil && !strings.Contains(err.Error(), "no such volume") {
		return err
	}
	if _, err := os.Lstat(filepath.Join(v.dir, "volumes", v.name)); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is still in the store", v.name)
	}
	return nil
}

// audit compares, on host two, what is in the volume with what was acknowledged.
func (v *volume) audit(ctx context.Context) error {
	if v.when == remove {
		return nil
	}
	acks, err := v.acknowledged()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(acksDir(v.two), "all-"+v.name), acks, 0o600); err != nil {
		return err
	}
	return await(ctx, "an audit of "+v.name, func() error {
		out, err := v.two.Docker(ctx, "run", "--rm", "--network", "none", "--volume-driver", cell.PluginName, "-v", v.name+":/data", "-v", acksDir(v.two)+":/acks",
			image, "audit", "/data/log", "--acks", "/acks/all-"+v.name)
		if err != nil && strings.Contains(err.Error(), "audit found") {
			v.wrong(err)
			return nil
		}
		v.report = out
		return err
	})
}

func (v *volume) wrong(err error) {
	if err != nil {
		v.err = errors.Join(v.err, err)
	}
}
