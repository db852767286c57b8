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

// Serve takes faults for a file system from a listener, one line each, and answers each with "ok" or what is wrong with
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
	if fault, err := Parse(line); err != nil {
		answer = err.Error()
	} else {
		f.Set(fault)
	}
	fmt.Fprintln(conn, answer) // who has gone does not want it
}

// Tell sends a fault to the file system that listens on a Unix socket, and returns when it is in force.
func Tell(ctx context.Context, socket string, fault Fault) error {
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
	fmt.Fprintln(conn, fault)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("tell the file system its fault: %w", err)
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return errors.New(answer)
	}
	return nil
}
