package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"mooring/coordinator"
	"mooring/internal/secret"
	"mooring/scheduler/api"
	"mooring/scheduler/client"
)

// operatorFlags are those of every order to a running scheduler.
type operatorFlags struct {
	Scheduler string `help:"Address of the scheduler's HTTP API. Default: http://127.0.0.1:31100." default:"http://127.0.0.1:31100" placeholder:"URL"`
	TokenFile string `help:"File with the token, or USER:PASSWORD, that the scheduler is shown." placeholder:"FILE"`
	JSON      bool   `help:"Print JSON." name:"json" env:"-"`
}

func (f *operatorFlags) client() (*client.Client, error) {
	c, err := client.New(f.Scheduler, nil)
	if err != nil || f.TokenFile == "" {
		return c, err
	}
	token, err := secret.Read(f.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token for the scheduler: %w", err)
	}
	if strings.ContainsAny(token, "\r\n") {
		return nil, fmt.Errorf("token file %s has more than one line: it holds the one token, or USER:PASSWORD, that is shown", f.TokenFile)
	}
	c.As(token)
	return c, nil
}

// nodeArgument names the node that an order is for.
type nodeArgument struct {
	Node int `arg:"" help:"The node's ID, a number from 1."`
}

// order gives an order for one node and says what comes of it.
func (f *operatorFlags) order(ctx context.Context, k *kong.Context, id int, verb string, says func(api.Node) string) error {
	return f.give(k, func(c *client.Client) (api.Node, error) { return c.Order(ctx, id, verb) }, says)
}

func (f *operatorFlags) give(k *kong.Context, order func(*client.Client) (api.Node, error), says func(api.Node) string) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	n, err := order(c)
	if err != nil {
		return err
	}
	return show(k.Stdout, f.JSON, n, func(w io.Writer) { fmt.Fprintln(w, says(n)) })
}

type statusCommand struct {
	operatorFlags `embed:""`
}

// errProblems makes the exit status tell scripts that not all is well.
var errProblems = errors.New("not all is well")

// Run prints what there is and what is wrong; the latter is an error.
func (c *statusCommand) Run(ctx context.Context, k *kong.Context) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	s, err := asked.Status(ctx)
	if err != nil {
		return err
	}
	err = show(k.Stdout, c.JSON, s, func(w io.Writer) { writeStatus(w, s) })
	if err == nil && len(s.Problems) > 0 {
		err = errProblems
	}
	return err
}

func writeStatus(w io.Writer, s api.Status) {
	fmt.Fprintf(w, "framework %s (%s) at Mesos master %s: %d of %d nodes are ready\n", s.Framework, orNone(s.FrameworkID), orNone(s.Master), s.Ready, s.Target)
	switch {
	case s.Health != nil:
		fmt.Fprintf(w, "the cluster is %s\n", s.Health.Health)
	case s.Ready > 0:
		fmt.Fprintln(w, "the cluster's health is not known: no elected master tells it")
	}
	fmt.Fprintln(w)
	for _, g := range s.Groups {
		fmt.Fprintf(w, "group %s: %d of %d nodes are ready\n", g.Name, g.Ready, g.Target)
	}
	if len(s.Groups) > 0 {
		fmt.Fprintln(w)
	}
	writeNodes(w, s.Nodes)
	writeVolumes(w, s.VolumeList)
	for _, h := range s.Silent {
		fmt.Fprintf(w, "\nhost %s (agent %s) is silent for %s\n", h.Host, strings.Join(h.Agents, ", "), since(h.Since))
	}
	for _, p := range s.Problems {
		about := ""
		if p.Node != 0 {
			about = fmt.Sprintf("node %d: ", p.Node)
		}
		fmt.Fprintf(w, "\n%s%s\n  to do: %s\n", about, p.What, p.Do)
	}
	if len(s.Problems) == 0 {
		fmt.Fprintln(w, "\nall is well")
	}
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func writeNodes(w io.Writer, nodes []api.Node) {
	groups := slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Group != "" }) // otherwise there is nothing to tell apart
	group := func(text string) string {
		if groups {
			return text + "\t"
		}
		return ""
	}
	fmt.Fprintf(w, "NODE\t%sEPOCH\tPHASE\tFOR\tHOST\tAGENT\tWAITS\n", group("GROUP"))
	for _, n := range nodes {
		fmt.Fprintf(w, "%d\t%s%d\t%s\t%s\t%s\t%s\t%s\n", n.ID, group(cmp.Or(n.Group, coordinator.DefaultGroup)), n.Epoch, phase(n), since(n.Since), orDash(n.Place.Host), orDash(n.Place.Agent), n.Waits)
	}
}

