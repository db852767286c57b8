// Package ledger is the witness of the promise: it writes documents into an Elasticsearch cluster, keeps the IDs of those
// that were acknowledged, and later looks for every one of them. It retries what was not acknowledged, so that a document
// counts only once its writer was told that it is safe.
package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	bulkTimeout = 10 * time.Second // of one bulk; a shard that is away must not hold up the others for long
	pageSize    = 5000             // IDs per page when all are read
)

// Document is one document with the ID it is written under.
type Document struct {
	ID     string
	Source any
}

// Ledger writes to one index and remembers.
type Ledger struct {
	client *http.Client
	nodes  func() []string // HTTP addresses of nodes to write to, host:port
	index  string

	mu    sync.Mutex
	acked map[string]bool
	turn  int // counts requests, to ask another node each time
}

// New returns a Ledger for an index. Addresses are asked for at each request: nodes move.
func New(client *http.Client, nodes func() []string, index string) *Ledger {
	return &Ledger{client: client, nodes: nodes, index: index, acked: map[string]bool{}}
}

// Create makes the index.
func (l *Ledger) Create(ctx context.Context, shards, replicas int) error {
	settings := fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":%d}}`, shards, replicas)
	return l.do(ctx, http.MethodPut, "/"+l.index, []byte(settings), nil)
}

// Write indexes documents in one bulk and returns those that were not acknowledged. The error says why, and is nil exactly
// when all were.
func (l *Ledger) Write(ctx context.Context, documents []Document) ([]Document, error) {
	body, err := encode(documents)
	if err != nil {
		return documents, err
	}
	ctx, cancel := context.WithTimeout(ctx, bulkTimeout+5*time.Second)
	defer cancel()
	var answer struct {
		Items []struct {
			Index struct {
				ID     string          `json:"_id"`
				Status int             `json:"status"`
				Error  json.RawMessage `json:"error"`
			} `json:"index"`
		} `json:"items"`
	}
	path := fmt.Sprintf("/%s/_bulk?timeout=%ds", l.index, int(bulkTimeout.Seconds()))
	if err := l.do(ctx, http.MethodPost, path, body, &answer); err != nil {
		return documents, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var reasons error
	for _, item := range answer.Items {
		if item.Index.Status == http.StatusOK || item.Index.Status == http.StatusCreated {
			l.acked[item.Index.ID] = true
		} else if reasons == nil {
			reasons = fmt.Errorf("document %s: status %d: %.200s", item.Index.ID, item.Index.Status, item.Index.Error)
		}
	}
	left := slices.DeleteFunc(slices.Clone(documents), func(d Document) bool { return l.acked[d.ID] })
	return left, reasons
}

// WriteAll writes documents in bulks of a size until each is acknowledged or ctx ends.
func (l *Ledger) WriteAll(ctx context.Context, documents []Document, size int) error {
	for bulk := range slices.Chunk(documents, size) {
		for len(bulk) > 0 {
			left, err := l.Write(ctx, bulk)
			if err != nil && pause(ctx, 200*time.Millisecond) != nil {
				return fmt.Errorf("write to %s, %d documents left of a bulk: %w", l.index, len(left), err)
			}
			bulk = left
		}
	}
	return nil
}

// Flush has the index put on disk what it holds in memory.
func (l *Ledger) Flush(ctx context.Context) error {
	return l.do(ctx, http.MethodPost, "/"+l.index+"/_flush", nil, nil)
}

// Acknowledged is how many documents were acknowledged so far.
func (l *Ledger) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// acknowledged are the IDs of the documents that were acknowledged so far.
func (l *Ledger) acknowledged() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.acked))
}

// Account is what a look at the index found.
type Account struct {
	Acknowledged int
	Found        int      // of the acknowledged
	Missing      []string // acknowledged, not found
	ChecksumOK   bool     // over the IDs of both
}

// Audit reads all IDs of the index and compares them with what was acknowledged before. Writing may go on meanwhile.
func (l *Ledger) Audit(ctx context.Context) (Account, error) {
	acked := l.acknowledged()
	stored, err := l.ids(ctx)
	if err != nil {
		return Account{}, fmt.Errorf("read index %s: %w", l.index, err)
	}
	var found, missing []string
	for _, id := range acked {
		if stored[id] {
			found = append(found, id)
		} else {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	return Account{
		Acknowledged: len(acked), Found: len(found), Missing: missing, ChecksumOK: checksum(acked) == checksum(found),
	}, nil
}

func checksum(ids []string) string {
	slices.Sort(ids)
	h := sha256.New()
	for _, id := range ids {
		fmt.Fprintln(h, id)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ids reads the IDs of all documents in the index.
func (l *Ledger) ids(ctx context.Context) (map[string]bool, error) {
	if err := l.do(ctx, http.MethodPost, "/"+l.index+"/_refresh", nil, nil); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	path := fmt.Sprintf("/%s/_search?scroll=1m&size=%d&_source=false&sort=_doc", l.index, pageSize)
	var body []byte
	for {
		var page page
		if err := l.do(ctx, http.MethodPost, path, body, &page); err != nil {
			return nil, err
		}
		if page.Shards.Failed > 0 || page.TimedOut {
			return nil, fmt.Errorf("search was not complete: %d shards failed", page.Shards.Failed)
		}
		if len(page.Hits.Hits) == 0 {
			return ids, nil
		}
		for _, hit := range page.Hits.Hits {
			ids[hit.ID] = true
		}
		path = "/_search/scroll"
		body = fmt.Appendf(nil, `{"scroll":"1m","scroll_id":%q}`, page.Scroll)
	}
}

type page struct {
	Scroll   string `json:"_scroll_id"`
	TimedOut bool   `json:"timed_out"`
	Shards   struct {
		Failed int `json:"failed"`
	} `json:"_shards"`
	Hits struct {
		Hits []struct {
			ID string `json:"_id"`
		} `json:"hits"`
	} `json:"hits"`
}

// do asks one node after another until one answers. Repeating is harmless: documents carry their IDs.
func (l *Ledger) do(ctx context.Context, method, path string, body []byte, answer any) error {
	nodes := l.nodes()
	if len(nodes) == 0 {
		return errors.New("no node is known")
	}
	l.mu.Lock()
	l.turn++
	first := l.turn
	l.mu.Unlock()
	var errs error
	for i := range nodes {
		err := l.ask(ctx, method, "http://"+nodes[(first+i)%len(nodes)]+path, body, answer)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
		if _, refused := errors.AsType[*statusError](err); refused || ctx.Err() != nil {
			break
		}
	}
	return errs
}

// statusError is an answer that says no.
type statusError struct{ text string }

func (e *statusError) Error() string { return e.text }

func (l *Ledger) ask(ctx context.Context, method, url string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", url, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return &statusError{fmt.Sprintf("%s %s: %s: %.300s", method, url, response.Status, content)}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}

// encode writes documents in the form of the bulk API.
func encode(documents []Document) ([]byte, error) {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	for _, d := range documents {
		if err := lines.Encode(map[string]any{"index": map[string]string{"_id": d.ID}}); err != nil {
			return nil, err
		}
		if err := lines.Encode(d.Source); err != nil {
			return nil, fmt.Errorf("encode document %s: %w", d.ID, err)
		}
	}
	return body.Bytes(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
