package deploy

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"mooring/scheduler/api"
	"mooring/scheduler/client"
)

// Node is what the scheduler says of one node, with its ID, epoch and phase as plain values.
type Node struct {
	api.Node
	ID    int
	Epoch int
	Phase string
}

// HTTP is the address of the node's Elasticsearch.
func (n Node) HTTP() string { return net.JoinHostPort(n.Place.Host, strconv.Itoa(n.Place.HTTPPort)) }

// Backends asks the plugin on a node's host what the node's volumes are, in their order: dir or image.
func (d *Deployment) Backends(ctx context.Context, n Node) ([]string, error) {
	h, err := d.cell.At(n.Place.Host)
	if err != nil {
		return nil, err
	}
	var backends []string
	for _, name := range n.Volumes {
		backend, err := h.Docker(ctx, "volume", "inspect", "--format", "{{.Status.backend}}", name)
		if err != nil {
			return nil, err
		}
		backends = append(backends, backend)
	}
	return backends, nil
}

// Nodes asks the scheduler for its nodes, lowest ID first.
func (d *Deployment) Nodes(ctx context.Context) ([]Node, error) {
	var nodes []Node
	err := d.tell(ctx, func(ctx context.Context, c *client.Client) error {
		all, err := c.Nodes(ctx)
		for _, n := range all {
			nodes = append(nodes, Node{Node: n, ID: int(n.ID), Epoch: int(n.Epoch), Phase: string(n.Phase)})
		}
		return err
	})
	return nodes, err
}

// Scale sets the number of nodes.
func (d *Deployment) Scale(ctx context.Context, nodes int) error {
	return d.tell(ctx, func(ctx context.Context, c *client.Client) error { return c.Scale(ctx, nodes) })
}

// Order gives an operator's order for a node: restart, retire, keep or forgive.
func (d *Deployment) Order(ctx context.Context, node int, order string) error {
	return d.tell(ctx, func(ctx context.Context, c *client.Client) error {
		_, err := c.Order(ctx, node, order)
		return err
	})
}

// Operate runs an operator's order, `mooring ARGS`, inside the cell and returns what it prints.
func (d *Deployment) Operate(ctx context.Context, args ...string) (string, error) {
	order := d.cell.Command(ctx, d.options.Binary, args...)
	order.Env = append(order.Environ(), "MOORING_SCHEDULER=http://"+d.options.Listen)
	out, err := order.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mooring %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// AwaitNodes waits until so many nodes are ready and returns all.
func (d *Deployment) AwaitNodes(ctx context.Context, want int) ([]Node, error) {
	var nodes []Node
	err := d.Await(ctx, fmt.Sprintf("%d nodes to be ready", want), func(ctx context.Context) error {
		var err error
		if nodes, err = d.Nodes(ctx); err != nil {
			return err
		}
		ready := 0
		for _, n := range nodes {
			if n.Phase == "running" && n.Ready {
				ready++
			}
		}
		if ready != want {
			return fmt.Errorf("%d are; the scheduler says %+v", ready, nodes)
		}
		return nil
	})
	return nodes, err
}

// AwaitRelaunch waits until a node is ready in a later epoch than it was.
func (d *Deployment) AwaitRelaunch(ctx context.Context, was Node) error {
	return d.Await(ctx, fmt.Sprintf("node %d to be launched again", was.ID), func(ctx context.Context) error {
		nodes, err := d.Nodes(ctx)
		if err == nil && (nodes[was.ID-1].Epoch == was.Epoch || !nodes[was.ID-1].Ready) {
			err = fmt.Errorf("it is %+v", nodes[was.ID-1])
		}
		return err
	})
}

// HTTPAddresses are those of the running nodes, as far as the scheduler can be asked.
func (d *Deployment) HTTPAddresses() []string {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil
	}
	var addresses []string
	for _, n := range nodes {
		if n.Phase == "running" {
			addresses = append(addresses, n.HTTP())
		}
	}
	return addresses
}
