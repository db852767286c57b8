// Package deploy runs Mooring in a cell as an operator would: it starts the scheduler's process, asks its HTTP API and asks
// Elasticsearch. Nothing in here looks inside.
package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mooring/scheduler/api"
	"mooring/scheduler/client"
	"mooring/test/cell"
)

const (
	pollEvery  = 100 * time.Millisecond
	askTimeout = 5 * time.Second
)

// Options say how the scheduler is started.
type Options struct {
	Binary    string   // the mooring binary
	Framework string   // its name; "" means elasticsearch
	Image     string   // of Elasticsearch, known to every engine of the cell
	Nodes     int      // wanted
	Listen    string   // address of the scheduler's API; "" is that of the cell
	Flags     []string // further flags of `mooring scheduler`, which beat those given here
}

// smallHeap lets a node of Elasticsearch start fast and live in little memory; it is the figures of nobody's production.
var smallHeap = []string{
	"--memory=1024", "--heap=256", "--cpus=0.5",
	"--java-option=-XX:-UseG1GC", "--java-option=-XX:+UseSerialGC", "--java-option=-XX:TieredStopAtLevel=1",
	"--java-option=-XX:-AlwaysPreTouch",
}

// Deployment is a scheduler in a cell.
type Deployment struct {
	cell    *cell.Cell
	options Options
	client  *http.Client
	process *exec.Cmd
	ended   chan error

	uninstalled bool
}

// New prepares a deployment; Start starts it.
func New(c *cell.Cell, o Options) *Deployment {
	if o.Framework == "" {
		o.Framework = "elasticsearch"
	}
	if o.Listen == "" {
		o.Listen = c.Scheduler
	}
	return &Deployment{cell: c, options: o, client: c.HTTPClient()}
}

// Client connects from inside the cell.
func (d *Deployment) Client() *http.Client { return d.client }

// Log is the file that the scheduler writes to.
func (d *Deployment) Log() string { return d.dir() + ".log" }

// dir is the scheduler's directory.
func (d *Deployment) dir() string {
	name := "scheduler-" + d.options.Framework
	if d.options.Listen != d.cell.Scheduler {
		name += "-" + strings.ReplaceAll(d.options.Listen, ":", "-")
	}
	return filepath.Join(d.cell.Dir, name)
}

// Start starts the scheduler, with the state that an earlier one left.
func (d *Deployment) Start(ctx context.Context) error {
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the scheduler's log: %w", err)
	}
	defer log.Close()
	args := slices.Concat([]string{
		"scheduler", "--master=" + d.cell.Master, "--listen=" + d.options.Listen, fmt.Sprintf("--nodes=%d", d.options.Nodes),
		"--framework=" + d.options.Framework, "--image=" + d.options.Image, "--external-volume-driver=mooring", "--state-dir=" + d.dir(),
	}, smallHeap, d.options.Flags)
	d.process = d.cell.Command(context.WithoutCancel(ctx), d.options.Binary, args...)
	d.process.Stdout, d.process.Stderr = log, log
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the caller, who ends it in order
	if err := d.process.Start(); err != nil {
		return fmt.Errorf("start the scheduler: %w", err)
	}
	d.ended = make(chan error, 1)
	go func(p *exec.Cmd, ended chan<- error) { ended <- p.Wait() }(d.process, d.ended)
	return d.Await(ctx, "the scheduler to be ready", func(ctx context.Context) error {
		return d.tell(ctx, func(ctx context.Context, c *client.Client) error { return c.Ready(ctx) })
	})
}

// tell asks the scheduler something, or gives it an order.
func (d *Deployment) tell(ctx context.Context, what func(context.Context, *client.Client) error) error {
	c, err := client.New(d.options.Listen, d.client.Transport)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return what(ctx, c)
}

// Kill ends the scheduler as a crash does.
func (d *Deployment) Kill() error { return d.end(syscall.SIGKILL) }

// Stop ends the scheduler in order; its tasks go on.
func (d *Deployment) Stop() error { return d.end(syscall.SIGTERM) }

func (d *Deployment) end(signal syscall.Signal) error {
	if d.process == nil {
		return nil
	}
	defer func() { d.process = nil }()
	if err := d.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the scheduler: %w", err)
	}
	err := <-d.ended
	if exit, isExit := errors.AsType[*exec.ExitError](err); isExit && exit.Sys().(syscall.WaitStatus).Signal() == signal {
		return nil
	}
	return err
}

