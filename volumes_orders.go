package main

import (
	"context"
	"fmt"
	"io"

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
