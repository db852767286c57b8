package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"

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