// phase is the node's phase and what an operator wants of it.
func phase(n api.Node) string {
	text := string(n.Phase)
	if n.Phase == coordinator.Running && n.Ready {
		text = "ready"
	}
	if n.Intent != coordinator.Keep {
		text += fmt.Sprintf(" (%s)", n.Intent)
	}
	return text
}

// since is how long ago something was, in two units at most.
func since(t time.Time) string {
	d := time.Since(t)
	switch {
	case t.IsZero():
		return "-"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}

type nodesCommand struct {
	Node          int `arg:"" optional:"" help:"Show everything about this one."`
	operatorFlags `embed:""`
}

// Run prints a table, or one line for each thing known of a node.
func (c *nodesCommand) Run(ctx context.Context, k *kong.Context) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	if c.Node != 0 {
		n, err := asked.Node(ctx, c.Node)
		if err != nil {
			return err
		}
		volumes, err := asked.Volumes(ctx)
		if err != nil {
			return err
		}
		return show(k.Stdout, c.JSON, n, func(w io.Writer) { writeNode(w, n, volumes) })
	}
	nodes, err := asked.Nodes(ctx)
	if err != nil {
		return err
	}
	return show(k.Stdout, c.JSON, nodes, func(w io.Writer) { writeNodes(w, nodes) })
}

func writeNode(w io.Writer, n api.Node, volumes api.VolumeList) {
	rows := [][2]string{
		{"node", fmt.Sprint(n.ID)}, {"name", n.Name}, {"group", n.Group}, {"phase", phase(n)}, {"since", n.Since.Format("2006-01-02 15:04:05 MST")},
		{"epoch", fmt.Sprint(n.Epoch)}, {"task", n.Task}, {"version", n.Version}, {"host", n.Place.Host}, {"agent", n.Place.Agent},
		{"HTTP", address(n.Place.Host, n.Place.HTTPPort)}, {"transport", address(n.Place.Host, n.Place.TransportPort)}, {"zone", n.Place.Zone},
	}
	rows = append(rows, volumeRows(volumes, n.ID)...)
	rows = append(rows, [2]string{"waits", n.Waits}, [2]string{"latest failure", n.Problem})
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
}

func address(host string, port int) string {
	if port == 0 {
		return ""
	}
	return coordinator.Address(host, port)
}

type scaleCommand struct {
	Nodes         int    `arg:"" help:"How many nodes are wanted, 1 to 10000; of a group 0 to 10000."`
	Group         string `help:"The group whose number this is. Default: that of the nodes which are of no other." placeholder:"NAME" env:"-"`
	operatorFlags `embed:""`
}

// Run sets the target.
func (c *scaleCommand) Run(ctx context.Context, k *kong.Context) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	of, scale := "", asked.Scale
	if c.Group != "" {
		of = " of group " + c.Group
		scale = func(ctx context.Context, nodes int) error { return asked.ScaleGroup(ctx, c.Group, nodes) }
	}
	if err := scale(ctx, c.Nodes); err != nil {
		return err
	}
	return show(k.Stdout, c.JSON, map[string]int{"value": c.Nodes}, func(w io.Writer) {
		fmt.Fprintf(w, "%d nodes%s are wanted; nodes that are stopped for that keep their volumes, and documents of which only they have a copy cannot be reached without them\n", c.Nodes, of)
	})
}

