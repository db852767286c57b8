// Command bench measures what README gives figures of, compares each with something in the same run, and writes bench.json.
// Call it by `make bench`, which prepares what it needs. A missed aim is reported, not an error: machines differ.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
)

var (
	out    = flag.String("out", "bench.json", "file for the figures")
	binary = flag.String("binary", "build/mooring", "the mooring binary")
	plugin = flag.String("plugin", "build/plugin", "directory of the managed plugin")
	image  = flag.String("image-file", "/var/cache/mooring/elasticsearch-8.19.5.tar", "file with the image elasticsearch:8.19.5")
	dir    = flag.String("dir", "/var/tmp/mooring-bench", "directory of the cell")
	only   = flag.String("only", "", "measure units, disk, cycles, cell or silence alone; default: all")
	cycles = flag.Int("cycles", 30, "container cycles of each kind")
)

// Figure is one measurement.
type Figure struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Baseline float64 `json:"baseline,omitempty"` // what it is compared with, same unit
	Ratio    float64 `json:"ratio,omitempty"`    // value / baseline
	// Spread is the least and the greatest ratio of the rounds, where Ratio is their median.
	Spread []float64 `json:"spread,omitempty"`
	Aim    string    `json:"aim,omitempty"`
	Met    bool      `json:"met"`
}

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	parts := []struct {
		name    string
		measure func(context.Context) ([]Figure, error)
	}{{"units", goBenchmarks}, {"disk", diskFigures}, {"cycles", cycleFigures}, {"cell", cellFigures}, {"silence", silenceFigures}}
	var figures []Figure
	for _, part := range parts {
		if *only != "" && *only != part.name {
			continue
		}
		more, err := part.measure(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		figures = append(figures, more...)
	}
	if figures == nil {
		return fmt.Errorf("--only=%s is unknown: use units, disk, cycles, cell or silence", *only)
	}
	content, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(print(figures), os.WriteFile(*out, append(content, '\n'), 0o644))
}

func print(figures []Figure) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tVALUE\tBASELINE\tRATIO\tAIM\tMET")
	for _, f := range figures {
		baseline, ratio := "", ""
		if f.Baseline != 0 {
			baseline, ratio = fmt.Sprintf("%.4g", f.Baseline), fmt.Sprintf("%.2f", f.Ratio)
		}
		if len(f.Spread) == 2 {
			ratio += fmt.Sprintf(" (%.2f to %.2f)", f.Spread[0], f.Spread[1])
		}
		fmt.Fprintf(table, "%s\t%.4g %s\t%s\t%s\t%s\t%v\n", f.Name, f.Value, f.Unit, baseline, ratio, f.Aim, f.Met)
	}
	return table.Flush()
}

// against compares a value with a baseline.
func against(name, unit string, value, baseline float64, aim string, met func(ratio float64) bool) Figure {
	ratio := value / baseline
	return Figure{Name: name, Value: value, Unit: unit, Baseline: baseline, Ratio: ratio, Aim: aim, Met: met(ratio)}
}
