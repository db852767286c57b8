package plugin

import "context"

// Coordinator runs beside the driver, which neither waits for it nor depends on it.
type Coordinator interface {
	// Run returns some time after ctx ended.
	Run(ctx context.Context)
	// Trouble says why this host is no coordinator at present, "" if it is.
	Trouble() string
}

// runCoordinator starts the coordinator, if there is one. It ends with ctx or when it is told to; end waits for that.
func (d *Driver) runCoordinator(ctx context.Context) (end func()) {
	if d.cfg.Coordinator == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.cfg.Coordinator.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// coordinatorTrouble is "" as well if this host shall be no coordinator.
func (d *Driver) coordinatorTrouble() string {
	if d.cfg.Coordinator == nil {
		return ""
	}
	return d.cfg.Coordinator.Trouble()
}
