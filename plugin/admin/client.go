package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mooring/plugin/backend"
	"mooring/plugin/doctor"
	"mooring/plugin/store"
)

// answerTime is longer than the driver's own budget for a call, so that its message arrives.
const answerTime = 40 * time.Second

// Client gives orders to the driver of this host.
type Client struct {
	dir  string
	http http.Client
}

// NewClient reaches the driver whose state directory, as the host sees it, is dir.
func NewClient(dir string) *Client {
	c := &Client{dir: filepath.Join(dir, "mooring-host")}
	c.http = http.Client{Timeout: answerTime, Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.dial}}
	return c
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var conn net.Conn
	err := within(c.dir, func(path string) error {
		var err error
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// Volumes returns all volumes.
func (c *Client) Volumes(ctx context.Context) (Survey, error) {
	var answer Survey
	return answer, c.call(ctx, http.MethodGet, "/v1/volumes", nil, &answer)
}

// Inspect returns what is known of one volume.
func (c *Client) Inspect(ctx context.Context, name string) (Detail, error) {
	var answer Detail
	return answer, c.call(ctx, http.MethodGet, "/v1/volumes/"+url.PathEscape(name), nil, &answer)
}

// Remove removes a volume, which can be restored for as long as it is kept.
func (c *Client) Remove(ctx context.Context, name string, keep store.Delay) (store.Removed, error) {
	var answer store.Removed
	return answer, c.call(ctx, http.MethodDelete, "/v1/volumes/"+url.PathEscape(name)+"?keep="+keep.String(), nil, &answer)
}

// Snapshot keeps what an image is now under a name.
func (c *Client) Snapshot(ctx context.Context, name string, order SnapshotOrder, say Say) (backend.Snapshot, error) {
	var answer backend.Snapshot
	return answer, c.order(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(name)+"/snapshots", order, &answer, say)
}

// Snapshots returns what is kept of a volume.
func (c *Client) Snapshots(ctx context.Context, name string) ([]backend.Snapshot, error) {
	var answer struct{ Snapshots []backend.Snapshot }
	err := c.call(ctx, http.MethodGet, "/v1/volumes/"+url.PathEscape(name)+"/snapshots", nil, &answer)
	return answer.Snapshots, err
}

// Clone makes a new volume from another, or from a snapshot.
func (c *Client) Clone(ctx context.Context, name string, order CloneOrder, say Say) (store.Volume, error) {
	var answer store.Volume
	return answer, c.order(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(name)+"/clone", order, &answer, say)
}

// Check lets an image's own checker look at it.
func (c *Client) Check(ctx context.Context, name string, order CheckOrder, say Say) (backend.Check, error) {
	var answer backend.Check
	return answer, c.order(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(name)+"/check", order, &answer, say)
}

// Drain makes the host refuse new mounts.
func (c *Client) Drain(ctx context.Context) (Drain, error) {
	var answer Drain
	return answer, c.call(ctx, http.MethodPut, "/v1/drain", nil, &answer)
}

// Undrain makes the host accept mounts again.
func (c *Client) Undrain(ctx context.Context) (Drain, error) {
	var answer Drain
	return answer, c.call(ctx, http.MethodDelete, "/v1/drain", nil, &answer)
}

// Trash returns the removed volumes that can be restored.
func (c *Client) Trash(ctx context.Context) ([]store.Removed, error) {
	var answer struct{ Trash []store.Removed }
	err := c.call(ctx, http.MethodGet, "/v1/trash", nil, &answer)
	return answer.Trash, err
}

// Restore brings a removed volume back.
func (c *Client) Restore(ctx context.Context, name, id string) (store.Removed, error) {
	var answer store.Removed
	return answer, c.call(ctx, http.MethodPost, "/v1/trash/"+url.PathEscape(name)+"/restore", which{id}, &answer)
}

// TakeOver takes a volume from a dead host.
func (c *Client) TakeOver(ctx context.Context, name string, order Order) (Taken, error) {
	var answer Taken
	return answer, c.call(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(name)+"/takeover", order, &answer)
}

// Gone takes the volumes of a host that is gone for good.
func (c *Client) Gone(ctx context.Context, host string, order GoneOrder) (Gone, error) {
	var answer Gone
	return answer, c.call(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(host)+"/gone", order, &answer)
}

// Grow makes an image larger.
func (c *Client) Grow(ctx context.Context, name string, to store.Size) (Grown, error) {
	var answer Grown
	return answer, c.call(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(name)+"/grow", size{to}, &answer)
}

// Report is what the doctor answers.
type Report struct {
	Repairs  []Repair         `json:"repairs,omitempty"`
	Findings []doctor.Finding `json:"findings"` // after the repairs
}

// Doctor returns what does not fit together.
func (c *Client) Doctor(ctx context.Context) (Report, error) {
	var answer Report
	return answer, c.call(ctx, http.MethodGet, "/v1/doctor", nil, &answer)
}

// Fix mends what can be mended safely.
func (c *Client) Fix(ctx context.Context) (Report, error) {
	var answer Report
	return answer, c.call(ctx, http.MethodPost, "/v1/doctor/fix", nil, &answer)
}

// call makes one request.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	return c.exchange(ctx, method, path, body, func(answer *http.Response) error { return decodeAnswer(answer.Body, into) })
}

func decodeAnswer(body io.Reader, into any) error {
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read the driver's answer: %w", err)
	}
	return nil
}

// exchange makes one request and hands on the answer to it; an error of the driver's is returned as it is.
func (c *Client) exchange(ctx context.Context, method, path string, body any, read func(*http.Response) error) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://mooring"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return c.explain(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var refused struct{ Error string }
		if err := json.NewDecoder(answer.Body).Decode(&refused); err != nil || refused.Error == "" {
			return fmt.Errorf("the driver answered %s without a reason", answer.Status)
		}
		return errors.New(refused.Error)
	}
	return read(answer)
}

// explain says what to do when the driver cannot be reached.
func (c *Client) explain(err error) error {
	socket := filepath.Join(c.dir, Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no volume driver has its state in %s: start the plugin, or name its state directory by --state-dir", filepath.Dir(c.dir))
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("the volume driver is not running: nobody answers at %s", socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may be used by root only", socket)
	}
	return fmt.Errorf("ask the volume driver at %s: %w", socket, err)
}
