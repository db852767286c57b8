package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mooring/test/cell"
	"mooring/test/faultfs"
)

// Fault is something that breaks and is mended.
type Fault struct {
	Name  string
	moves bool             // the node comes back on another host before anything is mended
	ends  bool             // the node is launched again after all
	most  time.Duration    // how long it stays broken, unless it moves the node; 0: as long as a crash lasts
	fits  func(state) bool // where it can be played; nil: everywhere

	strike, mend func(context.Context, victim) error
}

// The faults of whole hosts, each of which moves the node.
var (
	// KillHost is a power cut. The host that can lose its store is left for that.
	KillHost = Fault{
		Name: "kill host", moves: true, fits: func(s state) bool { return !s.victim.Faulty },
		strike: host((*cell.Host).Kill), mend: host((*cell.Host).Return),
	}
	// CutHost takes the host off the network that it has its store through, too: it lives and cannot reach anything.
	CutHost = Fault{
		Name: "cut host off network and store", moves: true, fits: func(s state) bool { return s.victim.Faulty },
		strike: func(ctx context.Context, v victim) error {
			return errors.Join(v.host.Cut(ctx), v.host.Fault(ctx, faultfs.Fault{Kind: faultfs.Hang}))
		},
		mend: func(ctx context.Context, v victim) error { return errors.Join(v.host.Heal(ctx), v.host.Join(ctx)) },
	}
	// FreezeHost stops the host where it stands for longer than others wait, and then lets it go on. The host that takes over
	// must be able to clone an image, which one with a store that can fail is not; and what gives such a host its store would
	// be frozen with it, and hold up all who look through the loop devices of the kernel that hosts share.
	FreezeHost = Fault{
		Name: "freeze host", moves: true, fits: func(s state) bool { return !s.victim.Faulty && !s.spare.Faulty },
		strike: host((*cell.Host).Freeze), mend: host((*cell.Host).Thaw),
	}
)

// Faults are all that soak plays.
var Faults = []Fault{
	KillHost, CutHost, FreezeHost,
	{Name: "freeze host for a while", most: 15 * time.Second, strike: host((*cell.Host).Freeze), mend: host((*cell.Host).Thaw)},
	{Name: "cut host off network", most: 40 * time.Second, strike: host((*cell.Host).Cut), mend: host((*cell.Host).Join)},
	{Name: "kill plugin", strike: program("/mooring plugin"), mend: awaitPlugin},
	{Name: "kill guard", strike: killGuard, mend: nothing},
	{Name: "kill engine", ends: true, strike: host((*cell.Host).KillEngine), mend: host((*cell.Host).StartEngine)},
	{Name: "kill executor", ends: true, strike: program("mooring executor"), mend: nothing},
	{Name: "kill agent", most: 10 * time.Second, strike: host((*cell.Host).KillAgent), mend: host((*cell.Host).StartAgent)},
	{
		Name: "kill scheduler", most: 10 * time.Second,
		strike: func(_ context.Context, v victim) error { return v.Deployment.Kill() },
		mend:   func(ctx context.Context, v victim) error { return v.Deployment.Start(ctx) },
	},
	{
		Name: "kill master", most: 10 * time.Second,
		strike: func(ctx context.Context, v victim) error { return v.Cell.KillMaster(ctx) },
		mend:   func(ctx context.Context, v victim) error { return v.Cell.StartMaster(ctx) },
	},
}

func host(do func(*cell.Host, context.Context) error) func(context.Context, victim) error {
	return func(ctx context.Context, v victim) error { return do(v.host, ctx) }
}

// program kills the processes on the host whose command line has some words in it.
func program(words string) func(context.Context, victim) error {
	return func(ctx context.Context, v victim) error {
		kill, err := v.host.Command(ctx, "pkill", "--signal", "KILL", "--full", words)
		if err != nil {
			return err
		}
		return kill.Run()
	}
}

// awaitPlugin waits until the engine has started the plugin again and it knows the node's volumes.
func awaitPlugin(ctx context.Context, v victim) error {
	return v.Deployment.Await(ctx, "the plugin of "+v.host.Name, func(ctx context.Context) error {
		_, err := v.Deployment.Backends(ctx, v.node)
		return err
	})
}

// killGuard kills the guard and waits until the plugin has started another one: without that nobody would fence the host.
func killGuard(ctx context.Context, v victim) error {
	killed := v.host.GuardPID()
	if killed == 0 {
		return fmt.Errorf("%s has no guard", v.host.Name)
	}
	if err := unix.Kill(killed, unix.SIGKILL); err != nil {
		return err
	}
	return v.Deployment.Await(ctx, "another guard on "+v.host.Name, func(context.Context) error {
		if now := v.host.GuardPID(); now == 0 || now == killed {
			return errors.New("there is none")
		}
		return nil
	})
}

func nothing(context.Context, victim) error { return nil }
