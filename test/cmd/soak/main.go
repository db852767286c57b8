// Command soak plays random rounds of package soak in a cell of its own and stops at the first document that is lost. The same
// seed makes the same choices. Call it by `make soak`, which prepares what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/soak"
)

const keptLogs = "build/soak-logs" // after a failure

var (
	rounds  = flag.Int("rounds", 30, "how many rounds")
	seed    = flag.Uint64("seed", 0, "what the choices follow from; 0: from the time")
	only    = flag.String("only", "", "play these faults only, one after the other, such as \"kill host,freeze host\"")
	binary  = flag.String("binary", "build/mooring", "the mooring binary")
	plugin  = flag.String("plugin", "build/plugin", "directory of the managed plugin")
	faultfs = flag.String("faultfs", "build/faultfs", "program of the file system that fails")
	tar     = flag.String("image-file", "/var/cache/mooring/elasticsearch-8.19.5.tar", "file with the image of Elasticsearch")
	image   = flag.String("image", "elasticsearch:8.19.5", "name of that image")
	dir     = flag.String("dir", "/var/tmp/mooring-soak", "directory of the cell")
)

func main() {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().Unix())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "soak with seed %d: %v\nthe logs are kept in %s\n", *seed, err, keptLogs)
		os.Exit(1)
	}
}

// run brings a cell up, plays and takes the cell down again, whatever happened.
func run(ctx context.Context) error {
	begin := time.Now()
	say := func(format string, a ...any) {
		fmt.Printf("[%6.1f s] %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, a...))
	}
	if err := cell.Down(ctx, *dir); err != nil { // what an interrupted run may have left
		return err
	}
	c, err := cell.Up(ctx, *dir, cell.Options{
		Hosts: soak.Nodes + 1, Plugin: *plugin, Images: []string{*tar}, Fast: true, StoreFS: "xfs", Faults: *faultfs, Faulty: 1,
	})
	if err == nil {
		err = play(ctx, c, say)
	}
	if err != nil {
		err = errors.Join(err, cell.KeepLogs(*dir, keptLogs))
	}
	return errors.Join(err, cell.Down(context.WithoutCancel(ctx), *dir))
}

func play(ctx context.Context, c *cell.Cell, say func(string, ...any)) error {
	path, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	d := deploy.New(c, deploy.Options{Binary: path, Image: *image, Nodes: soak.Nodes})
	if err := d.Start(ctx); err != nil {
		return err
	}
	s, err := soak.Begin(ctx, soak.Options{Cell: c, Deployment: d, Say: say})
	if err != nil {
		return errors.Join(err, d.Stop())
	}
	say("seed %d", *seed)
	err = playRounds(ctx, s, say)
	return errors.Join(err, s.End(), d.Stop())
}

func playRounds(ctx context.Context, s *soak.Soak, say func(string, ...any)) error {
	deck := soak.NewDeck(*seed)
	for n := 1; n <= *rounds; n++ {
		round, err := choose(ctx, s, deck, n)
		if err != nil {
			return err
		}
		say("round %d", n)
		if err := s.Play(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
	}
	return nil
}

func choose(ctx context.Context, s *soak.Soak, deck *soak.Deck, n int) (soak.Round, error) {
	if *only == "" {
		return s.Round(ctx, deck)
	}
	names := strings.Split(*only, ",")
	name := names[(n-1)%len(names)]
	for _, f := range soak.Faults {
		if f.Name == name {
			return s.Under(ctx, f)
		}
	}
	return soak.Round{}, fmt.Errorf("there is no fault %q", name)
}
