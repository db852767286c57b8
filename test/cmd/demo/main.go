// Command demo plays the story of package demo in a cell of its own, prints what came of it, writes demo.json and leaves
// nothing behind. Call it by `make demo`, which prepares what it needs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"mooring/test/cell"
	"mooring/test/demo"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const (
	hosts    = 4
	keptLogs = "build/demo-logs" // after a failure
)

var (
	binary = flag.String("binary", "build/mooring", "the mooring binary")
	plugin = flag.String("plugin", "build/plugin", "directory of the managed plugin")
	tar    = flag.String("image-file", "/var/cache/mooring/elasticsearch-8.19.5.tar", "file with the image of Elasticsearch")
	image  = flag.String("image", "elasticsearch:8.19.5", "name of that image")
	dir    = flag.String("dir", "/var/tmp/mooring-demo", "directory of the cell")
	out    = flag.String("out", "demo.json", "file for the report")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	begin := time.Now()
	say := func(format string, a ...any) {
		fmt.Printf("[%5.1f s] %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, a...))
	}
	documents, err := ledger.Packages(ctx)
	if err != nil {
		return err
	}
	if err := cell.Down(ctx, *dir); err != nil { // what an interrupted run may have left
		return err
	}
	report, err := play(ctx, documents, say)
	if err != nil {
		return fmt.Errorf("%w\nthe logs are kept in %s", err, keptLogs)
	}
	say("done")
	fmt.Println()
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	content, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(content, '\n'), 0o644)
}

// play brings a cell up, tells the story in it and takes the cell down again, whatever happened.
func play(ctx context.Context, documents []ledger.Document, say func(string, ...any)) (report demo.Report, err error) {
	c, err := cell.Up(ctx, *dir, cell.Options{
		Hosts: hosts, Plugin: *plugin, Images: []string{*tar}, Fast: true, Progress: func(line string) { say("%s", line) },
	})
	if err == nil {
		report, err = deployAndPlay(ctx, c, demo.Options{Documents: documents, Say: say})
	}
	if err != nil {
		err = errors.Join(err, cell.KeepLogs(*dir, keptLogs))
	}
	say("taking the cell down")
	return report, errors.Join(err, cell.Down(context.WithoutCancel(ctx), *dir))
}

// deployAndPlay starts a scheduler as an operator would, and tells the story.
func deployAndPlay(ctx context.Context, c *cell.Cell, o demo.Options) (demo.Report, error) {
	path, err := filepath.Abs(*binary)
	if err != nil {
		return demo.Report{}, err
	}
	o.Say("starting `mooring scheduler`")
	o.Deployment = deploy.New(c, deploy.Options{Binary: path, Image: *image, Nodes: demo.Nodes})
	if err := o.Deployment.Start(ctx); err != nil {
		return demo.Report{}, err
	}
	report, err := demo.Run(ctx, c, o)
	return report, errors.Join(err, o.Deployment.Stop())
}
