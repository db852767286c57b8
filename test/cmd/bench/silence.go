package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"mooring/test/cell"
	"mooring/test/deploy"
)

// silenceFigures measures what becomes of a node when its host dies and Mesos has its default time-outs.
func silenceFigures(ctx context.Context) (figures []Figure, err error) {
	if err := cell.Down(ctx, *dir); err != nil { // what an interrupted run may have left
		return nil, err
	}
	c, err := cell.Up(ctx, *dir, cell.Options{Hosts: 2, Plugin: *plugin, Images: []string{*image}})
	if err == nil {
		figures, err = silentDeath(ctx, c)
	}
	return figures, errors.Join(err, cell.Down(context.WithoutCancel(ctx), *dir))
}

func silentDeath(ctx context.Context, c *cell.Cell) (figures []Figure, err error) {
	path, err := filepath.Abs(*binary)
	if err != nil {
		return nil, err
	}
	d := deploy.New(c, deploy.Options{Binary: path, Image: elasticsearch, Nodes: 1, Flags: []string{"--heartbeats=" + c.Store}})
	if err := d.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	before, err := d.AwaitNodes(ctx, 1)
	if err != nil {
		return nil, err
	}
	host, err := c.At(before[0].Place.Host)
	if err != nil {
		return nil, err
	}
	died := time.Now()
	if err := host.Kill(ctx); err != nil {
		return nil, err
	}
	err = d.Await(ctx, "the launch elsewhere", func(ctx context.Context) error {
		nodes, err := d.Nodes(ctx)
		if err == nil && nodes[0].Epoch == before[0].Epoch {
			err = fmt.Errorf("it is %+v", nodes[0])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	asked := time.Since(died).Seconds()
	figures = append(figures, Figure{Name: "host death to container asked for, Mesos at its defaults (75 to 82 s)", Value: asked, Unit: "s",
		Baseline: takeSeconds, Ratio: asked / takeSeconds, Aim: "<= 22", Met: asked <= takeSeconds+2})
	tell(figures)
	return figures, nil
}
