package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Command prepares a command that runs in the switch's network namespace, from where master and hosts are reached.
func (c *Cell) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", slices.Concat([]string{"--net=" + c.Switch, name}, args)...)
}

// HTTPClient returns a client for this process that connects as if from the switch. Addresses in URLs are IP addresses:
// there are no names in a cell. Deadlines come from the requests' contexts. CloseIdleConnections ends what it keeps open.
func (c *Cell) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: c.Dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second}}
}

// Dial connects from the switch's network namespace. A socket belongs to the namespace it was made in, so only the thread
// that makes it has to go there.
func (c *Cell) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s in the cell: the form is IP:PORT, there are no names in a cell", address)
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find own network namespace: %w", err)
	}
	defer home.Close()
	away, err := os.Open(c.Switch)
	if err != nil {
		return nil, fmt.Errorf("find the switch of the cell, is it up?: %w", err)
	}
	defer away.Close()

	runtime.LockOSThread() // when the way back fails it stays locked, and the thread ends with its goroutine
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, dialErr := dialer.DialContext(ctx, network, address)
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("return to own network namespace: %w", err)
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

// get asks for a page and decodes it into answer, if not nil.
func get(ctx context.Context, client *http.Client, url string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: %s: %.200s", url, response.Status, body)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("read %s: %w", url, err)
	}
	return nil
}

// post sends JSON.
func post(ctx context.Context, client *http.Client, url, content string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(content))
	if err != nil {
		return fmt.Errorf("tell %s: %w", url, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("tell %s: %s: %s", url, response.Status, body)
	}
	return nil
}
