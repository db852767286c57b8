package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mooring/test/cell"
	"mooring/test/demo"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const (
	hosts       = 4
	takeSeconds = 20 // a heartbeat must stand still for so long before its host counts as dead
	sampleDocs  = 5000
)

// cellFigures measures what needs real engines and a real Mesos.
func cellFigures(ctx context.Context) ([]Figure, error) { return inCell(ctx, hosts, measure) }

// cycleFigures compares the life of containers, on a host by itself.
func cycleFigures(ctx context.Context) ([]Figure, error) {
	return inCell(ctx, 1, func(ctx context.Context, c *cell.Cell) ([]Figure, error) { return containerCycles(ctx, c.Hosts[0]) })
}

// inCell measures in a cell of its own.
func inCell(ctx context.Context, hosts int, measure func(context.Context, *cell.Cell) ([]Figure, error)) (figures []Figure, err error) {
	if err := cell.Down(ctx, *dir); err != nil { // what an interrupted run may have left
		return nil, err
	}
	c, err := cell.Up(ctx, *dir, cell.Options{Hosts: hosts, Plugin: *plugin, Images: []string{*image}, Fast: true})
	if err == nil {
		figures, err = measure(ctx, c)
	}
	return figures, errors.Join(err, cell.Down(context.WithoutCancel(ctx), *dir))
}

func measure(ctx context.Context, c *cell.Cell) ([]Figure, error) {
	more, err := hostFigures(ctx, c)
	if err != nil {
		return nil, err
	}
	report, err := death(ctx, c)
	if err != nil {
		return nil, err
	}
	if report.Documents.Found != report.Documents.Acknowledged {
		return nil, fmt.Errorf("%d documents acknowledged, %d found", report.Documents.Acknowledged, report.Documents.Found)
	}
	asked := report.Seconds.Detected
	return append(more,
		Figure{Name: "host death to container asked for (Mesos notices within 3 to 4 s here)", Value: asked, Unit: "s", Aim: "<= 5", Met: asked <= 5},
		against("host death to container elsewhere / time after which a lease may be taken", "s", report.Seconds.Container, takeSeconds, "<= 1.1",
			func(r float64) bool { return r <= 1.1 }),
		Figure{Name: "host death to node joined", Value: report.Seconds.Joined, Unit: "s", Met: true},
		Figure{Name: "host death to green", Value: report.Seconds.Green, Unit: "s", Met: true},
	), nil
}

// hostFigures are those of the volume driver alone.
func hostFigures(ctx context.Context, c *cell.Cell) (figures []Figure, err error) {
	first, second := c.Hosts[0], c.Hosts[1]
	for _, measure := range []func() ([]Figure, error){
		func() ([]Figure, error) { return guardFigures(ctx, first) },
		func() ([]Figure, error) { return firstWriteFigure(ctx, second, first) },
		func() ([]Figure, error) { return indexFigure(ctx, c, first) },
		func() ([]Figure, error) { return listFigures(ctx, first) },
	} {
		more, err := measure()
		if err != nil {
			return nil, err
		}
		tell(more)
		figures = append(figures, more...)
	}
	return figures, nil
}

// tell says at once what the table at the end repeats: the whole takes a while.
func tell(figures []Figure) {
	for _, f := range figures {
		fmt.Fprintf(os.Stderr, "%s: %.4g %s", f.Name, f.Value, f.Unit)
		if f.Ratio != 0 {
			fmt.Fprintf(os.Stderr, ", ratio %.2f", f.Ratio)
		}
		fmt.Fprintln(os.Stderr)
	}
}

// containerCycles times, in turn, containers with one volume of ours and with one of Docker's own, in milliseconds. The command
// line's own time is in both. What one leaves to be done is done in the time of the next, so who begins changes; and the ratio is
// the median of the pairs' ratios: what disturbs a pair is in both.
func containerCycles(ctx context.Context, h *cell.Host) ([]Figure, error) {
	drivers := []string{cell.PluginName, "local"}
	var times [2][]float64
	for round := range *cycles + 1 {
		for turn := range drivers {
			i := (turn + round) % len(drivers)
			begin := time.Now()
			_, err := h.Docker(ctx, "run", "--rm", "--network", "none", "--entrypoint", "true",
				"--mount", "type=volume,volume-driver="+drivers[i]+",source=bench"+drivers[i][:5]+",target=/data", elasticsearch)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first of each made the volume
				times[i] = append(times[i], float64(time.Since(begin).Microseconds())/1000)
			}
		}
	}
	ratios := make([]float64, *cycles)
	for pair := range ratios {
		ratios[pair] = times[0][pair] / times[1][pair]
	}
	f := against("container create, start, wait, rm: with a Mooring volume / with local", "ms", median(times[0]), median(times[1]), "<= 1.05",
		func(float64) bool { return median(ratios) <= 1.05 })
	f.Ratio, f.Spread = median(ratios), []float64{slices.Min(ratios), slices.Max(ratios)}
	return []Figure{f}, nil
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// death plays the story of the demo with few documents.
func death(ctx context.Context, c *cell.Cell) (demo.Report, error) {
	documents, err := ledger.Packages(ctx)
	if err != nil {
		return demo.Report{}, err
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return demo.Report{}, err
	}
	d := deploy.New(c, deploy.Options{Binary: path, Image: elasticsearch, Nodes: demo.Nodes})
	if err := d.Start(ctx); err != nil {
		return demo.Report{}, err
	}
	report, err := demo.Run(ctx, c, demo.Options{
		Deployment: d, Documents: documents[:min(sampleDocs, len(documents))], Say: func(string, ...any) {},
	})
	return report, errors.Join(err, d.Stop())
}
