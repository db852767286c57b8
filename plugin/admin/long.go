package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Orders that may take long are answered line by line: how far they are, as often as there is something to say, and then the
// outcome. The order ends when its caller goes away. An order that has nothing to say is answered like any other.
const manyLines = "application/x-ndjson"

// line is one line of such an answer: the last one has a result or an error.
type line struct {
	Progress string          `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// report answers an order that may take long.
func (s *server) report(handle func(*http.Request, Say) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var mu sync.Mutex
		lines, over := json.NewEncoder(w), false
		begun := false
		say := func(progress string) {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return // the caller has gone, and work is on its way to its end
			}
			if !begun {
				w.Header().Set("Content-Type", manyLines)
				begun = true
			}
			lines.Encode(line{Progress: progress}) // an error means that the client has left, which ends the order
			http.NewResponseController(w).Flush()
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		result, err := handle(r, say)
		mu.Lock()
		defer mu.Unlock()
		over = true
		if !begun {
			s.answer(func(*http.Request) (any, error) { return result, err }).ServeHTTP(w, r)
			return
		}
		var last line
		if err == nil {
			last.Result, err = json.Marshal(result)
		}
		if err != nil {
			last = line{Error: oneLine(err.Error())}
		}
		lines.Encode(last)
	})
}

// order makes a request whose answer may take long, and passes on what it says meanwhile.
func (c *Client) order(ctx context.Context, method, path string, body, into any, say Say) error {
	patient := *c
	patient.http.Timeout = 0
	return patient.exchange(ctx, method, path, body, func(answer *http.Response) error {
		if answer.Header.Get("Content-Type") != manyLines {
			return decodeAnswer(answer.Body, into)
		}
		lines := json.NewDecoder(bufio.NewReader(answer.Body))
		for {
			var next line
			if err := lines.Decode(&next); err != nil {
				if errors.Is(err, io.EOF) {
					err = errors.New("it ended before the order did; the driver was stopped, perhaps")
				}
				return fmt.Errorf("read the driver's answer: %w", err)
			}
			switch {
			case next.Error != "":
				return errors.New(next.Error)
			case next.Result != nil:
				return json.Unmarshal(next.Result, into)
			case say != nil:
				say(next.Progress)
			}
		}
	})
}
