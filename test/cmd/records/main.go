// Command records writes and audits numbered records; see package mooring/test/records. It needs nothing around it, so an
// image for containers can hold it alone.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"mooring/test/records"
)

type commands struct {
	Write write `cmd:"" help:"Append records until stopped."`
	Audit audit `cmd:"" help:"Compare records with what was acknowledged."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line := kong.Parse(&commands{}, kong.Name("records"), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))
	line.FatalIfErrorf(line.Run())
}

type write struct {
	File  string        `arg:"" help:"File to append to."`
	Host  string        `help:"Name of this host." required:""`
	Acks  string        `help:"File to append acknowledgements to, not on the volume under test. Default: standard output." placeholder:"FILE"`
	Count uint64        `help:"How many records; 0 means until stopped."`
	Pause time.Duration `help:"Time between two records." default:"5ms"`
	Stay  bool          `help:"Stay until stopped after the last record, with the file closed."`
}

func (w write) Run(ctx context.Context) error {
	var acks io.Writer = os.Stdout
	if w.Acks != "" {
		f, err := os.OpenFile(w.Acks, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return fmt.Errorf("open acknowledgements: %w", err)
		}
		defer f.Close()
		acks = f
	}
	err := records.Writer{Host: w.Host, Acks: acks, Count: w.Count, Pause: w.Pause}.Append(ctx, w.File)
	if err == nil && w.Stay {
		<-ctx.Done()
	}
	return err
}

type audit struct {
	File string `arg:"" help:"File of records."`
	Acks string `help:"File of acknowledgements." required:"" placeholder:"FILE"`
}

func (a audit) Run() error {
	file, err := os.ReadFile(a.File)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	acks, err := os.ReadFile(a.Acks)
	if err != nil {
		return fmt.Errorf("read acknowledgements: %w", err)
	}
	report, err := records.Audit(file, acks)
	if err != nil {
		return err
	}
	fmt.Println(report)
	return nil
}
