package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"

	"mooring/plugin/admin"
	"mooring/plugin/store"
)

type growVolume struct {
	Name string     `arg:"" help:"The volume."`
	Size store.Size `arg:"" help:"Its new size, such as 20g."`
}

// Run grows.
func (c *growVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	grown, err := group.client().Grow(ctx, c.Name, c.Size)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, grown, func(w io.Writer) {
		fmt.Fprintf(w, "grown %s from %s to %s", grown.Volume, grown.From, grown.To)
		if grown.Later {
			fmt.Fprint(w, " when it is mounted the next time")
		}
		fmt.Fprintln(w)
	})
}

type removeVolume struct {
	Name  string      `arg:"" help:"The volume."`
	Trash store.Delay `help:"How long it can be restored." default:"24h" placeholder:"TIME" env:"-"`
	Now   bool        `help:"Delete it at once: it is lost." env:"-"`
}

// Run removes.
func (c *removeVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	if c.Now {
		c.Trash = 0
	}
	gone, err := group.client().Remove(ctx, c.Name, c.Trash)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, gone, func(w io.Writer) {
		fmt.Fprint(w, "removed ", c.Name)
		if gone.Until.After(gone.At) {
			fmt.Fprintf(w, "; until %s it comes back with: mooring volumes restore %s", clock(gone.Until), c.Name)
		}
		fmt.Fprintln(w)
	})
}

// clock is a time for people.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

type listTrash struct{}

// Run prints a table.
func (*listTrash) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	found, err := group.client().Trash(ctx)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, found, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tID\tREMOVED\tDELETED")
		for _, r := range found {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.ID, clock(r.At), clock(r.Until))
		}
	})
}

type restoreVolume struct {
	Name string `arg:"" help:"The volume."`
	ID   string `help:"Which one, if several of that name were removed; its beginning is enough." name:"id" placeholder:"ID" env:"-"`
}

// Run restores.
func (c *restoreVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	back, err := group.client().Restore(ctx, c.Name, c.ID)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, back, func(w io.Writer) { fmt.Fprintln(w, "restored", back.Name) })
}

type drainHost struct {
	Undo bool `help:"Accept mounts again." env:"-"`
}

// Run drains.
func (c *drainHost) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	order := group.client().Drain
	if c.Undo {
		order = group.client().Undrain
	}
	answer, err := order(ctx)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, answer, func(w io.Writer) {
		if c.Undo {
			fmt.Fprintf(w, "host %s accepts mounts again\n", answer.Host)
			return
		}
		fmt.Fprintf(w, "host %s is drained since %s: new mounts are refused\n", answer.Host, clock(answer.Since))
		if len(answer.Held) == 0 {
			fmt.Fprintln(w, "nothing is held here")
			return
		}
		fmt.Fprintln(w, "HELD\tSTATE\tMOUNTS")
		for _, v := range answer.Held {
			fmt.Fprintf(w, "%s\t%s\t%d\n", v.Name, v.State, v.Mounts)
		}
	})
}

// progress shows how far an order is, beside its answer.
func progress(k *kong.Context) admin.Say {
	return func(text string) { fmt.Fprintln(k.Stderr, text) }
}

type snapshotVolume struct {
	Name     string `arg:"" help:"The volume."`
	Snapshot string `arg:"" help:"What the snapshot is called."`
	Copy     bool   `help:"Copy all data, where the store cannot share it between files. The volume may not be mounted." env:"-"`
}

// Run keeps.
func (c *snapshotVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	kept, err := group.client().Snapshot(ctx, c.Name, admin.SnapshotOrder{Snapshot: c.Snapshot, Copy: c.Copy}, progress(k))
	if err != nil {
		return err
	}
	return group.show(k.Stdout, kept, func(w io.Writer) {
		fmt.Fprintf(w, "kept %s@%s; it becomes a volume with: mooring volumes clone %s@%s NEWNAME\n", c.Name, kept.Name, c.Name, kept.Name)
	})
}

type listSnapshots struct {
	Name string `arg:"" help:"The volume."`
}

// Run prints a table.
func (c *listSnapshots) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	found, err := group.client().Snapshots(ctx, c.Name)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, found, func(w io.Writer) {
		fmt.Fprintln(w, "SNAPSHOT\tTAKEN\tSIZE")
		for _, s := range found {
			fmt.Fprintf(w, "%s@%s\t%s\t%s\n", c.Name, s.Name, clock(s.At), size(s.Size))
		}
	})
}

type cloneVolume struct {
	From string `arg:"" help:"A volume, or VOLUME@SNAPSHOT."`
	Name string `arg:"" help:"The new volume."`
	Copy bool   `help:"Copy all data, where the store cannot share it between files. The source may not be mounted." env:"-"`
}

// Run clones.
func (c *cloneVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	made, err := group.client().Clone(ctx, c.Name, admin.CloneOrder{From: c.From, Copy: c.Copy}, progress(k))
	if err != nil {
		return err
	}
	return group.show(k.Stdout, made, func(w io.Writer) { fmt.Fprintf(w, "made %s from %s\n", made.Name, c.From) })
}

type checkVolume struct {
	Name   string `arg:"" help:"The volume."`
	Repair bool   `help:"Correct what is wrong; what cannot be saved is dropped." env:"-"`
}

var errUnsound = errors.New("the file system has errors")

// Run checks; a file system that is not in order is an error.
func (c *checkVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	found, err := group.client().Check(ctx, c.Name, admin.CheckOrder{Repair: c.Repair}, progress(k))
	if err != nil {
		return err
	}
	err = group.show(k.Stdout, found, func(w io.Writer) {
		state := "is in order"
		switch {
		case found.Repaired && found.Sound:
			state = "was repaired and is in order"
		case !found.Sound && c.Repair:
			state = "could not be repaired"
		case !found.Sound:
			state = "has errors, which --repair corrects"
		}
		fmt.Fprintf(w, "the %s of %s %s\n", found.FS, c.Name, state)
		if found.Note != "" {
			fmt.Fprintln(w, found.Note)
		}
	})
	if err == nil && !found.Sound {
		err = errUnsound
	}
	return err
}