// AwaitEnd waits until the scheduler ends by itself, after an order to uninstall, and returns what is wrong with how it ended.
func (d *Deployment) AwaitEnd(ctx context.Context) error {
	select {
	case err := <-d.ended:
		d.process, d.uninstalled = nil, err == nil
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the scheduler to end: %w; see %s", ctx.Err(), d.Log())
	}
}

// Remove stops the scheduler, has the Mesos master end the framework, and waits until no container of it is left.
func (d *Deployment) Remove(ctx context.Context) error {
	if !d.uninstalled {
		if err := d.tearDown(ctx); err != nil {
			return err
		}
	}
	for _, h := range d.cell.Hosts {
		err := d.Await(ctx, "the containers on "+h.Name+" to be gone", func(ctx context.Context) error { return d.clear(ctx, h) })
		if err != nil {
			return err
		}
	}
	return nil
}

// tearDown ends the framework as an operator does who has no scheduler to ask.
func (d *Deployment) tearDown(ctx context.Context) error {
	var cluster api.Cluster
	err := d.tell(ctx, func(ctx context.Context, c *client.Client) (err error) {
		cluster, err = c.Cluster(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.Stop(); err != nil {
		return err
	}
	end := func() error {
		d.client.CloseIdleConnections()
		return d.send(ctx, http.MethodPost, "http://"+d.cell.Master+"/master/teardown", []byte("frameworkId="+cluster.FrameworkID))
	}
	if err := end(); !errors.Is(err, io.EOF) { // the master has closed the connection, and a POST is not sent twice by itself
		return err
	}
	return end()
}

// clear removes the containers that a death of their host left behind. It is an error while others run, or remove themselves.
func (d *Deployment) clear(ctx context.Context, h *cell.Host) error {
	running, err := d.Containers(ctx, h, "--quiet")
	if err != nil || running != "" {
		return errors.Join(err, fmt.Errorf("%s runs", running))
	}
	dead, err := d.Containers(ctx, h, "--quiet", "--all")
	if err != nil || dead == "" {
		return err
	}
	_, err = h.Docker(ctx, append([]string{"rm"}, strings.Fields(dead)...)...)
	return err
}

// Containers asks a host's engine with `docker ps` for the containers of the framework.
func (d *Deployment) Containers(ctx context.Context, h *cell.Host, flags ...string) (string, error) {
	return h.Docker(ctx, append([]string{"ps", "--filter", "label=mooring.framework=" + d.options.Framework}, flags...)...)
}

// OneCopyEach checks that each of the first nodes has exactly one running container in the whole cell.
func (d *Deployment) OneCopyEach(ctx context.Context, nodes int) error {
	count := map[string]int{}
	for _, h := range d.cell.Hosts {
		running, err := d.Containers(ctx, h, "--format", `{{.Label "mooring.node"}}`)
		if err != nil {
			return err
		}
		for node := range strings.FieldsSeq(running) {
			count[node]++
		}
	}
	for id := range nodes {
		if got := count[strconv.Itoa(id+1)]; got != 1 {
			return fmt.Errorf("node %d has %d containers", id+1, got)
		}
	}
	return nil
}

// AwaitCluster waits until Elasticsearch has so many nodes and the status (green or yellow).
func (d *Deployment) AwaitCluster(ctx context.Context, nodes int, status string) error {
	return d.Await(ctx, fmt.Sprintf("a %s cluster of %d", status, nodes), func(ctx context.Context) error {
		var last error = errors.New("no node is running")
		for _, address := range d.HTTPAddresses() {
			var health struct {
				Status string `json:"status"`
				Nodes  int    `json:"number_of_nodes"`
			}
			if last = d.ask(ctx, "http://"+address+"/_cluster/health?timeout=1s", &health); last != nil {
				continue
			}
			if health.Nodes == nodes && (health.Status == status || health.Status == "green") {
				return nil
			}
			last = fmt.Errorf("%s says %s, %d nodes", address, health.Status, health.Nodes)
		}
		return last
	})
}

// Await polls until check succeeds. The error of the last try says what was missing.
func (d *Deployment) Await(ctx context.Context, what string, check func(context.Context) error) error {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; see %s", what, err, d.Log())
		case <-ticks.C:
		}
	}
}

func (d *Deployment) ask(ctx context.Context, url string, answer any) error {
	return d.exchange(ctx, http.MethodGet, url, nil, answer)
}

func (d *Deployment) send(ctx context.Context, method, url string, body []byte) error {
	return d.exchange(ctx, method, url, body, nil)
}

func (d *Deployment) exchange(ctx context.Context, method, url string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", url, err)
	case response.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("%s %s: %s: %.300s", method, url, response.Status, content)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(content, answer)
}
