// Package client asks a running scheduler and gives it orders, over its HTTP API. It is what the command line and the tests
// speak through, so that neither builds requests of its own.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mooring/scheduler/api"
)

const (
	answerTime  = 30 * time.Second // more than the scheduler takes to make an order durable, so that its message arrives
	answerLimit = 64 << 20         // bytes; 10,000 nodes take about 10 MB
	addressForm = "use http://HOST:PORT, where the scheduler listens (its --listen, by default port 31100)"
)

// Unreachable says that nobody answered at the address of the scheduler.
type Unreachable struct {
	Address string
	Cause   error
}

func (u Unreachable) Error() string {
	return fmt.Sprintf("no scheduler answers at %s (%v): is it running? If it is elsewhere, give --scheduler=http://HOST:PORT or set MOORING_SCHEDULER", u.Address, u.Cause)
}

// Unwrap returns the cause.
func (u Unreachable) Unwrap() error { return u.Cause }

// Client speaks to one scheduler.
type Client struct {
	address string
	http    *http.Client
	token   string
}

// As shows the scheduler a token, or USER:PASSWORD, with everything that is asked from now on.
func (c *Client) As(token string) { c.token = token }

// New reaches the scheduler at an address, http://host:port or host:port; transport nil is the usual one.
func New(address string, transport http.RoundTripper) (*Client, error) {
	full := address
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheduler %q: %s", address, addressForm)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("scheduler at %q: %s, and nothing more", u.Host, addressForm)
	}
	if transport == nil {
		transport = &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	}
	return &Client{address: u.Scheme + "://" + u.Host, http: &http.Client{Transport: transport, Timeout: answerTime}}, nil
}

// Status returns everything that an operator must know.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	var answer api.Status
	return answer, c.call(ctx, http.MethodGet, "/v1/status", nil, &answer)
}

// Cluster returns what is known of the whole.
func (c *Client) Cluster(ctx context.Context) (api.Cluster, error) {
	var answer api.Cluster
	return answer, c.call(ctx, http.MethodGet, "/v1/cluster", nil, &answer)
}

// Nodes returns the nodes, lowest ID first.
func (c *Client) Nodes(ctx context.Context) ([]api.Node, error) {
	var answer []api.Node
	return answer, c.call(ctx, http.MethodGet, "/v1/nodes", nil, &answer)
}

// Volumes returns the volumes of all nodes, and who holds them.
func (c *Client) Volumes(ctx context.Context) (api.VolumeList, error) {
	var answer api.VolumeList
	return answer, c.call(ctx, http.MethodGet, "/v1/volumes", nil, &answer)
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, id int) (api.Node, error) {
	var answer api.Node
	return answer, c.call(ctx, http.MethodGet, fmt.Sprintf("/v1/nodes/%d", id), nil, &answer)
}

// Scale sets how many nodes are wanted. Like all orders it is durable once this returns without an error.
func (c *Client) Scale(ctx context.Context, nodes int) error {
	return c.call(ctx, http.MethodPut, "/v1/cluster/elasticsearchNodes", map[string]int{"value": nodes}, nil)
}

// ScaleGroup sets how many nodes of one group are wanted.
func (c *Client) ScaleGroup(ctx context.Context, group string, nodes int) error {
	return c.call(ctx, http.MethodPut, "/v1/groups/"+url.PathEscape(group), map[string]int{"value": nodes}, nil)
}

// Order gives an order for one node: restart, retire, keep or forgive. It returns what the node is then.
func (c *Client) Order(ctx context.Context, id int, verb string) (api.Node, error) {
	var answer api.Node
	return answer, c.call(ctx, http.MethodPost, fmt.Sprintf("/v1/nodes/%d/%s", id, url.PathEscape(verb)), nil, &answer)
}

// RestartNow orders a restart that waits neither for the other nodes nor for the cluster.
func (c *Client) RestartNow(ctx context.Context, id int) (api.Node, error) {
	var answer api.Node
	return answer, c.call(ctx, http.MethodPost, fmt.Sprintf("/v1/nodes/%d/restart?now=true", id), nil, &answer)
}

// Uninstall has all nodes stopped and the framework of that name forgotten by Mesos. It returns when that is certain, not when
// it is done.
func (c *Client) Uninstall(ctx context.Context, framework string) (api.Status, error) {
	var answer api.Status
	return answer, c.call(ctx, http.MethodPost, "/v1/uninstall", map[string]string{"framework": framework}, &answer)
}

// Ready reports an error while the scheduler cannot do its work.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

// call sends an order, if there is one, and decodes the answer, if that is wanted.
func (c *Client) call(ctx context.Context, method, path string, order, answer any) error {
	var body io.Reader
	if order != nil {
		encoded, err := json.Marshal(order)
		if err != nil {
			return fmt.Errorf("encode order: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.address+path, body)
	if err != nil {
		return err
	}
	if user, password, pair := strings.Cut(c.token, ":"); pair {
		request.SetBasicAuth(user, password)
	} else if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Unreachable{Address: c.address, Cause: cause(err)}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	switch {
	case err != nil:
		return Unreachable{Address: c.address, Cause: fmt.Errorf("read its answer: %w", err)}
	case response.StatusCode != http.StatusOK:
		return c.refusal(response, content)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s answers %.100q, which no scheduler of mooring does: %s", c.address, content, addressForm)
	}
	return nil
}

// cause leaves out method and URL, which the message has already.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// refusal is what the scheduler says is wrong, in its own words.
func (c *Client) refusal(response *http.Response, content []byte) error {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(content, &answer) == nil && answer.Error != "" {
		return errors.New(answer.Error)
	}
	return fmt.Errorf("%s answers %s: %.200s", c.address, response.Status, bytes.TrimSpace(content))
}
