package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	Master  string // ID of that one
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
		return Membership{Joined: answer.Master != "", Master: answer.Master, Cluster: uuid}, nil
	}
	return Membership{}, nil
}

// Self is what a node is, for as long as it runs.
type Self struct {
	ID      string // by which others name it
	Version string // of Elasticsearch, as it writes it
}

// Self asks what the node is.
func (c *Client) Self(ctx context.Context) (Self, error) {
	var answer struct {
		Nodes map[string]struct {
			Version string `json:"version"`
		} `json:"nodes"`
	}
	if err := c.get(ctx, "/_nodes/_local?filter_path=nodes.*.version", &answer); err != nil {
		return Self{}, err
	}
	for id, node := range answer.Nodes {
		return Self{id, node.Version}, nil
	}
	return Self{}, fmt.Errorf("ask %s for its version: the answer names no node", c.base)
}

// Health is the state of a cluster as one node sees it. Of a shard that moves, only the copy that it moves from counts.
type Health struct {
	Status       string `json:"status"`                    // green, yellow (a copy is missing) or red (a primary is missing)
	Nodes        int    `json:"number_of_nodes"`           // that have joined
	Initializing int    `json:"initializing_shards"`       // shards that recover
	Fetching     int    `json:"number_of_in_flight_fetch"` // questions to nodes which shards they have, before they are assigned
	Relocating   int    `json:"relocating_shards"`
	Delayed      int    `json:"delayed_unassigned_shards"` // of those unassigned: that wait for a node which left
	Unassigned   int    `json:"unassigned_shards"`
}

// Health asks for the health of the cluster in the node's view: that of the elected master is the one to go by. What the master
// has still to do is waited for, though not for long: right after a shard has recovered the next one is due, and nothing shows it.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var answer Health
	const path = "/_cluster/health?local=true&wait_for_events=languid&timeout=1s&filter_path=status,number_of_nodes,*_shards,number_of_in_flight_fetch"
	err := c.get(ctx, path, &answer, http.StatusRequestTimeout) // says what is so, but not yet what was waited for
	if err == nil && answer.Status == "" {
		err = fmt.Errorf("ask %s for the cluster's health: the answer has no status", c.base)
	}
	return answer, err
}

// get asks one question. With 200, or one of the codes that are also an answer, there is something to read.
func (c *Client) get(ctx context.Context, path string, answer any, also ...int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read only; nothing is lost

	if code := response.StatusCode; code != http.StatusOK && !slices.Contains(also, code) {
		return fmt.Errorf("ask Elasticsearch at %s: answered %s", c.base, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read answer of Elasticsearch at %s: %w", c.base, err)
	}
	return nil
}
