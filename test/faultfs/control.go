package faultfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Serve takes faults and holds for a file system from a listener, one line each, and answers each with "ok" or what is wrong with
// it. It returns when ctx ends.
func Serve(ctx context.Context, listener net.Listener, f *FS) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a fault: %w", err)
		}
		serveOne(conn, f)
	}
}

// dialogue is how long one fault may take to arrive; the others wait.
const dialogue = 5 * time.Second

func serveOne(conn net.Conn, f *FS) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialogue)); err != nil {
		return
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	answer := "ok"
	if err := obey(strings.TrimSpace(line), f); err != nil {
		answer = err.Error()
	}
	fmt.Fprintln(conn, answer) // who has gone does not want it
}

// ErrWaiting says that a hold has not found its operation yet.
var ErrWaiting = errors.New("no operation is held yet")

// obey carries out one line: a fault, "hold" or "held" and a hold, or "release".
func obey(line string, f *FS) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "hold", "held":
		hold, err := ParseHold(rest)
		if err == nil && verb == "hold" {
			f.Hold(hold)
		} else if err == nil && !f.Held(hold) {
			err = ErrWaiting
		}
		return err
	case "release":
		f.Release()
		return nil
	}
	fault, err := Parse(line)
	if err == nil {
		f.Set(fault)
	}
	return err
}

// Tell sends a fault to the file system that listens on a Unix socket, and returns when it is in force.
func Tell(ctx context.Context, socket string, fault Fault) error {
	return say(ctx, socket, fault.String())
}

// Keep makes the first operation that fits wait until Release.
func Keep(ctx context.Context, socket string, hold Hold) error {
	return say(ctx, socket, "hold "+hold.String())
}

// Kept tells whether a hold has found its operation: ErrWaiting if not.
func Kept(ctx context.Context, socket string, hold Hold) error {
	err := say(ctx, socket, "held "+hold.String())
	if err != nil && err.Error() == ErrWaiting.Error() {
		return ErrWaiting
	}
	return err
}

// Release ends all holds.
func Release(ctx context.Context, socket string) error { return say(ctx, socket, "release") }

func say(ctx context.Context, socket, line string) error {
	ctx, cancel := context.WithTimeout(ctx, dialogue)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("tell the file system its fault: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("tell the file system its fault: %w", err)
	}
	fmt.Fprintln(conn, line)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("tell the file system its fault: %w", err)
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return errors.New(answer)
	}
	return nil
}
