package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	callTimeout = 5 * time.Second
	maxAnswer   = 1 << 20 // bytes; the answers asked for here have a few hundred
	stillForms  = "_na_"  // cluster UUID of a node that has not joined yet
)

// Client asks one running node. It asks for the node's own view only: any other waits for dead or frozen nodes.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a Client for the node at address, host:port of its HTTP. A nil transport goes there straight, past any
// proxy, with a connection for each question, because the node may be another one the next time.
func NewClient(address string, transport http.RoundTripper) *Client {
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true}
	}
	return &Client{base: "http://" + address, http: &http.Client{Transport: transport, Timeout: callTimeout}}
}

// Membership is what a node says of its cluster.
type Membership struct {
	Joined  bool   // the node sees an elected master
	Cluster string // UUID of the cluster; empty while it forms
}

// Membership asks which cluster the node is in. While the node starts there is no answer, hence an error.
func (c *Client) Membership(ctx context.Context) (Membership, error) {
	var answer struct {
		Master   string `json:"master_node"`
		Metadata struct {
			UUID string `json:"cluster_uuid"`
		} `json:"metadata"`
	}
	const path = "/_cluster/state/master_node,metadata?local=true&filter_path=master_node,metadata.cluster_uuid"
	if err := c.get(ctx, path, &answer); err != nil {
		return Membership{}, err
	}
	if uuid := answer.Metadata.UUID; uuid != "" && uuid != stillForms {
		return Membership{Joined: answer.Master != "", Cluster: uuid}, nil
	}
	return Membership{}, nil
}

// Version asks for the version of Elasticsearch that runs, as it writes it.
func (c *Client) Version(ctx context.Context) (string, error) {
	var answer struct {
		Nodes map[string]struct {
			Version string `json:"version"`
		} `json:"nodes"`
	}
	if err := c.get(ctx, "/_nodes/_local?filter_path=nodes.*.version", &answer); err != nil {
		return "", err
	}
	for _, node := range answer.Nodes {
		return node.Version, nil
	}
	return "", fmt.Errorf("ask %s for its version: the answer names no node", c.base)
}

// Health is the state of a cluster as one node sees it.
type Health struct {
	Status string `json:"status"`          // green, yellow or red
	Nodes  int    `json:"number_of_nodes"` // that have joined
}

// Health asks for the health of the cluster in the node's view.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var answer Health
	err := c.get(ctx, "/_cluster/health?local=true&filter_path=status,number_of_nodes", &answer)
	return answer, err
}

func (c *Client) get(ctx context.Context, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read only; nothing is lost
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask Elasticsearch at %s: answered %s", c.base, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read answer of Elasticsearch at %s: %w", c.base, err)
	}
	return nil
}
