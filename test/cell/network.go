package cell

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const namespaces = "/run/netns" // where ip(8) keeps named network namespaces

func namespaceName(dir, name string) string { return prefix(dir) + "-" + name }

func namespacePath(dir, name string) string {
	return filepath.Join(namespaces, namespaceName(dir, name))
}

// A namespace keeps only 127.0.0.1 of the loopback network for itself; the rest of 127/8 is routed like any other address.
const ownLoopback = `
ip link set lo up
sysctl -qw net.ipv4.conf.all.route_localnet=1
ip addr del 127.0.0.1/8 dev lo
ip addr add 127.0.0.1/32 dev lo
`

// makeSwitch makes the namespace whose bridge joins the hosts.
func (c *Cell) makeSwitch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if err := run(ctx, "ip", "netns", "add", filepath.Base(c.Switch)); err != nil {
		return err
	}
	return inNamespace(ctx, c.Switch, ownLoopback+`
ip link add br0 type bridge
ip link set br0 up
sysctl -qw net.ipv4.conf.br0.route_localnet=1
ip addr add `+switchAddress+`/24 dev br0`)
}

// plug makes the host's namespace and its cable to the switch. The hardware address depends on the host alone: its
// neighbours need not ask again when it comes back. Connections to a dead peer end after some 6 s instead of 15 min, as
// Elasticsearch's documentation asks of every host (TCP retransmission timeout).
func (h *Host) plug(ctx context.Context) error {
	if h.plugged() { // a death that was not seen through left it
		if err := h.removeNetwork(ctx); err != nil {
			return err
		}
	}
	name, cable := filepath.Base(h.Namespace), h.cable()
	steps := [][]string{
		{"ip", "netns", "add", name},
		{"ip", "link", "add", cable, "netns", filepath.Base(h.cell.Switch), "type", "veth", "peer", "name", "eth0", "netns", name},
		{"ip", "-n", filepath.Base(h.cell.Switch), "link", "set", cable, "master", "br0", "up"},
	}
	for _, step := range steps {
		if err := run(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return inNamespace(ctx, h.Namespace, ownLoopback+fmt.Sprintf(`
ip link set eth0 address 02:00:00:00:00:%02x
ip link set eth0 up
sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.tcp_retries2=5
ip addr add %s/24 dev eth0`, h.N, h.Address))
}

// unplug takes the host's cable away. Nothing the host still sends, not even the end of its connections, arrives.
func (h *Host) unplug(ctx context.Context) error {
	network := filepath.Base(h.cell.Switch)
	if out, err := output(ctx, "ip", "-n", network, "-brief", "link"); err != nil || !strings.Contains(out, h.cable()+"@") {
		return err
	}
	return run(ctx, "ip", "-n", network, "link", "del", h.cable())
}

// removeNetwork removes what plug made. No process of the host may run any more.
func (h *Host) removeNetwork(ctx context.Context) error {
	if err := h.unplug(ctx); err != nil {
		return err
	}
	return run(ctx, "ip", "netns", "del", filepath.Base(h.Namespace))
}

// Cut takes the host off the network: no packet passes in either direction, and nobody is told.
func (h *Host) Cut(ctx context.Context) error { return h.setCable(ctx, "down") }

// Join puts a host that was cut off on the network again.
func (h *Host) Join(ctx context.Context) error { return h.setCable(ctx, "up") }

func (h *Host) setCable(ctx context.Context, state string) error {
	if !h.Alive() {
		return fmt.Errorf("%s is dead, so it has no network; return it first", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return run(ctx, "ip", "-n", filepath.Base(h.cell.Switch), "link", "set", h.cable(), state)
}

func (h *Host) cable() string { return fmt.Sprintf("veth%d", h.N) }

// plugged reports whether the host's namespace, and with it the cable, exists.
func (h *Host) plugged() bool {
	_, err := os.Stat(h.Namespace)
	return err == nil
}

// isCut reports whether the host's end of the cable is without carrier.
func (h *Host) isCut(ctx context.Context) bool {
	out, err := output(ctx, "ip", "-n", filepath.Base(h.Namespace), "-o", "link", "show", "eth0", "up")
	return err == nil && !containsField(out, "LOWER_UP")
}

func inNamespace(ctx context.Context, namespace, script string) error {
	return run(ctx, "nsenter", "--net="+namespace, "sh", "-ec", script)
}