type restartCommand struct {
	nodeArgument  `embed:""`
	Now           bool `help:"Wait neither for the other nodes nor for the cluster." env:"-"`
	operatorFlags `embed:""`
}

// Run gives the order.
func (c *restartCommand) Run(ctx context.Context, k *kong.Context) error {
	order := func(asked *client.Client) (api.Node, error) { return asked.Order(ctx, c.Node, "restart") }
	if c.Now {
		order = func(asked *client.Client) (api.Node, error) { return asked.RestartNow(ctx, c.Node) }
	}
	return c.give(k, order, func(n api.Node) string {
		switch {
		case n.Due():
			return fmt.Sprintf("node %d is restarted later, as epoch %d; %s. `mooring restart %d --now` waits for nothing", n.ID, n.Epoch+1, n.Waits, n.ID)
		case n.Intent == coordinator.Restart:
			return fmt.Sprintf("node %d is stopped and launched again, as epoch %d", n.ID, n.Epoch+1)
		}
		return fmt.Sprintf("node %d does not run: it is launched anyway", n.ID)
	})
}

type retireCommand struct {
	nodeArgument  `embed:""`
	operatorFlags `embed:""`
}

// Run gives the order.
func (c *retireCommand) Run(ctx context.Context, k *kong.Context) error {
	return c.order(ctx, k, c.Node, "retire", func(n api.Node) string {
		text := fmt.Sprintf("node %d is stopped and not replaced; its volumes %s are kept, and documents of which only it has a copy cannot be reached until it runs again (`mooring keep %d`)",
			n.ID, strings.Join(n.Volumes, " and "), n.ID)
		if n.Phase == coordinator.Running && n.Waits != "" { // what is missing already
			text += fmt.Sprintf(". Node %d %s", n.ID, n.Waits)
		}
		return text
	})
}

type keepCommand struct {
	nodeArgument  `embed:""`
	operatorFlags `embed:""`
}

// Run gives the order.
func (c *keepCommand) Run(ctx context.Context, k *kong.Context) error {
	return c.order(ctx, k, c.Node, "keep", func(n api.Node) string { return fmt.Sprintf("node %d is to run", n.ID) })
}

type forgiveCommand struct {
	nodeArgument  `embed:""`
	operatorFlags `embed:""`
}

// Run gives the order.
func (c *forgiveCommand) Run(ctx context.Context, k *kong.Context) error {
	return c.order(ctx, k, c.Node, "forgive", func(n api.Node) string {
		return fmt.Sprintf("node %d may be launched anywhere (it is %s now)", n.ID, n.Phase)
	})
}

type uninstallCommand struct {
	Yes           bool `help:"Do it. There is no way back but to install the framework anew." env:"-"`
	operatorFlags `embed:""`
}

// Run gives the order once it is certain that it is meant.
func (c *uninstallCommand) Run(ctx context.Context, k *kong.Context) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	cluster, err := asked.Cluster(ctx)
	if err != nil {
		return err
	}
	if !c.Yes {
		return fmt.Errorf("uninstall stops all nodes of framework %s, of which %d are ready, and has Mesos forget it; the volumes are kept. If that is meant, give --yes",
			cluster.Framework, cluster.Ready)
	}
	s, err := asked.Uninstall(ctx, cluster.Framework)
	if err != nil {
		return err
	}
	return show(k.Stdout, c.JSON, s, func(w io.Writer) {
		fmt.Fprintf(w, "framework %s is uninstalled: its nodes are stopped, then Mesos forgets it and the scheduler ends. `mooring status` shows how far it is.\n"+
			"The volumes are kept: `mooring volumes rm` on a host removes them, `mooring scheduler --new-framework` takes them up again\n", s.Framework)
	})
}
