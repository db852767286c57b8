package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mooring/plugin/admin"
)

// probing is why those who measure are not answered, "" if they are or nobody wants it.
type probing struct {
	mu      sync.Mutex
	trouble string
}

func (p *probing) set(trouble string) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	news = p.trouble != trouble
	p.trouble = trouble
	return news
}

func (p *probing) get() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble
}

// checkProbes says what is wrong with the address for those who measure.
func checkProbes(address string) error {
	if _, port, err := net.SplitHostPort(address); address != "" && (err != nil || port == "") {
		return fmt.Errorf("METRICS %q is not an address such as :9273 or 10.0.0.1:9273", address)
	}
	return nil
}

// serveProbes answers who measures, where that is set, until ctx ends. It returns how to end it before that and wait for it. An
// address that is not free is tried again and again: a host without it still serves its volumes.
func (d *Driver) serveProbes(ctx context.Context) (stop func()) {
	if d.cfg.Metrics == "" {
		return func() {}
	}
	return inBackground(ctx, func(ctx context.Context) {
		d.every(ctx, func(ctx context.Context) {
			if err := d.answerProbes(ctx); err != nil && ctx.Err() == nil && d.probing.set(err.Error()) {
				d.log.Error("metrics not served", "error", err)
			}
		})
	})
}

// answerProbes answers for as long as it can.
func (d *Driver) answerProbes(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.cfg.Metrics)
	if err != nil {
		return err
	}
	d.log.Info("metrics served", "address", l.Addr().String())
	d.probing.set("")
	return admin.Serve(ctx, l, admin.Probes(d))
}

// Ready says why this host would refuse a mount; nil: it would not.
func (d *Driver) Ready() error {
	d.mu.RLock()
	drained := d.drained
	d.mu.RUnlock()
	if !drained.IsZero() {
		return fmt.Errorf("this host is drained since %s: new mounts are refused", drained.UTC().Format(time.RFC3339))
	}
	if !d.guardAnswers() {
		return errors.Join(errors.New("the guard does not answer"), d.Health())
	}
	return d.Health()
}

func (d *Driver) guardAnswers() bool {
	d.pulse.mu.Lock()
	defer d.pulse.mu.Unlock()
	return d.pulse.answers
}
