// Command faultfs shows a directory as a file system that fails on demand; see package mooring/test/faultfs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"mooring/test/faultfs"
)

type commands struct {
	Mount mount `cmd:"" help:"Mount a directory at another place, and stay until it is unmounted."`
	Tell  tell  `cmd:"" help:"Give a mounted file system a fault: none, eio, enospc, estale, hang, latency 100ms."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line := kong.Parse(&commands{}, kong.Name("faultfs"), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))
	line.FatalIfErrorf(line.Run())
}

type mount struct {
	Dir    string `arg:"" help:"Directory to show." type:"existingdir"`
	At     string `arg:"" help:"Directory to show it at." type:"existingdir"`
	Socket string `help:"Unix socket that takes faults." required:"" placeholder:"FILE"`
}

func (m mount) Run(ctx context.Context) error {
	if err := os.Remove(m.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	mounted, err := faultfs.Mount(m.Dir, m.At)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", m.Socket)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for faults: %w", err), mounted.Unmount())
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		mounted.Wait()
		cancel()
	}()
	if err := faultfs.Serve(ctx, listener, mounted); err != nil {
		return err
	}
	_ = mounted.Unmount() // in vain when somebody else did it, or uses it: then it goes with this process
	return nil
}

type tell struct {
	Socket string   `arg:"" help:"Unix socket of the file system."`
	Fault  []string `arg:"" help:"The fault."`
}

func (c tell) Run(ctx context.Context) error {
	fault, err := faultfs.Parse(strings.Join(c.Fault, " "))
	if err != nil {
		return err
	}
	return faultfs.Tell(ctx, c.Socket, fault)
}
