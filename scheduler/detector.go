package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
)

const (
	memberPrefix = "json.info_"     // node of a master, Mesos 0.24 and later; the one with the lowest number leads
	lookAgain    = 30 * time.Second // should a watch never fire, as has been seen with Mesos (MESOS-9426)
	lookRetry    = time.Second      // after a look that failed
)

// detector finds the masters where they announce themselves, in ZooKeeper. While that is away it goes by what it saw last.
type detector struct {
	conn   *ensemble.Conn
	scheme string // that masters are asked by: they don't say
	log    hclog.Logger
	looked chan struct{} // closed after the first look

	names []string        // of nodes, in order, when the watch was set
	watch <-chan zk.Event // tells when there are others; nil: none is set

	mu      sync.Mutex
	leading string // node of the leading master
	found   []*url.URL
	err     error // of the latest look, or what is wrong with what it saw
	changed chan struct{}
}

func newDetector(a ensemble.Address, scheme string, log hclog.Logger) *detector {
	return &detector{
		conn: ensemble.New(a, ensemble.Options{Setting: masterSetting, Log: log}), scheme: scheme, log: log,
		looked: make(chan struct{}), changed: make(chan struct{}),
	}
}

func (d *detector) find(ctx context.Context) (found, error) {
	select {
	case <-d.looked:
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := found{endpoints: d.found, changed: d.changed}
	if len(d.found) == 0 {
		return f, fmt.Errorf("find the leading master: %w", d.err)
	}
	return f, nil
}

func (d *detector) run(ctx context.Context) error {
	defer d.conn.Close()
	for first := true; ; first = false {
		wait := lookAgain
		members, err := d.look()
		if err != nil {
			wait = lookRetry
		}
		d.take(members, err)
		if first {
			close(d.looked)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.watch:
			d.watch = nil // a watch tells once
		case <-time.After(wait):
		}
	}
}

// member is a master as it announces itself.
type member struct {
	node     string
	endpoint *url.URL
}

// look reads all masters, the leading one first.
func (d *detector) look() (members []member, err error) {
	names, err := d.children()
	if errors.Is(err, zk.ErrNoNode) {
		return nil, fmt.Errorf("%w: no master was ever started with this address", err)
	}
	if err != nil {
		return nil, err
	}
	numbers := map[string]uint64{}
	names = slices.DeleteFunc(names, func(name string) bool {
		number, is := strings.CutPrefix(name, memberPrefix)
		n, err := strconv.ParseUint(number, 10, 64)
		numbers[name] = n
		return !is || err != nil
	})
	slices.SortFunc(names, func(a, b string) int { return int(numbers[a]) - int(numbers[b]) })
	for _, name := range names {
		m, err := d.read(name)
		if errors.Is(err, zk.ErrNoNode) {
			continue // it left in between, and the watch has fired
		}
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// children lists the nodes, and sees to it that there is a watch on them. One that may yet tell is left in place: the client keeps
// each until then. One that did not tell of other names is given up, see lookAgain.
func (d *detector) children() ([]string, error) {
	if d.watch != nil {
		names, err := ensemble.Call(d.conn, func(c *zk.Conn) ([]string, error) {
			names, _, err := c.Children(d.conn.Path())
			slices.Sort(names)
			return names, err
		})
		if err != nil || slices.Equal(names, d.names) {
			return names, err
		}
	}
	type children struct {
		names []string
		watch <-chan zk.Event
	}
	seen, err := ensemble.Call(d.conn, func(c *zk.Conn) (children, error) {
		names, _, watch, err := c.ChildrenW(d.conn.Path())
		slices.Sort(names)
		return children{names, watch}, err
	})
	d.names, d.watch = slices.Clone(seen.names), seen.watch
	return seen.names, err
}

func (d *detector) read(name string) (member, error) {
	data, err := ensemble.Call(d.conn, func(c *zk.Conn) ([]byte, error) {
		data, _, err := c.Get(d.conn.Path() + "/" + name)
		return data, err
	})
	if err != nil {
		return member{}, err
	}
	address, err := masterAddress(data, d.scheme == "https")
	if err != nil {
		return member{}, fmt.Errorf("%s/%s: %w", d.conn, name, err)
	}
	return member{node: name, endpoint: &url.URL{Scheme: d.scheme, Host: address, Path: schedulerPath}}, nil
}

// masterAddress is where a master says that it listens: by its IP address, which needs no name service, or by its name, for which
// certificates are made. Its other field for an IP address is a number in an order of bytes that depends on the machine.
func masterAddress(data []byte, byName bool) (string, error) {
	var info struct {
		Address struct {
			Hostname string `json:"hostname"`
			IP       string `json:"ip"`
			Port     int    `json:"port"`
		} `json:"address"`
		PID string `json:"pid"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return "", fmt.Errorf("not what a Mesos master writes: %w", err)
	}
	host := info.Address.IP
	if name := info.Address.Hostname; host == "" || byName && name != "" {
		host = name
	}
	address := net.JoinHostPort(host, strconv.Itoa(info.Address.Port))
	if host == "" {
		_, address, _ = strings.Cut(info.PID, "@")
	}
	if !isHostPort(address) {
		return "", fmt.Errorf("not what a Mesos master writes: it names no address")
	}
	return address, nil
}

// take notes what a look showed. A look that failed, or showed no master at all, says nothing about the one that led.
func (d *detector) take(members []member, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(members) == 0 {
		err = fmt.Errorf("no master leads at %s", d.conn)
	}
	if err != nil {
		if d.err == nil {
			d.log.Warn("masters not found in ZooKeeper, going by what was seen last", "error", err)
		}
		d.err = err
		return
	}
	d.err, d.found = nil, nil
	for _, m := range members {
		d.found = append(d.found, m.endpoint)
	}
	if members[0].node != d.leading {
		d.log.Info("leading master found", "master", members[0].endpoint.Host, "node", members[0].node)
		d.leading = members[0].node
		close(d.changed)
		d.changed = make(chan struct{})
	}
}
